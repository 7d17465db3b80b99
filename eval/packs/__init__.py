"""Probe packs, read from a folder or an encrypted file."""
