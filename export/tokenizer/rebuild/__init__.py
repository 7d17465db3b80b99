"""Rebuilds a Hugging Face tokenizer from a GGUF's vocabulary."""
