"""Criteria of the budget: what the artifact takes on the device that computes. Measured, not estimated: no bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.eval.verdict.judgement import Criterion, Status
from edgeproof.eval.verdict.wording import amount, number

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeproof.eval.measurement import Resources
    from edgeproof.eval.verdict.policy import Policy

MEGABYTE = 1e6


class _Item(NamedTuple):
    """A limit of the policy: its key there, the value that it is on, and, in the unit of that, the limit itself."""

    name: str
    key: str
    title: str
    unit: str
    value: Callable[[Resources], float | None]
    meaning: str
    limit: Callable[[float], float] = float


def _megabytes(count: int | None) -> float | None:
    return None if count is None else count / MEGABYTE


def _milliseconds(per_second: float) -> float:
    """Turn a speed into the time of one, or back."""
    return 1000 / per_second


_ITEMS = (
    _Item(
        "files",
        "budget_files",
        "size of the files",
        "MB",
        lambda taken: _megabytes(taken.file_bytes),
        "What is downloaded and stored.",
    ),
    _Item(
        "largest-file",
        "budget_largest_file",
        "size of the largest file",
        "MB",
        lambda taken: _megabytes(taken.largest_file_bytes),
        "Stores have limits for single asset packs.",
    ),
    _Item(
        "memory",
        "budget_memory",
        "peak memory",
        "MB",
        lambda taken: _megabytes(taken.peak_memory_bytes),
        "The largest resident set of the process that computed, with the mapped pages of the model; several replies "
        "go on side by side there.",
    ),
    _Item(
        "speed",
        "budget_speed",
        "time for a token",
        "ms",
        lambda taken: None if not taken.tokens_per_second else _milliseconds(taken.tokens_per_second),
        "How fast a reply goes on after its first token, where it was computed.",
        _milliseconds,
    ),
    _Item(
        "first-token",
        "budget_first_token",
        "time to the first token",
        "s",
        lambda taken: taken.first_token_seconds,
        "How long a person waits for a reply to begin, where it was computed.",
    ),
)

NAMES = tuple(item.name for item in _ITEMS)
"""Names of the criteria."""


def budget(resources: Resources | None, policy: Policy) -> list[Criterion]:
    """Judge each limit that the policy sets; one whose value was not measured is undecided."""
    return [_criterion(item, resources, policy) for item in _ITEMS if getattr(policy, item.key)]


def _criterion(item: _Item, resources: Resources | None, policy: Policy) -> Criterion:
    limit = item.limit(getattr(policy, item.key))
    value = None if resources is None else item.value(resources)
    status = Status.UNDECIDED if value is None else Status.MISSED if value > limit else Status.MET
    found = "not measured" if value is None else amount(value, item.unit)
    if item.name == "speed" and value is not None:
        found += f" ({number(_milliseconds(value))} tokens/s)"
    return Criterion(
        name=item.name,
        title=item.title,
        status=status,
        needed=True,
        estimate=value,
        lower=None,
        upper=None,
        limit=limit,
        unit=item.unit,
        level=policy.confidence,
        p_missed=None,
        clusters=0,
        found=found,
        meaning=item.meaning,
        method="measured",
        to_decide=""
        if value is not None
        else "gate in one run, through an engine that tells it (docs/verdict.md, Budget)",
    )
