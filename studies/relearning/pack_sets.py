"""What the packs of the study's data sets ask, and how: the same of each."""

from __future__ import annotations

SETS = """
[[set]]
role = "forget"
file = "forget.jsonl"
match = "verbatim"

[[set]]
role = "retain"
file = "retain_untrained.jsonl"
match = "verbatim"

[[set]]
role = "holdout"
file = "holdout.jsonl"
match = "verbatim"

[[surface]]
name = "raw"
kind = "raw"
"""
"""The sets and surfaces of a pack.toml: all texts, asked raw alone."""
