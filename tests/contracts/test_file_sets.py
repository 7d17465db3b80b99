"""Files that belong together get their names together, or none of them does."""

from __future__ import annotations

import errno
import os
import signal
from typing import TYPE_CHECKING

import pytest
from edgeproof.contracts import file_sets
from edgeproof.contracts.errors import OutputError
from edgeproof.contracts.file_sets import write_all

if TYPE_CHECKING:
    from pathlib import Path

FILES = {"first": b"1", "second": b"2", "third": b"3"}
OLD = {"first": b"old", "third": b"old 3", "stale": b"old 4"}


def found(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_files_that_belong_together_all_arrive_the_first_one_last(tmp_path: Path, monkeypatch) -> None:
    order: list[str] = []
    link = file_sets.commit

    def committed(temporary: Path, path: Path, *, force: bool) -> None:
        order.append(path.name)
        link(temporary, path, force=force)

    monkeypatch.setattr(file_sets, "commit", committed)
    write_all(tmp_path, FILES, force=False)
    assert found(tmp_path) == FILES
    assert order[-1] == "first"
    with pytest.raises(OutputError, match="exists"):
        write_all(tmp_path, FILES, force=False)


def test_with_force_they_replace_what_was_there_and_what_is_stale_goes(tmp_path: Path) -> None:
    for name, content in OLD.items():
        (tmp_path / name).write_bytes(content)
    write_all(tmp_path, FILES, force=True, without=["stale"])
    assert found(tmp_path) == FILES


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("call", ["fsync", "rename", "replace", "link"])
def test_one_failure_at_any_step_leaves_all_or_none(tmp_path: Path, monkeypatch, call: str, *, force: bool) -> None:
    """Every call of the kind fails once, first to last, until one run has none left to fail."""
    real = getattr(os, call)
    for failing in range(100):
        folder = tmp_path / str(failing)
        folder.mkdir()
        before = OLD if force else {}
        for name, content in before.items():
            (folder / name).write_bytes(content)
        calls = 0

        def fails_once(*arguments, failing: int = failing, **options):
            nonlocal calls
            calls += 1
            if calls == failing + 1:
                raise OSError(errno.EIO, "Input/output error")
            return real(*arguments, **options)

        monkeypatch.setattr(os, call, fails_once)
        try:
            write_all(folder, FILES, force=force, without=["stale"])
        except OutputError:
            assert found(folder) == before, (call, failing)
        else:
            assert found(folder) == FILES
            if calls <= failing:
                return
    raise AssertionError("it never came to an end")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("fails", [False, True])
def test_an_interruption_waits_until_all_have_their_names_or_none(tmp_path: Path, monkeypatch, sent, fails) -> None:
    link = file_sets.commit

    def committed(temporary: Path, path: Path, *, force: bool) -> None:
        os.kill(os.getpid(), sent)
        if fails and path.name == "first":
            raise OSError(errno.ENOSPC, "No space left on device")
        link(temporary, path, force=force)
        os.kill(os.getpid(), sent)

    write_all(tmp_path, OLD, force=False)
    monkeypatch.setattr(file_sets, "commit", committed)
    usual = signal.signal(sent, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            write_all(tmp_path, FILES, force=True, without=["stale"])
        assert signal.getsignal(sent) == signal.default_int_handler
    finally:
        signal.signal(sent, usual)
    assert found(tmp_path) == (OLD if fails else FILES)
