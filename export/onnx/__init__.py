"""ONNX folders: graphs from the family registry, weights quantized as in onnxruntime-genai's builder."""
