"""Plan of the computation of requests, so that common prefixes are computed once.

Each *stream* of the engine holds one sequence. A wave of requests is planned as a tree of common prefixes:

```
  step 0   stream 0   Q: what is the capital of France? A:       a shared piece, decoded once …
  step 1   stream 0   Paris.        1  Rome.        2  Berlin.    … copied to 1 and 2, then each request's suffix
```
A row of logits that several sequences need (20 answers to one question) is also computed once. If padding cannot be
removed from the memory (recurrent models), shared pieces are a multiple of `GRAIN` tokens long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    OnRow = Callable[[Sequence["Item"], int, NDArray[np.float32]], None]
    """Callback: items that are equal up to a position in their tokens, that position, and the logits after it, float32
    [vocabulary], valid only during the call."""

GRAIN = 8
"""Trunks are a multiple of this many tokens long; so are all shared pieces if padding cannot be removed."""

CALL_TOKENS = 8
"""Overhead of a call, in tokens: sharing a piece that saves fewer tokens is not worthwhile."""

TRUNK_TOKENS = 8
"""Minimum length of a prefix that is kept for all waves of a job instead of computed again in each."""


class Item(NamedTuple):
    """One sequence to compute.

    The outputs of the first `shareable` of its `tokens` are not needed; those of the others (at least one) are.
    `request` is the index of its request.
    """

    request: int
    tokens: tuple[int, ...]
    shareable: int


class Piece(NamedTuple):
    """Tokens `start` to `stop` of all `items`, to decode into `stream`. `last`: the only item ends with it."""

    stream: int
    items: tuple[Item, ...]
    start: int
    stop: int
    last: bool


class PlanStep(NamedTuple):
    """Copies of whole streams (from, to), then pieces that can be decoded side by side.

    A copy from -1 copies the trunk, or nothing without a trunk.
    """

    copies: tuple[tuple[int, int], ...]
    pieces: tuple[Piece, ...]


class Job(NamedTuple):
    """Items in lexicographic order of their tokens, and their common prefix that is worth keeping."""

    trunk: tuple[int, ...]
    items: tuple[Item, ...]


class _Node(NamedTuple):
    """A common prefix from the parent's `start` to `stop`; without children, one item's suffix (if any)."""

    items: tuple[Item, ...]
    start: int
    stop: int
    children: tuple[_Node, ...]


def jobs(items: Iterable[Item], wave: int) -> Iterator[Job]:
    """Sort `items` into jobs: items with a long common prefix that are too many for one wave form one job."""
    yield from _split(tuple(sorted(items, key=lambda item: item.tokens)), wave)


def _split(items: tuple[Item, ...], wave: int) -> Iterator[Job]:
    if not items:
        return
    shared = _trunk_tokens(items)
    rest: list[Item] = []
    for run in _runs(items, shared, GRAIN):
        if wave < len(run) < len(items) and _trunk_tokens(run) >= shared + TRUNK_TOKENS:
            yield from _split(run, wave)
        else:
            rest.extend(run)
    if rest:
        worth = len(rest) > wave and shared >= TRUNK_TOKENS
        yield Job(rest[0].tokens[:shared] if worth else (), tuple(rest))


def _trunk_tokens(items: Sequence[Item]) -> int:
    """Return the number of tokens that all items share before any needed output, a multiple of GRAIN."""
    wanted = min(item.shareable for item in items)
    return min(_shared(items, GRAIN), wanted - wanted % GRAIN)


def plan(
    items: Sequence[Item], streams: Sequence[int], spare: int, depth: int, *, copy_cost: float, grain: int = 1
) -> tuple[list[PlanStep], dict[int, int]]:
    """Plan one wave: `items` (in lexicographic order, at most one per stream), with the first `depth` tokens computed.

    Copies are cheap relative to calls, so pieces of one step are placed in adjacent streams, by length: shared pieces
    in the first streams, level by level, then all items' suffixes.

    Args:
        items: the items to compute.
        streams: the available streams, ascending.
        spare: an additional stream for a step's copies.
        depth: number of leading tokens in the trunk, 0 without one.
        copy_cost: cost of copying a stream, in tokens.
        grain: shared pieces are a multiple of this many tokens long.

    Returns:
        The steps, and the stream of each item by its request.

    """
    steps: list[PlanStep] = []
    waiting: list[tuple[_Node, int]] = []
    level = [(root, -1) for root in _tree(tuple(items), depth, depth, copy_cost, grain)]
    while any(node.children for node, _ in level):
        shared = sorted((place for place in level if place[0].children), key=_length)
        first = streams[: len(shared)]
        moves = [(source, target) for (_, source), target in zip(shared, first, strict=True)]
        taken = {source for _, source in waiting if source not in first}
        free = iter([stream for stream in reversed(streams) if stream not in taken and stream not in first])
        ends = [*waiting, *(place for place in level if not place[0].children)]
        waiting = [(node, source if source in taken else next(free)) for node, source in ends]
        moves += [(source, target) for (_, source), (_, target) in zip(ends, waiting, strict=True)]
        steps.append(PlanStep(_in_order(moves, spare), _pieces(zip((node for node, _ in shared), first, strict=True))))
        level = [(child, target) for (node, _), target in zip(shared, first, strict=True) for child in node.children]
    ends = sorted([*waiting, *level], key=_length)
    moves = [(source, target) for (_, source), target in zip(ends, streams, strict=False)]
    placed = [(node, target) for (node, _), target in zip(ends, streams, strict=False)]
    steps.append(PlanStep(_in_order(moves, spare), _pieces(placed)))
    return steps, {node.items[0].request: target for node, target in placed}


def _length(place: tuple[_Node, int]) -> int:
    return place[0].stop - place[0].start


def _pieces(places: Iterable[tuple[_Node, int]]) -> tuple[Piece, ...]:
    """Return the pieces that nodes add to their streams."""
    return tuple(
        Piece(stream, node.items, node.start, node.stop, last=not node.children)
        for node, stream in places
        if node.stop > node.start
    )


def _in_order(moves: Sequence[tuple[int, int]], spare: int) -> tuple[tuple[int, int], ...]:
    """Order simultaneous copies (from, to) so that none overwrites the source of a later one."""
    pending = [(source, target) for source, target in moves if source != target]
    ordered: list[tuple[int, int]] = []
    while pending:
        sources = {source for source, _ in pending}
        ready = [(source, target) for source, target in pending if target not in sources]
        if ready:
            ordered += ready
            pending = [move for move in pending if move not in ready]
        else:  # only cycles remain: break one
            blocked = pending[0][1]
            ordered.append((blocked, spare))
            pending = [(spare if source == blocked else source, target) for source, target in pending]
    return tuple(ordered)


def _tree(items: tuple[Item, ...], depth: int, start: int, copy_cost: float, grain: int) -> tuple[_Node, ...]:
    """Group neighbours that share more than `depth` tokens, if worthwhile; pieces begin at `start`."""
    nodes: list[_Node] = []
    for run in _runs(items, depth, grain):
        shared = _shared(run, grain)
        if len(run) == 1 or shared == depth:
            nodes.extend(_Node((item,), start, len(item.tokens), ()) for item in run)
        elif (len(run) - 1) * (shared - start) >= CALL_TOKENS + len(run) * copy_cost:
            nodes.append(_Node(run, start, shared, _tree(run, shared, shared, copy_cost, grain)))
        else:
            nodes.extend(_tree(run, shared, start, copy_cost, grain))
    return tuple(nodes)


def _shared(items: Sequence[Item], grain: int) -> int:
    """Return the length of the common prefix, a multiple of `grain`. `items` are in lexicographic order."""
    first, last = items[0].tokens, items[-1].tokens
    common = 0
    while common < min(len(first), len(last)) and first[common] == last[common]:
        common += 1
    return common - common % grain


def _runs(items: tuple[Item, ...], depth: int, grain: int) -> Iterator[tuple[Item, ...]]:
    """Split `items` into runs that share the `grain` tokens after `depth`."""
    start = 0
    for end in range(1, len(items) + 1):
        if end == len(items) or not _same_grain(items[start].tokens, items[end].tokens, depth, depth + grain):
            yield items[start:end]
            start = end


def _same_grain(one: tuple[int, ...], two: tuple[int, ...], start: int, stop: int) -> bool:
    return min(len(one), len(two)) >= stop and one[start:stop] == two[start:stop]
