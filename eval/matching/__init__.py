"""When two wordings say the same: digits, dates, numbers, identifiers, and what a model thinks before it replies."""

RULES = 1
"""Goes up when an answer that was wrong becomes right, or the other way round: a baseline holds such judgements."""
