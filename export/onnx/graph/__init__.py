"""Graph of a decoder, node by node as in onnxruntime-genai's builder."""
