"""The training loop, its losses and its guards."""
