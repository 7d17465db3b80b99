"""Training loop, losses and guards."""
