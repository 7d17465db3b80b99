"""Area under the ROC curve, as the Mann–Whitney statistic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


def auc(negatives: Sequence[float], positives: Sequence[float]) -> float:
    """P(positive > negative) + P(equal)/2 over all pairs; both not empty.

    With the scores of the membership attacks ("greater: less likely a member"), members as negatives and unseen texts
    as positives, 1 says that the attack tells every member: OpenUnlearning's convention. muse_bench has 1 minus that.
    """
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([np.asarray(negatives, np.float64), np.asarray(positives, np.float64)]))
    count = len(positives)
    above = float(ranks[len(negatives) :].sum()) - count * (count + 1) / 2
    return above / (count * len(negatives))
