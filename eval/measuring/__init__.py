"""Measures a model on a pack."""
