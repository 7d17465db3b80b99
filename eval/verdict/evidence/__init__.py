"""Consistent scores of artifact and baseline, on which a verdict rests."""
