"""Training data: forget and retain sets, as tokens."""
