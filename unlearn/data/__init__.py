"""Training data: what to forget and what to keep, as tokens."""
