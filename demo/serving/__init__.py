"""Serving of the page: addresses, answers, start and end."""
