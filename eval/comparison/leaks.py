"""Change of the leaking clusters between two releases: an exact test of those that leak in one file alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from edgeproof.eval.comparison.changes import Change, Found, finite, other_probes
from edgeproof.eval.stats.shares import share_p_above
from edgeproof.eval.verdict.criteria.cluster_means import signed_betting_bounds
from edgeproof.eval.verdict.criteria.leaks import LEAKING_CLUSTERS, LEAKING_SUBJECTS

if TYPE_CHECKING:
    from edgeproof.eval.comparison.recorded import Recorded


def leak_change(old: Recorded, new: Recorded) -> Change:
    """Compare the leaking clusters of two comparable reports.

    Under equal truth a cluster that leaks in one file alone is as likely to leak in NEW as in OLD: the exact form of
    McNemar's test, Psychometrika 12 (1947) 153-157. The interval of the difference of the shares is by betting.
    """
    if old.leaking.keys() != new.leaking.keys():
        raise other_probes(new)
    names, alpha = list(old.leaking), new.alpha
    before, after = (np.array([float(side.leaking[name]) for name in names]) for side in (old, new))
    values = after - before
    gained, lost = int((values > 0).sum()), int((values < 0).sum())
    bounds = signed_betting_bounds(values, 0.0, alpha)
    found = Found.SAME
    if share_p_above(gained, gained + lost, 0.5) <= alpha:
        found = Found.WORSE
    elif share_p_above(lost, gained + lost, 0.5) <= alpha:
        found = Found.BETTER
    return Change(
        measure="leak",
        title=(LEAKING_SUBJECTS if new.by_subject else LEAKING_CLUSTERS).title,
        surface="",
        unit="share",
        old=float(before.mean()),
        new=float(after.mean()),
        change=float(values.mean()),
        lower=finite(bounds.lower),
        upper=finite(bounds.upper),
        clusters=len(names),
        found=found,
        method=f"exact binomial test; interval by {bounds.method}",
    )
