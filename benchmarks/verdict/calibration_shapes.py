"""What the calibration draws of: shapes of the clusters' values, their means on limits of the default policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from edgeproof.eval.verdict.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator
    from numpy.typing import NDArray

    Values = NDArray[np.float64]
    Draw = Callable[[Generator, Any], Values]

POLICY = Policy()
ALPHA = POLICY.alpha

CHANGES: dict[str, Draw] = {
    "normal": lambda g, n: g.normal(0, 0.3, n),
    "gamma": lambda g, n: 0.2 * (g.gamma(2, 1, n) - 2),
    "exponential": lambda g, n: 0.3 * (g.exponential(1, n) - 1),
    "exponential, turned round": lambda g, n: 0.3 * (1 - g.exponential(1, n)),
    "heavy tails (t, 5)": lambda g, n: 0.25 * g.standard_t(5, n),
    "a tenth is hit hard": lambda g, n: np.where(g.random(n) < 0.1, g.normal(1, 0.3, n), g.normal(0, 0.15, n)) - 0.1,
}
"""Changes of NLL whose mean is 0: a limit is added to them."""

RECOVERIES: dict[str, Draw] = {
    "everywhere a little": lambda g, n: g.beta(4, 16, n),
    "uneven": lambda g, n: g.beta(1, 4, n),
    "half untouched": lambda g, n: np.where(g.random(n) < 0.5, 0.0, g.beta(2, 3, n)),
    "all or nothing": lambda g, n: (g.random(n) < 0.2).astype(float),
}
"""Recovered shares whose mean is 0.20, the limit."""

LOSSES = ((0.10, 0.0), (0.13, 0.03), (0.20, 0.10))
"""Shares of answers lost and won: the difference is 0.10, the limit."""
