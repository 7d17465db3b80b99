"""Matching of equivalent wordings: digits, dates, numbers, identifiers, and reasoning before the reply."""

RULES = 1
"""Version of the matching rules, raised when an answer's judgement changes: a baseline holds such judgements."""
