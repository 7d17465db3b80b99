"""Forecast of the gate: how often a good file would PASS with a pack, before there is such a file."""
