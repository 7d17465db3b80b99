"""What must hold of workers: every item is computed once, and one failure ends the call of all."""

from __future__ import annotations

import threading
import time

import pytest
from edgeproof.runtime.batching.prefixes import Item
from edgeproof.runtime.batching.work_queue import LEAST, Lot, WorkQueue
from edgeproof.runtime.batching.workers import THREAD_NAME, Workers
from hypothesis import given
from hypothesis import strategies as st


class Beating:
    """Works until its beat stops it."""

    def __init__(self, beat):
        self.beat = beat

    def go_on(self):
        while True:
            time.sleep(0.001)
            self.beat()

    def close(self):
        pass


def _lots(shapes):
    numbers = iter(range(10_000))
    return [Lot(tuple(Item(next(numbers), (1,), 0) for _ in range(count)), cells, 32) for count, cells in shapes]


@given(
    shapes=st.lists(st.tuples(st.integers(1, 100), st.sampled_from([256, 512])), max_size=6),
    asked=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 40), st.booleans()), max_size=20),
)
def test_every_item_is_taken_once(shapes, asked):
    lots = _lots(shapes)
    queue = WorkQueue(lots, workers=3)
    held, taken = [None] * 3, []

    def take(worker, **limits):
        found = queue.take(held[worker], **limits)
        if found is not None:
            lot, items = found
            assert 0 < len(items) <= limits.get("most", lot.wave)
            assert limits.get("cells") in {None, lot.cells}
            held[worker] = lot
            taken.extend(item.request for item in items)
        return found

    for worker, most, same in asked:
        take(worker, most=most, cells=held[worker].cells if same and held[worker] else None)
    while take(0) is not None:
        pass
    assert sorted(taken) == list(range(sum(len(lot.items) for lot in lots)))


def test_workers_stay_with_a_lot_then_begin_another_then_help():
    first, second = _lots([(64, 256), (40, 256)])
    queue = WorkQueue([first, second], workers=2)
    assert queue.take()[0] is first
    assert queue.take()[0] is second
    order = []
    while (found := queue.take(first)) is not None:
        order.append(found[0] is first)
    assert order == sorted(order, reverse=True)
    assert set(order) == {True, False}


def test_the_last_items_are_divided_among_the_workers():
    queue = WorkQueue(_lots([(24, 256)]), workers=2)
    assert [len(queue.take()[1]) for _ in range(3)] == [12, LEAST, 4]


def test_generations_are_refilled_when_half_of_the_rows_are_free_and_of_one_size():
    small, large = _lots([(50, 256), (3, 512)])
    queue = WorkQueue([small, large], workers=1)
    assert len(queue.refill(None, 0)[1]) == 32
    assert queue.refill(small, 17) is None
    assert len(queue.refill(small, 10)[1]) == 18
    assert queue.refill(small, 5) is None
    assert queue.refill(small, 0)[0] is large


def test_an_error_of_one_worker_stops_the_others_and_is_raised():
    workers = Workers(3, Beating, lambda: None)

    def work(worker):
        if worker is workers.all[2]:
            raise ZeroDivisionError
        worker.go_on()

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            workers.run(work)
        assert THREAD_NAME not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_beat_that_raises_stops_all(error):
    beats = iter(range(50))

    def beat():
        if next(beats, None) is None:
            raise error

    with pytest.raises(error):
        Workers(3, Beating, beat).run(lambda worker: worker.go_on())
    assert THREAD_NAME not in {thread.name for thread in threading.enumerate()}


def test_one_worker_works_in_the_calling_thread():
    found = []
    Workers(1, Beating, lambda: None).run(lambda _worker: found.append(threading.current_thread()))
    assert found == [threading.current_thread()]
