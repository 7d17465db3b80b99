"""Hugging Face tokenizers as GGUF metadata, and the proof that both give the same ids."""
