"""From a job to a verdict over adb: the app's library on a host JVM, its programs as ARM64 under emulation."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from edgeproof.cli import run
from edgeproof_tests.android_demo import conftest as android
from edgeproof_tests.cli.test_end_to_end import export, gate, read_report, words
from edgeproof_tests.world import make_few

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgeproof_tests.world import World

pytestmark = [pytest.mark.phone, pytest.mark.slow, pytest.mark.torch]

library = android.library
VARIANTS = {"v8.0": "probe-v8.0", "dotprod": "probe-dotprod", "i8mm": "probe-i8mm"}


class Given(NamedTuple):
    """A model with pack and baseline, its file, the job, a stand-in for the APK, and what runs the app's library."""

    world: World
    artifact: Path
    job: Path
    app: Path
    host: list[str]


VERDICTS = {"unlearned": ("PASS", 0), "few": ("INCONCLUSIVE", 4), "few, original": ("FAIL", 1)}
WORDS = {"PASS": "NOTHING AGAINST IT", "INCONCLUSIVE": "CANNOT PASS", "FAIL": "FAIL"}
"""What the app says of its own answers, by the verdict."""


@pytest.fixture(scope="module")
def make(library, phone, tmp_path_factory) -> Callable[[World, bool], Given]:
    return lambda world, original: given(world, original, library, phone, tmp_path_factory.mktemp("given"))


@pytest.fixture(scope="module")
def fewer(world: World, tmp_path_factory) -> World:
    return make_few(world, tmp_path_factory.mktemp("fewer"))


@pytest.fixture(scope="module")
def passed(fewer: World, make) -> Given:
    return make(fewer, original=False)


def given(world: World, original: bool, library: Any, phone: Path, out: Path) -> Given:  # noqa: FBT001 (a case)
    assert export(world, out, "--format", "gguf-q8_0", "--quiet", adapters=not original) == 0
    artifact = next(out.glob("*.gguf"))
    where = ("--probes", world.pack, "--baseline", world.baseline)
    assert run(words("phone", "job", artifact, *where, "--out", out / "job.json")) == 0
    (out / "app.apk").write_bytes(b"stands for the APK")
    emulator = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    programs = [f"{variant}={phone / program}" for variant, program in VARIANTS.items()]
    return Given(
        world,
        artifact,
        out / "job.json",
        out / "app.apk",
        [*library.command("Host", "{root}", "{id}", *programs), "--", str(emulator)],
    )


def push(given: Given, *more: object) -> int:
    return run(words("phone", "push", given.job, given.artifact, "--app", given.app, *more))


def ask(given: Given, out: Path, *more: object) -> int:
    world = given.world
    where = ("--probes", world.pack, "--baseline", world.baseline, "--evidence", out / "evidence")
    return run(words("phone", "run", given.job, given.artifact, *where, "--report", out / "report", *more))


@pytest.mark.parametrize("name", VERDICTS)
def test_the_app_gives_the_verdict_and_the_numbers_of_a_gate_under_emulation(
    name, request, make, phone, fake, tmp_path, capsys
):
    verdict, code = VERDICTS[name]
    world = request.getfixturevalue("fewer" if name.startswith("few") else "world")
    asked = make(world, original=name.endswith("original"))
    fake.set(host=asked.host)
    assert push(asked) == 0
    assert push(asked) == 0
    assert capsys.readouterr().err.endswith("Copied: nothing, all is there\n")
    assert ask(asked, tmp_path) == code
    said = capsys.readouterr()
    own_gate = (asked.artifact, phone, "--backend", "arm64-emulated", "--report", tmp_path / "own")
    assert gate(world, *own_gate) == code
    report, own = read_report(tmp_path / "report"), read_report(tmp_path / "own")
    assert own["verdict"] == report["verdict"] == verdict
    assert own["criteria"] == report["criteria"]
    assert own["probes"] == report["probes"]
    assert report["backend"]["computed on"].startswith("CPU")
    assert report["backend"]["probe"].startswith("i8mm, sha256 ")
    assert report["backend"]["the device's own word"] == WORDS[verdict]
    assert "the device itself said" not in said.err
    shared = (tmp_path / "evidence").read_text()
    assert not re.findall(rf"\b(?:{'|'.join(world.facts.texts)})\b", shared + said.out + said.err)


