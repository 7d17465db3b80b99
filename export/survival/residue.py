"""Identification of an artifact's weights: merge, base, merge applied twice, merge rounded to bfloat16, or other.

Each hypothesis is quantized like the file and compared weight by weight. An equal hypothesis is accepted; so is a close
one (kernels of another processor or version round a few blocks differently) that is much closer than any other. The
remaining cases are decided by projections on Δ, or stay inconclusive.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.export.survival.sums import HYPOTHESES, Of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeproof.export.survival.sums import Sums

CLOSER = 0.25
"""Maximum distance between file and accepted hypothesis, as a fraction of that hypothesis's distance to the next."""
FINE = 0.05
"""Largest standard error at which a projection distinguishes 0, 1 and 2."""
HELD = {"base": (-0.15, 0.15), "merged": (0.75, 1.15), "twice": (1.5, 2.3)}
"""Projections of F − W on Δ off the grid, where rounding leaves about 0.9 of 0, 1 or 2."""
GRID = 1e-3
"""‖F − W‖/‖W‖ below which a float reference cannot distinguish a lost Δ from the base."""


class Outcome(StrEnum):
    """Content of the file."""

    MERGED = "merged"
    BASE = "base"
    TWICE = "merged twice"
    BF16 = "merged, rounded to bfloat16 on the way"
    OTHER = "other"
    INCONCLUSIVE = "INCONCLUSIVE"


_OUTCOMES = {"base": Outcome.BASE, "merged": Outcome.MERGED, "twice": Outcome.TWICE, "bf16": Outcome.BF16}
_WORDS = {
    Outcome.MERGED: "the base with these adapters merged once",
    Outcome.BASE: "the base: nothing of these adapters is in it",
    Outcome.TWICE: "the base with these adapters merged twice",
    Outcome.BF16: "the base with these adapters merged, the merge rounded to bfloat16 before it was quantized",
}


class Residue(NamedTuple):
    """The identification and its evidence.

    Attributes:
        outcome: content of the file.
        exact: whether every weight equals the hypothesis's.
        coefficient: ⟨Δ_effective, Δ⟩/‖Δ‖²; None if the base could not be quantized like the file.
        expected: the coefficient of each hypothesis, quantized like the file.
        unexplained: distance to the nearest hypothesis, in units of the merge's rounding noise, or of ‖Δ‖ if that is
            larger.
        against_float: ⟨F − W, Δ⟩/‖Δ‖², without quantizing the base; 0, 1, 2 for base, merged, twice off the grid.
        error: standard error of `against_float`.
        reason: one sentence for the user.

    """

    outcome: Outcome
    exact: bool
    coefficient: float | None
    expected: Mapping[str, float]
    unexplained: float | None
    against_float: float
    error: float
    reason: str


def judge_residue(touched: Sums, untouched: Sums, *, alike: bool) -> Residue:
    """Identify the file from the sums over the tensors that the adapters touch, and over the others.

    Args:
        touched: sums over the touched tensors.
        untouched: sums over the others, as far as they could be quantized like the file.
        alike: whether all touched tensors could be quantized like the file.

    """
    G = touched.gram
    delta = float(G[Of.DELTA, Of.DELTA])
    against, error = float(G[Of.ERROR, Of.DELTA]) / delta, math.sqrt(touched.error_square) / delta
    if not alike:
        outcome, reason = _by_projection(touched, against, error)
        return Residue(outcome, False, None, {}, None, against, error, reason)  # noqa: FBT003 (the class names the field)
    expected = {name: float(G[row, Of.DELTA]) / delta if row is not None else 0.0 for name, row in HYPOTHESES.items()}
    distances = {name: _distance(touched, row) for name, row in HYPOTHESES.items()}
    nearest = min(distances, key=lambda name: (touched.differing[name] > 0, distances[name]))
    noise = math.sqrt(max(G[Of.MERGED, Of.MERGED] - 2 * G[Of.MERGED, Of.DELTA] + delta, 0.0))
    unexplained = distances[nearest] / max(noise, math.sqrt(delta))
    coefficient = float(G[Of.FILE, Of.DELTA]) / delta
    outcome, exact, reason = _decide(touched, untouched, distances, nearest, against, error)
    return Residue(outcome, exact, coefficient, expected, unexplained, against, error, reason)


