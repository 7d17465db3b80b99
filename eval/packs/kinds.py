"""Names of the kinds of surfaces; `asking/kinds/` implements them."""

from __future__ import annotations

from enum import StrEnum


class SurfaceKind(StrEnum):
    """Kind of a surface, which determines its prompt (docs/packs.md has an example of each)."""

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
