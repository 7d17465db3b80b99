"""A file appears under its final name only when it is complete."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest
from edgeproof.contracts import atomic
from edgeproof.contracts.atomic import atomic_write
from edgeproof.contracts.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path


def test_the_bytes_arrive_with_the_mode_of_a_plain_open(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    with atomic_write(tmp_path / "out", force=False) as file:
        file.write(b"abc")
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out").read_bytes() == b"abc"
    assert (tmp_path / "out").stat().st_mode == plain.stat().st_mode
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "plain"]


@pytest.mark.parametrize("force", [False, True])
def test_nothing_is_left_when_the_block_raises(tmp_path: Path, *, force: bool) -> None:
    def interrupted() -> None:
        with atomic_write(tmp_path / "out", force=force) as file:
            file.write(b"abc")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_an_existing_target_is_refused_untouched_and_replaced_with_force(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"old")
    with pytest.raises(OutputError, match="exists"), atomic_write(target, force=False):
        pytest.fail("the block must not run")
    assert target.read_bytes() == b"old"
    with atomic_write(target, force=True) as file:
        file.write(b"new")
    assert target.read_bytes() == b"new"


def test_a_target_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out"

    def write() -> None:
        with atomic_write(target, force=False) as file:
            file.write(b"mine")
            target.write_bytes(b"theirs")

    with pytest.raises(OutputError, match="exists"):
        write()
    assert target.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No space left"), atomic_write(tmp_path / "out", force=False):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_and_a_folder_as_target_are_output_errors(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file"), atomic_write(tmp_path / "no" / "out", force=False):
        pytest.fail("the block must not run")
    with pytest.raises(OutputError, match="is a folder"), atomic_write(tmp_path, force=True):
        pytest.fail("the block must not run")


FILES = {"first": b"1", "second": b"2", "third": b"3"}
OLD = {"first": b"old", "third": b"old 3", "stale": b"old 4"}


def found(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_files_that_belong_together_all_arrive_the_first_one_last(tmp_path: Path, monkeypatch) -> None:
    order: list[str] = []
    link = atomic.commit

    def committed(temporary: Path, path: Path, *, force: bool) -> None:
        order.append(path.name)
        link(temporary, path, force=force)

    monkeypatch.setattr(atomic, "commit", committed)
    atomic.write_all(tmp_path, FILES, force=False)
    assert found(tmp_path) == FILES
    assert order[-1] == "first"
    with pytest.raises(OutputError, match="exists"):
        atomic.write_all(tmp_path, FILES, force=False)


def test_with_force_they_replace_what_was_there_and_what_is_stale_goes(tmp_path: Path) -> None:
    for name, content in OLD.items():
        (tmp_path / name).write_bytes(content)
    atomic.write_all(tmp_path, FILES, force=True, without=["stale"])
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
            atomic.write_all(folder, FILES, force=force, without=["stale"])
        except OutputError:
            assert found(folder) == before, (call, failing)
        else:
            assert found(folder) == FILES
            if calls <= failing:
                return
    raise AssertionError("it never came to an end")
