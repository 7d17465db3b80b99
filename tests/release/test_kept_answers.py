"""Where kept answers lie, and that a place that cannot hold them stops nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from edgeproof.contracts.errors import OutputError
from edgeproof.contracts.progress import Recording
from edgeproof.release.steps.asking.kept import Keeping, answers_folder


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.delenv("EDGEPROOF_ANSWERS", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def keep(listener):
    """Let an engine keep its answers; return the engine and how many it has."""
    engine = MagicMock(info=SimpleNamespace(backend="llama.cpp", options={}, _asdict=dict))
    engine.keep.return_value = SimpleNamespace(answers=7, ignored="")
    keeping = Keeping(SimpleNamespace(secret=b"s", digest="d"), None, {}, listener)
    return engine, keeping.keep(engine, "0" * 64)


def test_answers_lie_in_the_users_cache(home):
    engine, found = keep(Recording(None))
    assert found == 7
    assert engine.keep.call_args.args[0].parent == home / ".cache" / "edgeproof" / "answers"


def test_a_home_that_cannot_be_written_is_a_warning(home):
    (home / ".cache").touch()
    listener = Recording(None)
    engine, found = keep(listener)
    assert found == 0
    assert not engine.keep.called
    (warning,) = listener.warnings
    assert "a stopped run begins anew" in warning
    assert "EDGEPROOF_ANSWERS=DIR" in warning


@pytest.mark.usefixtures("home")
def test_a_user_without_a_home_gets_the_same_warning(monkeypatch):
    def no_home(_path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", no_home)
    listener = Recording(None)
    assert keep(listener)[1] == 0
    assert "Could not determine home directory" in listener.warnings[0]


def test_a_folder_that_was_named_and_cannot_be_used_is_an_error(home, monkeypatch):
    (home / "file").touch()
    monkeypatch.setenv("EDGEPROOF_ANSWERS", str(home / "file" / "answers"))
    with pytest.raises(OutputError, match="cannot be kept"):
        keep(Recording(None))


def test_answers_that_another_command_has_just_removed_are_no_error(home):
    folder = home / ".cache" / "edgeproof" / "answers"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "old-answers").symlink_to("gone")
    assert answers_folder() == folder
