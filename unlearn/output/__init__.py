"""What training leaves: adapter or model folder, card, plot."""
