"""Runs an artifact: score, generate."""