def _decide(  # noqa: PLR0917 (a part of judge_residue, named for readability)
    touched: Sums, untouched: Sums, distances: Mapping[str, float], nearest: str, against: float, error: float
) -> tuple[Outcome, bool, str]:
    equal = [name for name, count in touched.differing.items() if count == 0]
    if len(equal) > 1:
        if "base" in equal:
            names = ", ".join(_OUTCOMES[name].value for name in equal)
            reason = f"this format makes the same of {names}: the file's weights cannot tell them apart"
            return Outcome.INCONCLUSIVE, False, reason
        # The merge comes first in HYPOTHESES, so equivalent hypotheses are not named.
        nearest = equal[0]
    if equal:
        if foreign := _foreign(untouched, nearest, 0.0):
            return Outcome.OTHER, False, foreign
        return _OUTCOMES[nearest], True, f"{_WORDS[_OUTCOMES[nearest]]}, weight for weight"
    apart = min(_apart(touched, nearest, name) for name in distances if name != nearest)
    share = touched.differing[nearest] / touched.weights
    if distances[nearest] <= CLOSER * apart:
        if foreign := _foreign(untouched, nearest, share):
            return Outcome.OTHER, False, foreign
        return (
            _OUTCOMES[nearest],
            False,
            f"{_WORDS[_OUTCOMES[nearest]]}; {share:.2%} of the weights were rounded otherwise",
        )
    # For example between merge and merge in bfloat16: the file is the merge in either case.
    if nearest in {"merged", "bf16"}:
        others = min(_apart(touched, nearest, name) for name in ("base", "twice"))
        if distances[nearest] <= CLOSER * others and not _foreign(untouched, nearest, share):
            return Outcome.MERGED, False, f"{_WORDS[Outcome.MERGED]}; {share:.2%} of the weights were rounded otherwise"
    if _holds(against, error, "merged") and not _on_grid(touched):
        reason = (
            f"it holds these adapters once ({against:.2f} ± {error:.2f} of Δ), but is not what this format makes of "
            f"the merge ({share:.1%} of the weights differ): quantized in another way, or changed beside"
        )
    else:
        reason = (
            f"neither base nor merge, once or twice ({share:.1%} of the weights differ from the nearest, {nearest}); "
            f"it holds {against:.2f} ± {error:.2f} of Δ: another adapter or another scale of it, "
            "another base, or changed after the merge"
        )
    return Outcome.OTHER, False, reason


def _by_projection(touched: Sums, against: float, error: float) -> tuple[Outcome, str]:
    """Identify the file if the base could not be quantized like it."""
    said = f"it holds {against:.2f} ± {error:.2f} of Δ, measured against the base in float"
    if _on_grid(touched):
        return Outcome.INCONCLUSIVE, f"{said}; the base lies on this format's grid, which may have swallowed the rest"
    if _holds(against, error, "base"):
        return Outcome.INCONCLUSIVE, f"{said}: the base, or the base with another adapter"
    for outcome, name in ((Outcome.MERGED, "merged"), (Outcome.TWICE, "twice")):
        if _holds(against, error, name):
            return outcome, f"{said}: {_WORDS[outcome]}"
    return Outcome.INCONCLUSIVE, f"{said}, which is none of 0, 1 and 2"


def _foreign(untouched: Sums, name: str, share: float) -> str:
    """Return a note if untouched tensors differ from the base's by more than the touched ones differ."""
    if not untouched.weights:
        return ""
    differing = untouched.differing[name] / untouched.weights
    if differing <= 3 * share + 1e-6:
        return ""
    return (
        f"tensors that these adapters touch are right ({name}), but {differing:.2%} of the weights that they do not "
        "touch are not the base's: another base, or another adapter as well"
    )


def _holds(found: float, error: float, name: str) -> bool:
    low, high = HELD[name]
    return error <= FINE and low <= found <= high


def _on_grid(sums: Sums) -> bool:
    return bool(sums.gram[Of.ERROR, Of.ERROR] <= GRID**2 * sums.base_square)


def _distance(sums: Sums, row: Of | None) -> float:
    """Return ‖F − hypothesis‖."""
    G = sums.gram
    square = G[Of.FILE, Of.FILE]
    if row is not None:
        square += G[row, row] - 2 * G[Of.FILE, row]
    return math.sqrt(max(float(square), 0.0))


def _apart(sums: Sums, one: str, other: str) -> float:
    """Return the distance between two hypotheses."""
    rows = [row for row in (HYPOTHESES[one], HYPOTHESES[other]) if row is not None]
    if len(rows) == 1:
        return math.sqrt(float(sums.gram[rows[0], rows[0]]))
    G, (left, right) = sums.gram, rows
    return math.sqrt(max(float(G[left, left] + G[right, right] - 2 * G[left, right]), 0.0))
