"""Comparison of reports: two releases in detail, or all of a folder in a row."""
