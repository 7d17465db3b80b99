"""Packs: the probes of a release, read from a folder or an encrypted file."""
