"""Requests in batches: prefixes, windows, workers, generations."""
