"""Measurement of a model on a pack."""
