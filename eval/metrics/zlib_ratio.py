"""Loss against zlib: how surprising a text is to the model, beside how compressible it is (Carlini et al. 2021)."""

from __future__ import annotations

import zlib


def zlib_ratio(loss: float, text: str) -> float:
    """Mean loss per token over the bytes of the zlib-compressed text; greater: less likely a member.

    arXiv 2012.07805; the form is that of muse_bench (`PPL/zlib`) and of OpenUnlearning's `ZLIBAttack`.
    """
    return loss / len(zlib.compress(text.encode()))
