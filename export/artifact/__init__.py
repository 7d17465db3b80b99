"""Artifacts: names, claims, manifests, and publishing them whole."""
