"""Baselines: recorded scores of the base and the merged model."""
