"""Two exports to the same names at once: one wins whole, the other ends with 3 and says why."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import pytest
from edgeproof.contracts.errors import OutputError
from edgeproof.export.artifact.claims import claimed
from edgeproof.export.artifact.manifest import digest_artifact
from edgeproof_tests.faults.conftest import contents

pytestmark = pytest.mark.torch

OPENED = "edgeproof.export.pipeline:open_base"
STREAM = "edgeproof.export.pipeline:run_stream"
FINISH = "edgeproof.export.gguf.writer:GgufWriter.finish"
LAST = "edgeproof.export.pipeline:write_manifest"
Q4, Q8 = "tiny-Q4_0.gguf", "tiny-Q8_0.gguf"


def export(base, out, *more):
    formats = ("--format", "gguf-q4_0", "--format", "gguf-q8_0")
    return ("--base", base, *formats, "--out", out, "--threads", 1, "--quiet", *more)


def assert_whole(out, *names):
    """Exactly the artifacts `names` and their manifests are in `out`, and each manifest is of its artifact."""
    assert sorted(path.name for path in out.iterdir()) == sorted(
        name + suffix for name in names for suffix in ("", ".edge.json")
    )
    for name in names:
        said = json.loads((out / f"{name}.edge.json").read_text())["artifact"]["sha256"]
        assert digest_artifact(out / name)[0].sha256 == said


@pytest.mark.parametrize("force", [(), ("--force",)], ids=["plain", "force"])
@pytest.mark.parametrize("met", [STREAM, FINISH, LAST], ids=["merging", "finishing", "manifest"])
def test_the_second_of_two_is_refused_and_the_first_is_whole(base, start, tmp_path, met, force):
    """The first waits at a step until the second has ended; twice, so that files of an earlier one are there."""
    for _ in range(2 if force else 1):
        first = start([met], *export(base, tmp_path, *force))
        assert first.reached() == met
        code, said = start([], *export(base, tmp_path, *force)).ended()
        assert code == 3, said
        assert "is being written by another export" in said
        assert "→" in said
        code, said = first.ended()
        assert code == 0, said
        assert_whole(tmp_path, Q4, Q8)


def test_one_of_two_that_race_wins_in_every_round(base, start, tmp_path):
    """Both begin at one signal, after the slow imports; which one wins is the scheduler's choice."""
    for number in range(8):
        out = tmp_path / str(number)
        both = [start([OPENED], *export(base, out)) for _ in range(2)]
        assert [one.reached() for one in both] == [OPENED, OPENED]
        for one in both:
            one.go_on()
        ends = [one.ended() for one in both]
        assert sorted(code for code, _ in ends) == [0, 3], ends
        loser = next(said for code, said in ends if code == 3)
        assert "is being written by another export" in loser or "exists" in loser
        assert_whole(out, Q4, Q8)


def test_the_same_folder_takes_exports_to_other_names(base, start, tmp_path):
    first = start([FINISH], *export(base, tmp_path))
    assert first.reached() == FINISH
    code, said = start([], *export(base, tmp_path, "--name", "other")).ended()
    assert code == 0, said
    assert first.ended()[0] == 0
    assert_whole(tmp_path, Q4, Q8, "other-Q4_0.gguf", "other-Q8_0.gguf")


def test_onnx_folders_are_kept_from_a_second_export_too(base, start, tmp_path):
    arguments = ("--base", base, "--format", "onnx-int4", "--out", tmp_path, "--threads", 1, "--quiet")
    first = start([STREAM], *arguments)
    assert first.reached() == STREAM
    assert start([], *arguments).ended()[0] == 3
    assert first.ended()[0] == 0
    assert_whole(tmp_path, "tiny-onnx-int4")


def test_a_claim_ends_with_the_process_that_is_killed(base, start, tmp_path):
    first = start([STREAM], *export(base, tmp_path))
    assert first.reached() == STREAM
    first.kill()
    code, said = start([], *export(base, tmp_path)).ended()
    assert code == 0, said
    assert {f"{name}{suffix}" for name in (Q4, Q8) for suffix in ("", ".edge.json")} <= contents(tmp_path).keys()
    assert not list(tmp_path.glob(".*.lock"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("held", [False, True])
def test_what_another_user_left_is_claimed_and_what_they_hold_is_not(tmp_path, held):
    (tmp_path / ".edgeproof-a.gguf.lock").touch(mode=0o644)
    tmp_path.chmod(0o1777)
    with contextlib.ExitStack() as stack:
        if held:
            stack.enter_context(claimed([tmp_path / "a.gguf"]))
        pid = os.fork()
        if pid == 0:
            code = 9
            try:
                os.chdir(tmp_path)
                os.setuid(65534)
                with claimed([Path("a.gguf")]):
                    code = 0
            except OutputError as error:
                code = 3 if "is being written by another export" in error.message else 8
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == (3 if held else 0)
    assert (tmp_path / ".edgeproof-a.gguf.lock").exists() != held
