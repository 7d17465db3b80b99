"""When two wordings say the same: digits, dates, numbers, identifiers, and what a model thinks before it replies."""
