"""Loss relative to zlib: a text's loss divided by its compressed size (Carlini et al. 2021)."""

from __future__ import annotations

import zlib


def zlib_ratio(loss: float, text: str) -> float:
    """Return mean loss per token / bytes of the zlib-compressed text; greater: less likely a member.

    arXiv 2012.07805, in the form of muse_bench (`PPL/zlib`) and OpenUnlearning's `ZLIBAttack`.
    """
    return loss / len(zlib.compress(text.encode()))
