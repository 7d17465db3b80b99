"""Runs an artifact through a server that has it loaded: on a phone, a board, in another engine."""
