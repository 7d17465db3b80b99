"""Conversion of Hugging Face tokenizers to GGUF metadata, and the proof that both give equal ids."""
