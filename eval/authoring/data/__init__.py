"""Rows of the data that a pack is made from: reading, subjects, and what is unusable."""
