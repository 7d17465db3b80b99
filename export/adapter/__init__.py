"""PEFT adapters: read, checked, ready to merge."""
