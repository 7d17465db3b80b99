"""Writing ONNX folders: the graph from the family registry, weights quantized as onnxruntime-genai's builder does."""
