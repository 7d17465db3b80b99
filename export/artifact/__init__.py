"""Artifacts: names, claims, manifests, atomic publishing."""
