"""Loader for PEFT adapters."""