@pytest.mark.official
def test_the_app_makes_second_turns_as_a_gate_does(few, library, make, fake, tmp_path):
    from edgeproof_tests.official.probe import build_probe

    asked = make(few, original=False)
    fake.set(host=library.command("Host", "{root}", "{id}", f"host={build_probe()}"))
    assert push(asked) == 0
    assert ask(asked, tmp_path) == 4
    assert gate(few, asked.artifact, "--report", tmp_path / "own") == 4
    report, own = read_report(tmp_path / "report"), read_report(tmp_path / "own")
    assert {probe["surface"] for probe in report["probes"]} == {"raw", "chat", "turns"}
    for one, other in zip(report["probes"], own["probes"], strict=True):
        assert (one["probe"], one["surface"], one["right"]) == (other["probe"], other["surface"], other["right"])
        assert one["logprobs"] == pytest.approx(other["logprobs"], abs=1e-4)


def refused(asked: Any, capsys: pytest.CaptureFixture[str], why: str) -> None:
    capsys.readouterr()
    assert asked() == 3
    told = "".join(capsys.readouterr())
    assert why in told
    assert "PASS" not in told


def test_a_run_that_ends_early_has_its_message_and_goes_on(passed, fake, tmp_path, capsys):
    for state, why in (
        ({"dies": 40}, "the app died, as a rule because Android ended it for want of memory"),
        ({"after": 40}, "the device was unplugged"),
    ):
        fake.set(host=passed.host)
        assert push(passed) == 0
        fake.set(host=passed.host, **state)
        refused(lambda: ask(passed, tmp_path), capsys, why)
        assert not (tmp_path / "evidence").exists()
    fake.set(host=passed.host)
    assert ask(passed, tmp_path) == 4
    assert int(read_report(tmp_path / "report")["backend"]["answers of an interrupted run"]) > 10


def test_what_is_not_on_the_device_or_not_the_jobs_is_refused(passed, fake, tmp_path, capsys):
    refused(lambda: ask(passed, tmp_path), capsys, "the app is not on the device")
    refused(lambda: run(words("phone", "push", passed.job, passed.artifact)), capsys, "the app is not on the device")
    other = tmp_path / "other.gguf"
    other.write_bytes(b"GGUF")
    refused(lambda: run(words("phone", "push", passed.job, other)), capsys, "the job was written for another file")
    refused(lambda: push(passed._replace(app=tmp_path / "none")), capsys, "build it: make apk")
    fake.set(host=passed.host)
    assert push(passed) == 0
    (model,) = (fake.folder / "app" / "files" / "models").iterdir()
    data = model.read_bytes()
    model.write_bytes(data[:1000])
    refused(lambda: ask(passed, tmp_path), capsys, "is not on the device, or is another file")
    model.write_bytes(data)
    job = json.loads(passed.job.read_text())
    assert {path.name for path in (fake.folder / "app" / "files" / "jobs" / job["id"]).iterdir()} == {"job.json"}


def test_a_device_that_cannot_take_it_is_told_apart(passed, fake, capsys):
    for state, why in (
        ({"refuses": True}, "installing app.apk failed with 1"),
        ({"release": True}, "the app on the device is a release build"),
        ({"full": "df"}, "the device's storage is full"),
        ({"full": "push"}, "the device's storage is full"),
        ({"flips": True}, "in the app differs: sha256"),
        ({"devices": {}}, "no device is connected"),
        ({"devices": {"1": "device", "2": "device"}}, "2 devices are connected"),
        ({"devices": {"1": "offline"}}, "is offline"),
        ({"devices": {"1": "unauthorized"}}, "has not authorized this computer"),
    ):
        fake.set(**state)
        refused(lambda: push(passed), capsys, why)
    left = [path for path in (fake.folder / "app").rglob("*") if path.is_file()]
    assert left == []
