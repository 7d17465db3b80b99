"""Wording of probes: types of answers, other wordings, invented names, passages."""
