"""What a command foretells: the answers that are to come, and the time by the speed seen."""

from __future__ import annotations

import types

import pytest
from edgeproof.contracts.progress import Recording, Silent
from edgeproof.eval.measuring.forecast import Forecast, Stage
from edgeproof.release.steps.asking import course as module
from edgeproof.release.steps.asking.course import Course, steps

STAGES = (Stage(": scores", 100, generated=False), Stage(": greedy answers", 50, generated=True))


class Hearing(Silent):
    """A listener that hears what is foreseen."""

    def __init__(self):
        super().__init__()
        self.said, self.tasks, self.left = [], [], None

    def foresee(self, message, left):
        self.said.append(message)
        self.left = left

    def start(self, task, *_):
        self.tasks.append(task)


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

    monkeypatch.setattr(module, "time", types.SimpleNamespace(monotonic=lambda: Clock.now))
    return Clock


@pytest.fixture
def heard():
    return Hearing()


@pytest.fixture
def course(heard):
    return Course(Recording(heard))


def both(course, *, resumed=0):
    forecast = Forecast(STAGES, (), ())
    course.foresee([*steps("artifact", "a.gguf", forecast), *steps("artifact", "b.gguf", forecast)], resumed=resumed)


def work(course, clock, task, total, seconds):
    course.start(task, total, "answers")
    for _ in range(total):
        clock.now += seconds
        course.advance(1)


def test_answers_are_counted_over_all_models(course, heard):
    both(course)
    assert heard.said == ["300 answers of a.gguf, b.gguf"]
    assert heard.left() is None


def test_a_trial_gives_the_time_before_the_start(course, heard, clock):
    class Engine:
        def score(self, requests):
            for _ in requests:
                clock.now += 0.5
                yield None

        def generate(self, requests):
            for _ in requests:
                clock.now += 2
                yield None

    forecast = Forecast(STAGES, (1,) * 8, (1,) * 4)
    course.time(Engine(), forecast)
    both(course)
    assert heard.said == ["300 answers of a.gguf, b.gguf: about 5 min"]
    assert heard.left() == 2 * (100 * 0.5 + 50 * 2)


def test_the_time_left_follows_the_speed_that_is_seen_and_reaches_nought(course, heard, clock):
    both(course)
    work(course, clock, "artifact: scores", 100, 1)
    assert heard.left() is None  # nothing was generated yet
    course.start("artifact: greedy answers", 50, "answers")
    for _ in range(25):
        clock.now += 4
        course.advance(1)
    assert heard.left() == 25 * 4 + 100 * 1 + 50 * 4
    for _ in range(25):
        clock.now += 4
        course.advance(1)
    work(course, clock, "artifact: scores", 100, 1)
    work(course, clock, "artifact: greedy answers", 40, 4)  # fewer than foreseen
    assert heard.left() == 0
    assert heard.tasks == ["a.gguf: scores", "a.gguf: greedy answers", "b.gguf: scores", "b.gguf: greedy answers"]


def test_answers_of_an_interrupted_run_cost_nothing_and_say_nothing_of_the_speed(course, heard, clock):
    both(course, resumed=80)
    assert heard.said == ["300 answers of a.gguf, b.gguf, 80 of them given by an interrupted run"]
    course.start("artifact: scores", 100, "answers")
    course.advance(80)
    for _ in range(16):
        clock.now += 3
        course.advance(1)
    work_left = heard.left()
    assert work_left is None
    course._by_kind[True] = 1.0
    assert heard.left() == 4 * 3 + 50 + 100 * 3 + 50


def test_a_stage_that_does_not_come_is_skipped(course, heard, clock):
    both(course)
    work(course, clock, "artifact: greedy answers", 50, 1)
    course._by_kind[False] = 1.0
    assert heard.left() == 100 + 50
    course.start("something else", 3, "files")
    assert heard.tasks[-1] == "something else"
