"""`--force` keeps the old artifact until the new one and its manifest are whole, whatever fails."""

from __future__ import annotations

import errno
import os

import pytest
from edgeproof.contracts.errors import OutputError
from edgeproof.contracts.file_sets import NEW
from edgeproof.contracts.progress import Silent
from edgeproof.export import manifests, pipeline
from edgeproof.export.artifact.folder import MARK
from edgeproof.export.artifact.manifest import FileDigest, Manifest, Source, manifest_path, write_manifest
from edgeproof.export.artifact.publishing import publish
from edgeproof.export.pipeline import export
from edgeproof_tests.faults.conftest import contents

Q4, Q8 = "tiny-Q4_0.gguf", "tiny-Q8_0.gguf"


def make(base, out, *formats, **options):
    return export(base, [], formats, out, progress=Silent(), threads=1, **options)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("module", "failing"),
    [(manifests, "digest_artifact"), (pipeline, "write_manifest"), (pipeline, "shape_warning")],
    ids=["digest_artifact", "write_manifest", "shape_warning"],
)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.EIO, "Input/output error")])
def test_a_step_that_fails_after_the_weights_leaves_the_old_files(base, tmp_path, monkeypatch, module, failing, error):
    make(base, tmp_path, "gguf-q4_0", "gguf-q8_0")
    (tmp_path / Q4).write_bytes(b"the old one")
    before = contents(tmp_path)
    real, calls = getattr(module, failing), []

    def fails_the_second_time(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise error
        return real(*arguments)

    monkeypatch.setattr(module, failing, fails_the_second_time)
    with pytest.raises(type(error)):
        make(base, tmp_path, "gguf-q4_0", "gguf-q8_0", force=True)
    assert contents(tmp_path) == before


@pytest.mark.torch
def test_a_folder_with_the_manifests_name_is_refused_before_any_work(base, tmp_path, monkeypatch):
    (tmp_path / Q4).write_bytes(b"the old one")
    manifest_path(tmp_path / Q4).mkdir()
    monkeypatch.setattr(pipeline, "run_stream", lambda *_, **__: pytest.fail("weights were read"))
    with pytest.raises(OutputError, match=r"tiny-Q4_0\.gguf\.edge\.json is a folder"):
        make(base, tmp_path, "gguf-q4_0", force=True)
    assert (tmp_path / Q4).read_bytes() == b"the old one"


def prepared(folder, generation):
    """Two files and a folder that are whole, with their manifests, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("a.gguf", "b.gguf"):
        (folder / name).write_bytes(f"{name} {generation}".encode())
    (folder / "c").mkdir()
    (folder / "c" / MARK).write_bytes(f"c {generation}".encode())
    for name in ("a.gguf", "b.gguf", "c"):
        source = Source(f"base {generation}", ())
        digest = FileDigest(name, 1, "0" * 64)
        write_manifest(Manifest("f", digest, 4.0, source, (), None, {}, (), {}, (), (), {}), folder / name)


@pytest.mark.parametrize("force", [False, True], ids=["plain", "force"])
@pytest.mark.parametrize("call", ["rename", "replace", "link", "fsync"])
def test_one_failure_at_any_call_leaves_all_of_the_old_or_all_of_the_new(tmp_path, monkeypatch, call, force):
    """Each call of the kind fails once, first to last, until a run has none left to fail."""
    real = getattr(os, call)
    for failing in range(100):
        out, scratch = tmp_path / f"{failing}", tmp_path / f"{failing}.scratch"
        prepared(out, "old") if force else out.mkdir()
        prepared(scratch / NEW, "new")
        old, new = contents(out), contents(scratch / NEW)
        calls = 0

        def fails_once(*arguments, failing=failing, **options):
            nonlocal calls
            calls += 1
            if calls == failing + 1:
                raise OSError(errno.EIO, "Input/output error")
            return real(*arguments, **options)

        (scratch / "work").mkdir()
        with monkeypatch.context() as patch:
            patch.setattr(os, call, fails_once)
            try:
                publish(scratch, [out / name for name in ("a.gguf", "b.gguf", "c")], force=force)
            except OutputError:
                assert contents(out) == old, (call, failing)
            else:
                assert contents(out) == new, (call, failing)
                if calls <= failing:
                    return
    raise AssertionError("it never came to an end")


def test_what_has_come_into_being_meanwhile_is_not_replaced(tmp_path):
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    prepared(scratch / NEW, "new")
    out.mkdir()
    (out / "b.gguf").write_bytes(b"theirs")
    with pytest.raises(OutputError, match=r"b\.gguf exists"):
        publish(scratch, [out / name for name in ("a.gguf", "b.gguf", "c")], force=False)
    assert contents(out) == {"b.gguf": b"theirs"}


def test_a_manifest_left_without_its_artifact_is_replaced_and_comes_back_on_failure(tmp_path):
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    prepared(scratch / NEW, "new")
    out.mkdir()
    (out / "a.gguf.edge.json").write_bytes(b"stale")
    (out / "b.gguf").write_bytes(b"theirs")
    with pytest.raises(OutputError, match="exists"):
        publish(scratch, [out / name for name in ("a.gguf", "b.gguf", "c")], force=False)
    assert contents(out) == {"b.gguf": b"theirs", "a.gguf.edge.json": b"stale"}


def test_a_link_is_replaced_and_what_it_names_is_not_touched(tmp_path):
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    prepared(scratch / NEW, "new")
    out.mkdir()
    (tmp_path / "elsewhere").write_bytes(b"theirs")
    (out / "a.gguf").symlink_to(tmp_path / "elsewhere")
    publish(scratch, [out / "a.gguf"], force=True)
    assert (out / "a.gguf").read_bytes() == b"a.gguf new"
    assert not (out / "a.gguf").is_symlink()
    assert (tmp_path / "elsewhere").read_bytes() == b"theirs"
