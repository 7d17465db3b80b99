"""Checkpoint and adapters in, artifact and manifest out."""
