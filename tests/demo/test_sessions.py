"""What must hold of open pages: a reload keeps its own, and the demo ends with the last one."""

from __future__ import annotations

import pytest
from edgeproof.contracts.errors import InputError
from edgeproof.demo.sessions import BYE_SECONDS, MOST, SILENT_SECONDS, Sessions


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Run:
    stopped = False

    def stop(self):
        self.stopped = True

    def join(self, _seconds):
        pass


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def sessions(clock):
    return Sessions(clock)


def test_before_the_first_page_it_is_not_over(sessions, clock):
    clock.now += 10 * SILENT_SECONDS
    assert not sessions.over()


def test_it_is_over_when_the_last_page_was_closed(sessions, clock):
    one, other = sessions.enter(), sessions.enter()
    assert one.key != other.key
    sessions.leave(one.key)
    clock.now += BYE_SECONDS + 1
    assert not sessions.over()
    sessions.leave(other.key)
    assert not sessions.over()
    clock.now += BYE_SECONDS + 1
    assert sessions.over()


def test_a_reload_keeps_its_session_and_its_runs(sessions, clock):
    one = sessions.enter()
    one.runs["0"] = Run()
    sessions.leave(one.key)
    clock.now += BYE_SECONDS - 1
    assert sessions.enter(one.key) is one
    clock.now += BYE_SECONDS + 1
    assert not sessions.over()
    assert not one.runs["0"].stopped


def test_a_copied_tab_has_a_session_of_its_own(sessions):
    one = sessions.enter()
    one.runs["0"] = Run()
    copy = sessions.enter(one.key)
    assert copy.key != one.key
    assert copy.runs == {}
    sessions.leave(one.key)
    assert sessions.enter(one.key) is one


def test_a_page_that_falls_silent_is_gone_with_its_runs(sessions, clock):
    one = sessions.enter()
    one.runs["0"] = Run()
    clock.now += SILENT_SECONDS - 1
    assert sessions.get(one.key) is one
    clock.now += SILENT_SECONDS - 1
    assert not sessions.over()
    clock.now += 2
    assert sessions.over()
    assert one.runs["0"].stopped
    with pytest.raises(InputError, match="away for too long"):
        sessions.get(one.key)
    assert sessions.enter(one.key) is not one


def test_there_is_an_end_to_pages(sessions):
    for _ in range(MOST):
        sessions.enter()
    with pytest.raises(InputError, match=f"{MOST} pages are open"):
        sessions.enter()
