"""What a person sees on stderr while a job runs, and what a log keeps of it."""

from __future__ import annotations

import sys
import threading

import pytest
from edgeproof.cli import progress
from edgeproof.cli.progress import Terminal


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    return Clock


def test_a_log_gets_one_line_a_task_with_its_rate(clock, capsys):
    with Terminal() as terminal:
        terminal.start("Export", 64 * 2**20, "bytes")
        for _ in range(4):
            clock.now += 0.5
            terminal.advance(16 * 2**20)
        terminal.start("scores", 10, "answers")
        clock.now += 2
        terminal.advance(10)
    assert capsys.readouterr().err.splitlines() == [
        "Export: done in 2.0 s (32 MB/s)",
        "scores: done in 2.0 s (5.0 answers/s)",
    ]


def test_a_long_task_says_every_fifteen_seconds_how_long_it_still_takes(clock, capsys):
    with Terminal() as terminal:
        terminal.start("scores", 100, "answers")
        for _ in range(35):
            clock.now += 1
            terminal.advance(1)
    assert capsys.readouterr().err.splitlines() == [
        "scores: 15%, 1.0 answers/s; about 85 s left",
        "scores: 30%, 1.0 answers/s; about 70 s left",
        "scores: done in 35.0 s (1.0 answers/s)",
    ]


def test_a_rate_of_no_digits_is_not_told_but_what_is_done(clock, capsys):
    with Terminal() as terminal:
        terminal.start("loading the base", 1, "models")
        clock.now += 46
        terminal.advance(1)
        terminal.start("Export", 64 * 2**20, "bytes")
        clock.now += 128
        terminal.advance(32 * 2**20)
        terminal.start("Inspect", 2**20, "bytes")
        clock.now += 2
        terminal.advance(2**20)
        terminal.start("scores", 12, "answers")
        clock.now += 1.4
    assert capsys.readouterr().err.splitlines() == [
        "loading the base: 99%, 1 of 1 model; finishing",
        "loading the base: done in 46.0 s (1 of 1 model)",
        "Export: 50%, 32 of 64 MB; about 2 min left",
        "Export: done in 128.0 s (32 of 64 MB)",
        "Inspect: done in 2.0 s (1.0 of 1.0 MB)",
        "scores: done in 1.4 s",
    ]


@pytest.mark.parametrize("foreseen", [None, 25.0])
def test_no_task_is_at_a_hundred_percent_or_has_a_time_left_before_it_is_done(foreseen, clock, capsys):
    with Terminal() as terminal:
        if foreseen is not None:
            terminal.foresee("2,000 answers", lambda: foreseen)
        terminal.start("scores", 2000, "answers")
        for done in (1999, 1, 0, 0):
            clock.now += 16
            terminal.advance(done)
        said = capsys.readouterr().err
    assert "done" not in said
    lines = [line for line in said.splitlines() if line.startswith("scores")]
    assert [line.partition(",")[0] for line in lines] == ["scores: 99%"] * 4
    assert all(line.endswith("; finishing") for line in lines[1:])


def test_a_line_comes_while_no_unit_is_done(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.01)
    said = ""
    with Terminal() as terminal:
        terminal.start("scores", 100, "answers")
        while "scores: 0%" not in said:
            said += capsys.readouterr().err


def test_what_is_foreseen_is_told_first_and_the_time_left_over_all_tasks(clock, capsys):
    with Terminal() as terminal:
        terminal.foresee("300 answers of a.gguf: about 5 min", lambda: 290.0)
        terminal.start("a.gguf: scores", 100, "answers")
        clock.now += 15
        terminal.advance(15)
    assert capsys.readouterr().err.splitlines()[:2] == [
        "300 answers of a.gguf: about 5 min",
        "a.gguf: scores: 15%, 1.0 answers/s; in all about 5 min left",
    ]


def test_no_time_is_told_while_that_of_later_tasks_is_not_known(clock, capsys):
    with Terminal() as terminal:
        terminal.foresee("300 answers of a.gguf, 80 of them given by an interrupted run", lambda: None)
        terminal.start("a.gguf: scores", 100, "answers")
        clock.now += 15
        terminal.advance(95)
    assert "left" not in capsys.readouterr().err


def test_a_terminal_shows_the_time_left_over_all_tasks(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    with Terminal() as terminal:
        terminal.foresee("300 answers", lambda: 7800.0)
        terminal.start("scores", 10, "answers")
        terminal.advance(10)
    shown = capsys.readouterr().err
    assert "300 answers" in shown
    assert "in all about 2 h 10 min left" in shown


def test_a_finished_task_is_not_told_again(clock, capsys):
    with Terminal() as terminal:
        terminal.start("Export", 1, "files")
        clock.now += 1
        terminal.finish()
    assert capsys.readouterr().err.count("Export") == 1


def test_a_task_that_failed_is_not_said_to_be_done(capsys):
    terminal = Terminal()
    terminal.start("Export", 1, "files")
    terminal.__exit__(ValueError, ValueError("broke"), None)
    assert "done" not in capsys.readouterr().err


def test_quiet_leaves_the_warnings(capsys):
    with Terminal(quiet=True) as terminal:
        terminal.start("Export", 1, "files")
        terminal.advance(1)
        terminal.warn("mind the gap")
    assert capsys.readouterr().err == "Warning: mind the gap\n"
    assert terminal.warnings == ["mind the gap"]


def test_threads_count_together(capsys, clock):
    with Terminal() as terminal:
        terminal.start("Export", 4000, "rows")
        threads = [threading.Thread(target=lambda: [terminal.advance(1) for _ in range(1000)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        clock.now += 4
    assert "1000.0 rows/s" in capsys.readouterr().err


def test_a_terminal_gets_a_bar_and_warnings_as_they_are(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with Terminal() as terminal:
        terminal.start("Export", 10, "bytes")
        terminal.advance(10)
        terminal.warn("rows [3] of [red]x[/red]")
    shown = capsys.readouterr().err
    assert "Export" in shown
    assert "100 %" in shown
    assert "rows [3] of [red]x[/red]" in shown
