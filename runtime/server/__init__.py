"""Backend for a server that has the artifact loaded: on a phone, a board, in another engine."""
