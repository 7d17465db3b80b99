"""Counted nouns in messages."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """Return "1 probe", "2 probes", "1,000 untrained questions"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
