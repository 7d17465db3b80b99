"""Comparison of the reports of two releases."""
