"""Layout of requests for a session: sequentially if they share a prefix, otherwise side by side.

Rows with a past can take only one token at a time, so there are two ways to compute several sequences. A *chain*
computes them in lexicographic order in one row of memory, each from its first difference to the previous one. A *batch*
computes whole sequences side by side, padded on the right. The overhead of a call decides between the two.

Measured with SmolLM2-135M in int4 on one thread of a busy AVX-512 machine (medians, ±20 %), in tokens of the requests
per second, at level 4 and at level 0: 48 requests of 9 tokens with nothing in common 170 and 77 one by one, 209 and 187
as batches; of 17 tokens 198 and 107, 167 and 159; 60 requests of which ten each share a question 240 and 250 one by
one, 250 and 380 as batches, 960 and 570 as a chain; greedy generation 50 and 20 one by one, 125 and 140 side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from edgeproof.runtime.batching.prefixes import Item

CALL_TOKENS = {0: 12, 4: 2}
"""Overhead of a call, in tokens, by accuracy level (SmolLM2-135M, one thread: 36 of 3 ms at level 0, where each call
dequantizes the weights; 5 of 2.6 ms at level 4)."""

FLOAT_CALL_TOKENS = 10
"""Overhead of a call for a float graph, whose weights are read from memory in each call (25 of 2.6 ms)."""

WASTE = 4
"""Maximum share of padding in a batch: one part in this many."""


def call_tokens(accuracy_levels: Sequence[int]) -> int:
    """Return the overhead of a call, in tokens, for a graph with these accuracy levels."""
    return CALL_TOKENS[4 if max(accuracy_levels) == 4 else 0] if accuracy_levels else FLOAT_CALL_TOKENS


class Group(NamedTuple):
    """Items computed together: as a chain, in the given order, or as one batch."""

    chained: bool
    items: tuple[Item, ...]


def groups(items: Iterable[Item], *, overhead: int, tokens: int, rows: int) -> Iterator[Group]:
    """Split `items` into chains and batches.

    Args:
        items: the items to compute.
        overhead: overhead of a call, in tokens.
        tokens: maximum tokens per call; longer items are separate chains.
        rows: maximum items per batch.

    """
    single: list[Item] = []
    for chain in _chains(sorted(items, key=lambda item: item.tokens), overhead):
        if len(chain) > 1 or len(chain[0].tokens) > tokens:
            yield Group(chained=True, items=chain)
        else:
            single.extend(chain)
    yield from _batches(sorted(single, key=lambda item: (len(item.tokens), item.tokens)), tokens, rows)


def shared(before: Item, after: Item) -> int:
    """Return the length of the common prefix of `before` and `after`, without needed outputs of `after`."""
    common = 0
    for one, two in zip(before.tokens, after.tokens[: after.shareable], strict=False):
        if one != two:
            break
        common += 1
    return common


def _chains(items: Sequence[Item], overhead: int) -> Iterator[tuple[Item, ...]]:
    """Split sorted items where sharing does not outweigh the overhead of a call."""
    chain: list[Item] = []
    saved = 0
    for item in items:
        common = shared(chain[-1], item) if chain else 0
        if chain and common <= overhead:
            yield from _worth(chain, saved, overhead)
            chain, saved = [], 0
            common = 0
        chain.append(item)
        saved += common
    yield from _worth(chain, saved, overhead)


def _worth(chain: Sequence[Item], saved: int, overhead: int) -> Iterator[tuple[Item, ...]]:
    """Split a chain where it saves fewer tokens than its calls cost."""
    if saved > overhead * len(chain):
        yield tuple(chain)
    else:
        yield from ((item,) for item in chain)


def _batches(items: Sequence[Item], tokens: int, rows: int) -> Iterator[Group]:
    """Split items, sorted by length, at the limits of padding and size."""
    batch: list[Item] = []
    for item in items:
        width, count = len(item.tokens) + len(item.tokens) % 2, len(batch) + 1
        padding = sum(width - len(one.tokens) for one in batch)
        if batch and (count > rows or width * count > tokens or padding * WASTE > width * count):
            yield Group(chained=False, items=tuple(batch))
            batch = []
        batch.append(item)
    if batch:
        yield Group(chained=False, items=tuple(batch))
