"""Requests a window at a time: results in order, equal requests once, a window only when it is asked for."""

from __future__ import annotations

from edgeproof.runtime.batching.windows import WINDOW, in_windows


def test_results_come_in_order_and_equal_requests_of_a_window_are_computed_once():
    windows = []

    def squares(numbers):
        windows.append(list(numbers))
        return [number * number for number in numbers]

    requests = [index % 100 for index in range(WINDOW)] + [7, 8, 7]
    results = in_windows(requests, squares)
    assert windows == []
    assert next(results) == 0
    assert windows == [list(range(100))]
    assert [0, *results] == [number * number for number in requests]
    assert windows[1:] == [[7, 8]]
