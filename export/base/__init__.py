"""Bases: Hugging Face checkpoints and GGUF files as one kind of checkpoint."""
