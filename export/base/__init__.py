"""Bases: Hugging Face folders and GGUF files behind one checkpoint interface."""
