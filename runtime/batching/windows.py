"""Windows of requests that are computed together."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

Request = TypeVar("Request")
Result = TypeVar("Result")

WINDOW = 128
"""Number of requests per window; results are yielded after each window. Where requests that share a prefix are
neighbours, smaller windows compute hardly more."""


def in_windows(
    requests: Sequence[Request], compute: Callable[[Sequence[Request]], Iterable[Result]]
) -> Iterator[Result]:
    """Yield the result of each request in order; `compute` receives the distinct requests of a window."""
    for start in range(0, len(requests), WINDOW):
        window = requests[start : start + WINDOW]
        unique = list(dict.fromkeys(window))
        found = dict(zip(unique, compute(unique), strict=True))
        for request in window:
            yield found[request]
