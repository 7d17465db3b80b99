"""Lay requests out for a session: those with a common beginning one after the other, the others side by side.

Rows that have a past can take one token at a time only, so there are two ways to compute several sequences. A *chain*
goes through them in lexicographic order in one row of memory, and computes of each what it does not share with the one
before. A *batch* computes whole sequences side by side, padded on the right. What a call costs besides its tokens
decides between the two.

Found with SmolLM2-135M in int4 on one thread of a busy AVX-512 machine (medians, ±20 %), in tokens of the requests per
second, at level 4 and at level 0: 48 requests of 9 tokens with nothing in common 170 and 77 one by one, 209 and 187 as
batches; of 17 tokens 198 and 107, 167 and 159; 60 requests of which ten each share a question 240 and 250 one by one,
250 and 380 as batches, 960 and 570 as a chain; greedy generation 50 and 20 one by one, 125 and 140 side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from edgeproof.runtime.batching.prefixes import Item

CALL_TOKENS = {0: 12, 4: 2}
"""What a call costs besides its tokens, in tokens, by accuracy level (SmolLM2-135M, one thread: 36 of 3 ms at level 0,
where the weights are dequantized in each call; 5 of 2.6 ms at level 4)."""

FLOAT_CALL_TOKENS = 10
"""The same of a float graph, whose weights must come from memory in each call (25 of 2.6 ms)."""

WASTE = 4
"""Of a batch at most one part in so many is padding."""


def call_tokens(accuracy_levels: Sequence[int]) -> int:
    """What a call costs besides its tokens, in tokens, for a graph whose products have these accuracy levels."""
    return CALL_TOKENS[4 if max(accuracy_levels) == 4 else 0] if accuracy_levels else FLOAT_CALL_TOKENS


class Group(NamedTuple):
    """Items that are computed together: as a chain, in the given order, or as one batch."""

    chained: bool
    items: tuple[Item, ...]


def groups(items: Iterable[Item], *, overhead: int, tokens: int, rows: int) -> Iterator[Group]:
    """Cut `items` into chains and batches.

    Args:
        items: what to compute.
        overhead: what a call costs besides its tokens, in tokens.
        tokens: how many tokens one call may compute; longer items come as chains of their own.
        rows: how many items a batch may have.

    """
    single: list[Item] = []
    for chain in _chains(sorted(items, key=lambda item: item.tokens), overhead):
        if len(chain) > 1 or len(chain[0].tokens) > tokens:
            yield Group(chained=True, items=chain)
        else:
            single.extend(chain)
    yield from _batches(sorted(single, key=lambda item: (len(item.tokens), item.tokens)), tokens, rows)


def shared(before: Item, after: Item) -> int:
    """How many tokens of `after`, whose outputs nobody asks for, `before` begins with."""
    common = 0
    for one, two in zip(before.tokens, after.tokens[: after.shareable], strict=False):
        if one != two:
            break
        common += 1
    return common


def _chains(items: Sequence[Item], overhead: int) -> Iterator[tuple[Item, ...]]:
    """Cut sorted items where sharing no longer pays for a call of one's own."""
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
    """Take a chain apart where it saves fewer tokens than its calls cost."""
    if saved > overhead * len(chain):
        yield tuple(chain)
    else:
        yield from ((item,) for item in chain)


def _batches(items: Sequence[Item], tokens: int, rows: int) -> Iterator[Group]:
    """Cut items, sorted by length, where padding or the limits end a batch."""
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
