"""What must hold of every plan: each item's tokens end up in its stream, in order, and nothing is computed in vain."""

from __future__ import annotations

from edgeproof.runtime.llama_waves import batches
from edgeproof.runtime.prefixes import GRAIN, Item, jobs, plan
from hypothesis import given
from hypothesis import strategies as st

tokens = st.integers(0, 2)
beginnings = st.sampled_from([(), (1,) * 9, (1,) * 40, (1,) * 40 + (2,) * 16, (0, 1) * 30])
contents = st.tuples(beginnings, st.lists(tokens, min_size=1, max_size=20)).map(lambda parts: (*parts[0], *parts[1]))
many = st.lists(st.tuples(contents, st.integers(0, 10)), min_size=1, max_size=60)


def _items(drawn):
    return [Item(at, content, max(0, len(content) - 1 - own)) for at, (content, own) in enumerate(drawn)]


def _simulate(steps, depth, items, placed):
    """Follow a plan with lists for streams; return what each item's stream holds, and how many tokens were computed."""
    streams = {placed[item.request]: list(item.tokens[:depth]) for item in items}
    computed = 0
    for step in steps:
        for source, target in step.copies:
            streams[target] = list(streams[source])
        for piece in step.pieces:
            assert len(streams[piece.stream]) == piece.start
            assert piece.last or (piece.stop - piece.start) % GRAIN == 0
            assert piece.last == (piece.stop == len(piece.item.tokens) and placed[piece.item.request] == piece.stream)
            streams[piece.stream] += piece.item.tokens[piece.start : piece.stop]
            computed += piece.stop - piece.start
    return streams, computed


@given(drawn=many, copy_cost=st.sampled_from([0.0, 2.0, 8.0]), wave=st.sampled_from([1, 4, 16]))
def test_a_plan_fills_each_stream_with_its_item(drawn, copy_cost, wave):
    items = _items(drawn)
    seen = []
    for job in jobs(items, wave):
        depth = len(job.trunk)
        assert depth % GRAIN == 0
        for first in range(0, len(job.items), wave):
            part = job.items[first : first + wave]
            assert all(item.tokens[:depth] == job.trunk and depth <= item.shareable for item in part)
            steps, placed = plan(part, range(wave), depth, copy_cost)
            assert len(set(placed.values())) == len(part)
            streams, computed = _simulate(steps, depth, part, placed)
            for item in part:
                assert tuple(streams[placed[item.request]]) == item.tokens
                assert _own_end(steps, placed[item.request]) <= item.shareable
            assert computed <= sum(len(item.tokens) - depth for item in part)
            seen += [item.request for item in part]
    assert sorted(seen) == list(range(len(items)))


def _own_end(steps, stream):
    """Where the piece begins with which the stream's item ends."""
    return next(piece.start for step in steps for piece in step.pieces if piece.stream == stream and piece.last)


@given(drawn=many)
def test_batches_hold_adjacent_streams_of_one_width_and_enough_rows(drawn):
    items = sorted(_items(drawn), key=lambda item: item.tokens)
    steps, _ = plan(items, range(len(items)), 0, 2.0)
    for step in steps:
        cut = list(batches(step.pieces, rows=64, cells=256))
        assert [piece for _, batch in cut for piece in batch] == list(step.pieces)
        for width, batch in cut:
            assert [piece.stream for piece in batch] == list(range(batch[0].stream, batch[0].stream + len(batch)))
            assert width % 4 == 0
            assert width * len(batch) >= 8
            assert len(batch) == 1 or width * len(batch) <= 64
            assert all(piece.stop - piece.start == width or piece.last for piece in batch)
            assert all(piece.stop - piece.start <= width and piece.start + width <= 256 for piece in batch)


def test_decoys_share_their_question():
    question = tuple(range(40))
    items = [Item(at, (*question, 50 + at, 7), 39) for at in range(20)]
    steps, _ = plan(items, range(20), 0, 2.0)
    computed = sum(piece.stop - piece.start for step in steps for piece in step.pieces)
    assert computed == 32 + 20 * (42 - 32)
    assert len(steps) == 2


def test_a_beginning_that_many_share_becomes_a_trunk():
    shots = tuple(range(100))
    items = [Item(at, (*shots, at, at, at), 101) for at in range(50)] + [Item(50, (9, 9, 9), 2)]
    made = list(jobs(items, 16))
    assert sorted(len(job.trunk) for job in made) == [0, 96]
    assert {len(job.items) for job in made} == {1, 50}
