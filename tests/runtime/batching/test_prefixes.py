"""What must hold of every plan: each item's tokens end up in its stream, in order, and nothing is computed in vain."""

from __future__ import annotations

from edgeproof.runtime.batching.prefixes import GRAIN, Item, jobs, plan
from edgeproof.runtime.llama.streams import MIN_ROWS, ROW_GRAIN, WIDTH_GRAIN
from edgeproof.runtime.llama.waves import Padding, batches
from hypothesis import given
from hypothesis import strategies as st

tokens = st.integers(0, 2)
beginnings = st.sampled_from([(), (1,) * 9, (1,) * 40, (1,) * 40 + (2,) * 16, (0, 1) * 30])
contents = st.tuples(beginnings, st.lists(tokens, min_size=1, max_size=20)).map(lambda parts: (*parts[0], *parts[1]))
many = st.lists(st.tuples(contents, st.integers(0, 10)), min_size=1, max_size=60)


def _items(drawn):
    return [Item(at, content, max(0, len(content) - 1 - own)) for at, (content, own) in enumerate(drawn)]


def _simulate(steps, depth, items, placed, grain):
    """Follow a plan with lists for streams; return their content, how many tokens were computed, and what was told.

    Padding is taken back after each piece where `grain` is 1.
    """
    trunk = items[0].tokens[:depth]
    streams, computed, told = {}, 0, []
    for step in steps:
        for source, target in step.copies:
            assert source != target
            streams[target] = list(trunk if source < 0 else streams[source])
        assert len({piece.stream for piece in step.pieces}) == len(step.pieces)
        for piece in step.pieces:
            assert len(streams[piece.stream]) == piece.start < piece.stop
            assert piece.last or (piece.stop - piece.start) % grain == 0
            assert all(item.tokens[: piece.stop] == piece.items[0].tokens[: piece.stop] for item in piece.items)
            if piece.last:
                (item,) = piece.items
                assert (len(item.tokens), placed[item.request]) == (piece.stop, piece.stream)
            streams[piece.stream] += piece.items[0].tokens[piece.start : piece.stop]
            computed += piece.stop - piece.start
            told += [
                (item.request, position)
                for item in piece.items
                for position in range(max(piece.start, item.shareable), piece.stop)
            ]
    return streams, computed, told


@given(
    drawn=many,
    copy_cost=st.sampled_from([0.0, 2.0, 8.0]),
    wave=st.sampled_from([1, 4, 16]),
    grain=st.sampled_from([1, 8]),
)
def test_a_plan_fills_each_stream_with_its_item_and_tells_each_output_once(drawn, copy_cost, wave, grain):
    items = _items(drawn)
    seen = []
    for job in jobs(items, wave):
        depth = len(job.trunk)
        assert depth % GRAIN == 0
        for first in range(0, len(job.items), wave):
            part = job.items[first : first + wave]
            assert all(item.tokens[:depth] == job.trunk and depth <= item.shareable for item in part)
            steps, placed = plan(part, range(wave), wave, depth, copy_cost=copy_cost, grain=grain)
            assert len(set(placed.values())) == len(part)
            streams, computed, told = _simulate(steps, depth, part, placed, grain)
            for item in part:
                assert tuple(streams[placed[item.request]]) == item.tokens
            assert sorted(told) == sorted(
                (item.request, position) for item in part for position in range(item.shareable, len(item.tokens))
            )
            assert computed <= sum(len(item.tokens) - depth for item in part)
            seen += [item.request for item in part]
    assert sorted(seen) == list(range(len(items)))


@given(drawn=many, padded=st.sampled_from(Padding))
def test_batches_hold_adjacent_streams_of_one_width_and_enough_rows(drawn, padded):
    items = sorted(_items(drawn), key=lambda item: item.tokens)
    steps, _ = plan(items, range(len(items)), len(items), 0, copy_cost=2.0, grain=1 if padded is Padding.ANY else GRAIN)
    for step in steps:
        cut = batches(step.pieces, rows=64, cells=256, padded=padded)
        assert [piece for _, batch in cut for piece in batch] == list(step.pieces)
        for width, batch in cut:
            assert [piece.stream for piece in batch] == list(range(batch[0].stream, batch[0].stream + len(batch)))
            lengths = [piece.stop - piece.start for piece in batch]
            assert max(lengths) <= width
            assert all(piece.start + width <= 256 for piece in batch)
            assert len(batch) == 1 or width * len(batch) <= 64
            if padded is Padding.NONE:
                assert lengths == [width]
                continue
            assert width % (WIDTH_GRAIN if padded is Padding.ANY else ROW_GRAIN) == 0
            assert width * len(batch) % ROW_GRAIN == 0
            assert width * len(batch) >= MIN_ROWS
            assert padded is Padding.ANY or all(
                piece.last or length == width for piece, length in zip(batch, lengths, strict=True)
            )


def test_pieces_of_unlike_length_are_batches_of_their_own_where_padding_costs_more_than_a_call():
    items = [Item(at, (at,) * length, length - 1) for at, length in enumerate((4, 4, 4, 4, 40, 40))]
    steps, _ = plan(items, range(6), 6, 0, copy_cost=0.1)
    assert [(width, len(batch)) for width, batch in batches(steps[-1].pieces, rows=512, cells=256)] == [(4, 4), (40, 2)]


def test_decoys_share_their_question_and_what_follows_it():
    question = tuple(range(40))
    items = [Item(at, (*question, 50 + at), 39) for at in range(20)]
    steps, placed = plan(items, range(20), 20, 0, copy_cost=0.1)
    _, computed, told = _simulate(steps, 0, items, placed, 1)
    assert computed == 40 + 20
    assert sum(bool(step.pieces) for step in steps) == 2
    assert {(at, 39) for at in range(20)} <= set(told)


def test_samples_of_one_prompt_compute_it_once():
    items = [Item(at, tuple(range(40)), 39) for at in range(20)]
    steps, placed = plan(items, range(20), 20, 0, copy_cost=0.1)
    streams, computed, told = _simulate(steps, 0, items, placed, 1)
    assert computed == 40
    assert len(told) == 20
    assert len(placed) == 20
    assert all(streams[stream] == list(range(40)) for stream in placed.values())


def test_a_beginning_that_many_share_becomes_a_trunk():
    shots = tuple(range(100))
    items = [Item(at, (*shots, at, at, at), 101) for at in range(50)] + [Item(50, (9, 9, 9), 2)]
    made = list(jobs(items, 16))
    assert sorted(len(job.trunk) for job in made) == [0, 96]
    assert {len(job.items) for job in made} == {1, 50}
