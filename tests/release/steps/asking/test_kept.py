"""Where answers are kept, and what is said where they cannot be."""

from __future__ import annotations

import os
import time

import pytest
from edgeproof.contracts.errors import OutputError
from edgeproof.contracts.progress import Silent
from edgeproof.eval.measurement import Sampling
from edgeproof.eval.packs.reader import load_pack
from edgeproof.release.steps.asking.kept import Keeping
from edgeproof.runtime import open_backend
from edgeproof_tests.runtime import tiny_gguf
from edgeproof_tests.taught import invent, write_pack

SHA = "ab" * 32


@pytest.fixture
def engine(tmp_path):
    with open_backend("llama.cpp", tiny_gguf.write(tmp_path / "tiny.gguf"), threads=1) as backend:
        yield backend


@pytest.fixture
def pack(tmp_path):
    return load_pack(write_pack(tmp_path / "pack", invent()))


def keep(engine, pack, bound=None, sampling=None, sha256=SHA):
    heard = Silent()
    kept = Keeping(pack, sampling, bound or {}, heard)
    return kept.keep(engine, sha256), kept, heard.warnings


def test_the_folder_is_private_and_the_file_goes_when_the_command_is_done(engine, pack, tmp_path, monkeypatch):
    monkeypatch.delenv("EDGEPROOF_ANSWERS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _, kept, warnings = keep(engine, pack)
    folder = tmp_path / "cache" / "edgeproof" / "answers"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert len(list(folder.iterdir())) == 1
    kept.done()
    assert list(folder.iterdir()) == []
    assert warnings == []


def test_whoever_interrupts_is_told_that_the_answers_are_kept(engine, pack, tmp_path, monkeypatch):
    from edgeproof import cli

    monkeypatch.setenv("EDGEPROOF_ANSWERS", str(tmp_path / "answers"))
    said: list[str] = []
    monkeypatch.setattr(cli.streams, "tell", lambda message: said.append(message) or True)
    for asked in (False, True):

        def interrupted(_self, _context, asked=asked):
            _, kept, _ = keep(engine, pack) if asked else (0, Keeping(pack, None, {}, Silent()), ())
            with kept.told_how_to_go_on():
                raise KeyboardInterrupt

        monkeypatch.setattr(cli.VerbGroup, "invoke", interrupted)
        assert cli.run(["gate", "x"]) == cli.EXIT_INTERRUPTED
    kept = "Its answers are kept for 14 days: the same command goes on from them."
    assert said == [cli.INTERRUPTED, f"{cli.INTERRUPTED} {kept}"]


def test_each_thing_that_answers_depend_on_has_a_file_of_its_own(engine, pack, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEPROOF_ANSWERS", str(tmp_path / "answers"))
    other = load_pack(write_pack(tmp_path / "other", invent(seed=6)))
    keep(engine, pack)
    keep(engine, pack, bound={"baseline": "1"})
    keep(engine, pack, sampling=Sampling(4, 1.0, 0))
    keep(engine, pack, sha256="cd" * 32)
    keep(engine, other)
    assert len(list((tmp_path / "answers").iterdir())) == 5


def test_what_nobody_took_up_goes_after_two_weeks(engine, pack, tmp_path, monkeypatch):
    folder = tmp_path / "answers"
    monkeypatch.setenv("EDGEPROOF_ANSWERS", str(folder))
    folder.mkdir(0o700)
    old, new, foreign = "0" * 12 + "-" + "0" * 20, "1" * 12 + "-" + "1" * 20, "2" * 12 + "-" + "2" * 20
    mine = {"thesis-final.docx": b"edgeproof answers 2 x", foreign: b"another program's", "base-model.gguf": b"GGUF"}
    kept = {old: (b"edgeproof answers 1 x\n", 15), new: (b"edgeproof answers 2 x\n", 13)}
    for name, (content, days) in (kept | {name: (content, 99) for name, content in mine.items()}).items():
        (folder / name).write_bytes(content)
        os.utime(folder / name, (time.time() - days * 86_400,) * 2)
    keep(engine, pack)
    assert not (folder / old).exists()
    assert (folder / new).exists()
    for name, content in mine.items():
        assert (folder / name).read_bytes() == content


def test_a_folder_that_others_may_read_gets_no_answers(engine, pack, tmp_path, monkeypatch):
    folder = tmp_path / "cache" / "edgeproof" / "answers"
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    monkeypatch.delenv("EDGEPROOF_ANSWERS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    count, _, (warning,) = keep(engine, pack)
    assert count == 0
    assert "which others may read; a stopped run begins anew (close it: chmod 700" in warning
    monkeypatch.setenv("EDGEPROOF_ANSWERS", str(folder))
    with pytest.raises(OutputError, match="which others may read"):
        keep(engine, pack)
    assert list(folder.iterdir()) == []
