"""Criteria of the budget: what the artifact takes on the device that computes. Measured, not estimated: no bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.eval.verdict.judgement import Criterion, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeproof.eval.measurement import Resources
    from edgeproof.eval.verdict.policy import Policy

MEGABYTE = 1e6


class _Item(NamedTuple):
    """A limit of the policy, and the value that it is on.

    `scale` turns the policy's number into the criterion's limit, `value` is in the same unit.
    """

    name: str
    key: str
    title: str
    unit: str
    value: Callable[[Resources], float | None]
    limit: Callable[[float], float]
    meaning: str


def _megabytes(count: int | None) -> float | None:
    return None if count is None else count / MEGABYTE


def _as_it_is(limit: float) -> float:
    return limit


def _milliseconds(speed: float) -> float:
    return 1000 / speed


_ITEMS = (
    _Item(
        "files",
        "budget_files",
        "size of the files",
        "MB",
        lambda taken: _megabytes(taken.file_bytes),
        _as_it_is,
        "What is downloaded and stored.",
    ),
    _Item(
        "largest-file",
        "budget_largest_file",
        "size of the largest file",
        "MB",
        lambda taken: _megabytes(taken.largest_file_bytes),
        _as_it_is,
        "Stores have limits for single asset packs.",
    ),
    _Item(
        "memory",
        "budget_memory",
        "peak memory",
        "MB",
        lambda taken: _megabytes(taken.peak_memory_bytes),
        _as_it_is,
        "The largest resident set of the process that computed, with the mapped pages of the model; several replies "
        "go on side by side there.",
    ),
    _Item(
        "speed",
        "budget_speed",
        "time for a token",
        "ms",
        lambda taken: None if not taken.tokens_per_second else 1000 / taken.tokens_per_second,
        _milliseconds,
        "How fast a reply goes on after its first token, where it was computed.",
    ),
    _Item(
        "first-token",
        "budget_first_token",
        "time to the first token",
        "s",
        lambda taken: taken.first_token_seconds,
        _as_it_is,
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
    found = "not measured" if value is None else f"{value:,.3g} {item.unit}" if value < MEGABYTE else f"{value:,.0f} MB"
    if item.name == "speed" and value is not None:
        found += f" ({1000 / value:,.3g} tokens/s)"
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
