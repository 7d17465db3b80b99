"""Merge of adapters into a base, some rows at a time."""
