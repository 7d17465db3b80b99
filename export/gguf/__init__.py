"""GGUF: layout, types, quantization, writers."""
