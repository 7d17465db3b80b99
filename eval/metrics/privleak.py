"""PrivLeak: AUC of forget set against unseen texts, relative to that of a retrained model (MUSE)."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from edgeproof.eval.metrics.probability import EPSILON

if TYPE_CHECKING:
    from collections.abc import Mapping

RETRAINED_AUC: Mapping[str, float] = MappingProxyType({"news": 0.47719999999999996, "books": 0.5392999999999999})
"""AUC of forget against holdout with Min-40 % under MUSE's retrained Llama-2-7B (muse_bench, constants.py)."""


def muse_privleak(auc: float, retrained: float) -> float:
    """Return 100·(AUC − AUC_retrain)/AUC_retrain (Shi et al. 2024, arXiv 2407.06460).

    Both AUCs are muse_bench's: P(an unseen text looks more like a member than a forgotten one), so that a model that
    still knows the forget set is near −100, and one that avoids it is above 0. `retrained` must not be 0.
    """
    return (auc - retrained) / retrained * 100


def open_unlearning_privleak(auc: float, retrained: float) -> float:
    """Return the same from AUCs in the opposite direction: ((1 − AUC) − (1 − AUC_r)) / ((1 − AUC_r) + 1e-10)·100."""
    return ((1 - auc) - (1 - retrained)) / ((1 - retrained) + EPSILON) * 100
