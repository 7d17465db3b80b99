"""Batching of requests: prefixes, windows, workers, generations."""
