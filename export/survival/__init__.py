"""Survival map: the share of the adapters' change that remains after quantization."""
