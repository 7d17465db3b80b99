"""Trains the adapters that make a model forget."""
