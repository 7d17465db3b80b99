"""Writes GGUF."""
