"""Plan which tokens are computed where, so that requests with a common beginning compute it once.

Each *stream* of the engine holds one sequence. A wave of requests is planned as a tree of common beginnings:

```
  step 0   stream 0   Q: what is the capital of France? A:       a shared piece, decoded once …
  step 1   stream 0   Paris.        1  Berlin.      2  Rome.      … copied to 1 and 2, then each request's own end
```
Shared pieces are cut to a multiple of `GRAIN` tokens, so that they need no padding (memories of recurrent models could
not take padding back).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    OnRow = Callable[["Item", int, NDArray[np.float32]], None]
    """Takes an item, a position in its tokens, and the logits that follow it: float32 [vocabulary], valid now only."""

GRAIN = 8
"""Shared pieces are a multiple of this many tokens long."""

TRUNK_TOKENS = 32
"""The shortest beginning that is kept for all waves of a job rather than computed again in each."""


class Item(NamedTuple):
    """One sequence to compute.

    The first `shareable` of its `tokens` may come from elsewhere, since nobody asks for their outputs; at least one
    token is its own. `request` is the number of the request that it answers.
    """

    request: int
    tokens: tuple[int, ...]
    shareable: int


class Piece(NamedTuple):
    """Tokens `start` to `stop` of `item`, to be decoded into `stream`. `last` where the item ends with it."""

    stream: int
    item: Item
    start: int
    stop: int
    last: bool


class Step(NamedTuple):
    """Copies of whole streams (from, to), then pieces, of which all can be decoded side by side."""

    copies: tuple[tuple[int, int], ...]
    pieces: tuple[Piece, ...]


class Job(NamedTuple):
    """Items in lexicographic order of their tokens, and the beginning that all share and that is worth keeping."""

    trunk: tuple[int, ...]
    items: tuple[Item, ...]


class _Node(NamedTuple):
    """A common beginning up to `stop`, from the parent's `start`; without children, one item's own end."""

    items: tuple[Item, ...]
    start: int
    stop: int
    children: tuple[_Node, ...]


def jobs(items: Iterable[Item], wave: int) -> Iterator[Job]:
    """Sort `items` into jobs: those that share a long beginning, and are too many for one wave, go together."""
    yield from _split(tuple(sorted(items, key=lambda item: item.tokens)), wave)


def _split(items: tuple[Item, ...], wave: int) -> Iterator[Job]:
    if not items:
        return
    shared = _shared(items)
    rest: list[Item] = []
    for run in _runs(items, shared):
        if wave < len(run) < len(items) and _shared(run) >= shared + TRUNK_TOKENS:
            yield from _split(run, wave)
        else:
            rest.extend(run)
    if rest:
        worth = len(rest) > wave and shared >= TRUNK_TOKENS
        yield Job(rest[0].tokens[:shared] if worth else (), tuple(rest))


def plan(
    items: Sequence[Item], streams: Sequence[int], depth: int, copy_cost: float
) -> tuple[list[Step], dict[int, int]]:
    """Plan one wave: `items` (lexicographic order, at most as many as `streams`), whose first `depth` tokens are there.

    Args:
        items: what to compute.
        streams: the streams that may be used, ascending.
        depth: how many leading tokens every stream holds already, 0 or the length of the trunk.
        copy_cost: what copying one stream costs, in tokens' worth of computing.

    Returns:
        The steps, and the stream of each item by its request. Copies from a trunk are not in the plan.

    """
    roots = _tree(tuple(items), depth, depth, copy_cost)
    placed = _place(roots, streams)
    steps: list[Step] = []
    level = [(root, -1) for root in roots]
    while level:
        copies = [(source, placed[node.items[0].request]) for node, source in level if source >= 0]
        pieces = [
            Piece(placed[node.items[0].request], node.items[0], node.start, node.stop, last=not node.children)
            for node, _ in level
        ]
        copies = [(source, target) for source, target in copies if source != target]
        steps.append(Step(tuple(copies), tuple(sorted(pieces))))
        level = [(child, placed[node.items[0].request]) for node, _ in level for child in node.children]
    return steps, placed


def _tree(items: tuple[Item, ...], depth: int, start: int, copy_cost: float) -> tuple[_Node, ...]:
    """Group neighbours that share more than `depth` tokens, where that saves something; pieces begin at `start`."""
    nodes: list[_Node] = []
    for run in _runs(items, depth):
        shared = _shared(run)
        if len(run) == 1 or shared == depth:
            nodes.extend(_Node((item,), start, len(item.tokens), ()) for item in run)
        elif (len(run) - 1) * (shared - start) >= GRAIN + len(run) * copy_cost:
            nodes.append(_Node(run, start, shared, _tree(run, shared, shared, copy_cost)))
        else:
            nodes.extend(_tree(run, shared, start, copy_cost))
    return tuple(nodes)


def _place(roots: tuple[_Node, ...], streams: Sequence[int]) -> dict[int, int]:
    """Give each item a stream so that pieces of like length lie side by side: those that carry shared pieces first."""
    carries: dict[int, int] = {}
    own: dict[int, int] = {}
    pending = list(roots)
    while pending:
        node = pending.pop()
        first = node.items[0].request
        if node.children:
            carries[first] = max(carries.get(first, 0), node.stop - node.start)
            pending.extend(node.children)
        else:
            own[first] = node.stop - node.start
    order = sorted(own, key=lambda index: (-carries.get(index, 0), own[index], index))
    return dict(zip(order, streams, strict=False))


def _shared(items: Sequence[Item]) -> int:
    """How many tokens all items begin with and may share, a multiple of GRAIN. `items` are in lexicographic order."""
    first, last = items[0].tokens, items[-1].tokens
    limit = min(item.shareable for item in items)
    common = 0
    while common < limit and first[common] == last[common]:
        common += 1
    return common - common % GRAIN


def _runs(items: tuple[Item, ...], depth: int) -> Iterator[tuple[Item, ...]]:
    """Cut `items` into neighbours that share the GRAIN tokens after `depth`."""
    start = 0
    for end in range(1, len(items) + 1):
        if end == len(items) or not _same_grain(items[start], items[end], depth):
            yield items[start:end]
            start = end


def _same_grain(one: Item, two: Item, depth: int) -> bool:
    stop = depth + GRAIN
    return min(one.shareable, two.shareable) >= stop and one.tokens[depth:stop] == two.tokens[depth:stop]
