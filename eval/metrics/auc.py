"""Area under the ROC curve, as the Mann–Whitney statistic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


def auc(negatives: Sequence[float], positives: Sequence[float]) -> float:
    """Return P(positive > negative) + P(equal)/2 over all pairs; both not empty.

    With scores of membership attacks ("greater: less likely a member"), members as negatives and unseen texts as
    positives, 1 means that the attack identifies every member (OpenUnlearning's convention). muse_bench has 1 − AUC.
    """
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([np.asarray(negatives, np.float64), np.asarray(positives, np.float64)]))
    count = len(positives)
    above = float(ranks[len(negatives) :].sum()) - count * (count + 1) / 2
    return above / (count * len(negatives))
