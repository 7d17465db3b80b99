"""A file appears under its final name only when it is complete."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest
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
