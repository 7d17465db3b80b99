"""Output of training: adapter or model folder, card, plot."""
