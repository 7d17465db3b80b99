"""Names of the kinds of surfaces that code refers to; `asking/kinds/` has every kind and what it does."""

from __future__ import annotations

from enum import StrEnum


class SurfaceKind(StrEnum):
    """How a surface puts its prompt together (docs/packs.md has an example of each)."""

    RAW = "raw"
    PARAPHRASE = "paraphrase"
    CHAT = "chat"
    CHAT_SYSTEM = "chat+system"
    PREFIX = "prefix"
    OPENING = "opening"
    TURNS = "turns"
    FEW_SHOT = "few-shot"
    SIBLINGS = "siblings"
    REVERSE = "reverse"
    CHOICES = "choices"
