"""An encrypted pack through every verb that takes one: the folder's verdict, and its texts in no file or message."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from typing import TYPE_CHECKING, NamedTuple

import pytest
from edgeproof.cli import run
from edgeproof_tests.cli.test_end_to_end import export, read_report, words

if TYPE_CHECKING:
    from pathlib import Path

    from edgeproof_tests.world import World

pytestmark = [pytest.mark.slow, pytest.mark.torch]


class Sealed(NamedTuple):
    pack: Path
    key: Path


@pytest.fixture(scope="module")
def sealed(world: World, tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    pyrage = pytest.importorskip("pyrage")
    out = tmp_path_factory.mktemp("sealed")
    identity = pyrage.x25519.Identity.generate()
    (out / "key.txt").write_text(f"{identity}\n")
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        archive.add(world.pack, arcname=".")
    (out / "pack.age").write_bytes(pyrage.encrypt(raw.getvalue(), [identity.to_public()]))
    return Sealed(out / "pack.age", out / "key.txt")


def test_export_gate_and_verify_take_it_with_the_folders_baseline(world, sealed, tmp_path, capsys, monkeypatch):
    judged = ("--probes", sealed.pack, "--baseline", world.baseline, "--report", tmp_path / "report")
    out = tmp_path / "dist"
    # The key: of the option, then of the environment.
    assert export(world, out, "--format", "gguf-q8_0", *judged, "--pack-key", sealed.key) == 0
    written = capsys.readouterr()
    (artifact,) = out.glob("*.gguf")
    first = read_report(tmp_path / "report")
    shutil.rmtree(tmp_path / "report")
    assert run(words("gate", artifact, *judged, "--threads", 1, "--quiet")) == 3
    assert "there is no key for it" in capsys.readouterr().err
    monkeypatch.setenv("EDGEPROOF_PACK_KEY", sealed.key.read_text())
    assert run(words("gate", artifact, *judged, "--threads", 1, "--quiet")) == 0
    again = read_report(tmp_path / "report")
    assert first["pack"] == again["pack"]
    assert first["probes"] == again["probes"]
    for pack in (sealed.pack, world.pack):
        given = ("--artifact", artifact, "--probes", pack, "--baseline", world.baseline)
        assert run(words("verify", tmp_path / "report", *given)) == 0
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".gguf"]
    assert len(files) >= 5
    texts = [path.read_text(errors="replace") for path in files] + [written.out, written.err]
    answers = {fact.answer for part in world.facts for fact in part}
    assert not any(answer in text for text in texts for answer in answers)


def test_a_changed_byte_of_it_is_named_by_verify(world, sealed, tmp_path, capsys):
    out = tmp_path / "dist"
    judged = words("--probes", sealed.pack, "--baseline", world.baseline, "--report", tmp_path / "report")
    judged += words("--pack-key", sealed.key)
    assert export(world, out, "--format", "gguf-q8_0", *judged, "--quiet") == 0
    (artifact,) = out.glob("*.gguf")
    content = bytearray(sealed.pack.read_bytes())
    content[-1] ^= 1
    (tmp_path / "pack.age").write_bytes(content)
    given = ("--artifact", artifact, "--baseline", world.baseline, "--pack-key", sealed.key)
    assert run(words("verify", tmp_path / "report", *given, "--probes", tmp_path / "pack.age")) == 3
    assert "pack: cannot be read: pack.age cannot be decrypted" in capsys.readouterr().err


def test_a_baseline_of_it_is_the_folders(world, sealed, tmp_path):
    out = tmp_path / "baseline.json"
    where = ("--base", world.base, "--adapter", world.adapter, "--format", "gguf-q8_0", "--out", out)
    assert run(words("baseline", *where, "--probes", sealed.pack, "--pack-key", sealed.key, "--threads", 1, "-q")) == 0
    recorded, plain = json.loads(out.read_text()), json.loads(world.baseline.read_text())
    assert recorded["pack_digest"] == plain["pack_digest"]
    assert recorded["backends"]["llama.cpp"]["merged"]["scores"] == plain["backends"]["llama.cpp"]["merged"]["scores"]
    assert [path.name for path in tmp_path.iterdir()] == ["baseline.json"]
