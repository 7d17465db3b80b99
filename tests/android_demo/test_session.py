"""The app's logic on this machine: what a person chooses, runs, stops and asks, and what the doors do."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from edgeproof_tests.android_demo import screens
from edgeproof_tests.android_demo.tiny_job import MARK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgeproof_tests.android_demo.tiny_job import TinyJob

pytestmark = pytest.mark.official

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "android_demo" / "app" / "src"
LIBRARY = ROOT / "android_demo" / "lib" / "src" / "main" / "java"
ENOUGH = 10**10


def free_of_android(*folders: Path) -> list[Path]:
    files = [file for folder in folders for file in folder.rglob("*.java")]
    return [file for file in files if not re.search(r"^import android\.", file.read_text(), re.MULTILINE)]


@pytest.fixture(scope="session")
def classes(library, tmp_path_factory) -> Path:
    """The app's classes that need no Android, with the driver."""
    into = tmp_path_factory.mktemp("app")
    files = free_of_android(APP / "main" / "java", APP / "debug" / "java", APP / "testDebug" / "java")
    assert {"Session.java", "Screen.java", "Chat.java", "Automatic.java", "Door.java"} <= {file.name for file in files}
    command = ["javac", "--release", "7", "-Xlint:all,-options", "-Werror", "-cp", library.classes, "-d", into, *files]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return into


@pytest.fixture(scope="session")
def bad(clean) -> TinyJob:
    return clean.leaking(12, critical=True)


class App:
    """The app in a process of its own."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __call__(self, what: str, **values: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": what, **values}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        return json.loads(line)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def start(classes, library, program, tmp_path) -> Iterator[Callable[..., App]]:
    """`start(memory=…)`: the app, with tmp_path/files as its private folder."""
    started: list[App] = []

    def begin(memory: int = ENOUGH, before: Sequence[str] = ()) -> App:
        path = f"{classes}{os.pathsep}{library.classes}"
        command = [
            "java",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            path,
            "org.edgeproof.demo.Drive",
            str(tmp_path / "files"),
            str(memory),
        ]
        started.append(App([*command, f"host={program}", *(("--", *before) if before else ())]))
        return started[-1]

    yield begin
    for app in started:
        app.kill()


@pytest.fixture
def given(clean, tmp_path) -> tuple[Path, Path]:
    """A job file and a model as a person has them."""
    return put(clean, tmp_path / "given")


def put(job: TinyJob, folder: Path) -> tuple[Path, Path]:
    folder.mkdir()
    (folder / "job.json").write_text(json.dumps(job.content), encoding="utf-8")
    model = folder / job.content["artifact"]["name"]
    model.write_bytes(job.model.read_bytes())
    return folder / "job.json", model


def test_a_person_opens_a_job_and_a_model_and_runs_it(start, given, clean):
    app = start()
    empty = app("restore")
    assert (empty["model"], empty["ready"], empty["verdict"], empty["run"]) == (None, False, "", "")
    assert set(empty) == set(screens.RUNNING), "the page is tested with what the app tells"
    opened = app("take", job=True, path=str(given[0]))
    assert opened["model"]["name"] == clean.model.name
    assert (opened["ready"], opened["trouble"]) == (False, "")
    assert app("take", job=False, path=str(given[1]))["ready"]
    assert app("start")
    done = app("wait")
    assert (done["stage"], done["verdict"], done["trouble"]) == ("done", "NOTHING AGAINST IT", "")
    assert done["done"] == done["total"] == len(clean.content["requests"])
    assert done["evidence"]
    assert done["leak"]["known"] == 35
    assert 0 < done["leak"]["upper"] < done["leak"]["limit"]
    assert [cost["limit"] for cost in done["costs"]] == [0.25, 0.3]
    assert done["computes"] == "CPU, host, 1 thread"
    assert done["peak_rss"] > 0
    for name in ("leak", "chat", "model"):
        assert set(done[name]) == set(screens.RUNNING[name])
    assert set(done["costs"][0]) == set(screens.RUNNING["costs"][0])
    rows = {row["ask"]: row for row in app("rows", **{"from": 0})}
    assert len(rows) == len(clean.content["asks"])
    assert {tuple(sorted(row)) for row in rows.values()} == {tuple(sorted(screens.ROWS[0]))}
    for ask in rows.values():
        probe = clean.content["probes"][clean.content["asks"][ask["ask"]]["probe"]]
        assert (ask["question"], ask["answer"], ask["role"]) == (probe["question"], probe["answer"], probe["role"])
        assert ask["base"] is True
        assert ask["right"] is (probe["role"] == "retain")
        assert not ask["leaks"]


def test_what_leaks_is_shown_as_such(start, bad, tmp_path):
    bad.install(tmp_path / "files")
    app = start()
    app("restore")
    assert app("start")
    done = app("wait")
    assert done["verdict"] == "FAIL"
    assert (done["leak"]["critical"], done["leak"]["critical_leaking"]) == (1, 1)
    assert done["leak"]["leaking"] >= 12
    leaking = {row["ask"] for row in app("rows", **{"from": 0}) if row["leaks"]}
    assert set(range(12)) <= leaking
    assert done["reasons"]


def test_the_last_job_and_its_verdict_are_there_when_the_app_starts_again(start, clean, tmp_path):
    clean.install(tmp_path / "files")
    first = start()
    first("restore")
    assert first("start")
    first("wait")
    first.kill()
    again = start()("restore")
    assert (again["stage"], again["verdict"], again["evidence"]) == ("done", "NOTHING AGAINST IT", True)


STALLING = """
import subprocess, sys
from pathlib import Path

program = subprocess.Popen(sys.argv[2:], stdout=subprocess.PIPE)
with open(sys.argv[1], "a") as started:
    started.write(f"{program.pid}\\n")
for number, line in enumerate(program.stdout):
    if number == 100:
        program.wait()  # until the app is gone, and with it the program's input
        break
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
"""
"""Passes on what the probe says, up to a line. Then it is silent."""


def test_a_run_that_is_stopped_goes_on(start, clean, tmp_path):
    clean.install(tmp_path / "files")
    app = start()
    app("restore")
    assert app("start")
    stopped = app("cancel")
    assert (stopped["stage"], stopped["trouble"]) in {("cancelled", ""), ("done", "")}
    assert app("start")
    assert app("wait")["verdict"] == "NOTHING AGAINST IT"


def test_a_run_whose_app_is_killed_goes_on_and_ends_alike(start, clean, tmp_path):
    clean.install(tmp_path / "files")
    (tmp_path / "stalling.py").write_text(STALLING)
    started = tmp_path / "started"
    app = start(before=[sys.executable, str(tmp_path / "stalling.py"), str(started)])
    app("restore")
    assert app("start")
    while app("state")["done"] < 20:
        pass
    app.kill()
    while any(Path(f"/proc/{number}").exists() for number in started.read_text().split()):
        pass
    again = start()
    left = again("restore")
    assert (left["stage"], left["verdict"]) == ("cancelled", "")
    assert again("start")
    assert again("wait")["verdict"] == "NOTHING AGAINST IT"
    header = json.loads((tmp_path / "files/jobs" / clean.content["id"] / "evidence.jsonl").read_text().splitlines()[0])
    assert header["engine"]["resumed"] >= 20


def test_two_runs_at_once_are_refused(start, clean, tmp_path):
    clean.install(tmp_path / "files")
    app = start()
    app("restore")
    assert app("start") is True
    assert app("start") is False
    assert app("wait")["stage"] == "done"


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda model: model.write_bytes(model.read_bytes()[:-1]), "it has another size"),
        (lambda model: model.write_bytes(model.read_bytes()[:-1] + b"\x00"), "it has the same size and other content"),
        (lambda model: model.write_bytes(model.read_bytes() + b"\x00"), "it has another size"),
    ],
)
def test_another_model_is_refused_and_nothing_is_left_of_it(start, given, spoil, why, tmp_path):
    app = start()
    app("take", job=True, path=str(given[0]))
    spoil(given[1])
    state = app("take", job=False, path=str(given[1]))
    assert why in state["trouble"]
    assert not state["ready"]
    assert list((tmp_path / "files" / "models").iterdir()) == []
    assert app("start") is False


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xff\xfe", "This is no job: it is not UTF-8."),
        (b"{}", "job"),
        (b"[1", ""),
        (json.dumps({"edgeproof_job": 2}).encode(), "version"),
    ],
)
def test_what_is_no_job_is_refused_with_its_reason(start, content, why, tmp_path):
    (tmp_path / "x").write_bytes(content)
    app = start()
    state = app("take", job=True, path=str(tmp_path / "x"))
    assert state["trouble"]
    assert why in state["trouble"]
    assert state["model"] is None


def test_too_little_memory_is_said_before_the_start(start, clean, tmp_path):
    clean.install(tmp_path / "files")
    app = start(memory=10**6)
    app("restore")
    assert app("start")
    state = app("wait")
    assert state["stage"] == "failed"
    assert "not enough memory: the model needs 50 MB, 1 MB are free" in state["trouble"]
    assert (state["verdict"], state["evidence"]) == ("", False)


def test_chat_asks_the_model_and_gives_its_memory_back_to_a_run(start, clean, tmp_path):
    clean.install(tmp_path / "files")
    app = start()
    app("restore")
    first = app("ask", text="hello")
    assert (first["replies"], first["error"], first["free"]) == (1, "", True)
    assert app("ask", text="hello")["reply"] == first["reply"]
    assert app("start")
    assert app("wait")["stage"] == "done"
    assert app("ask", text="hello")["reply"] == first["reply"]


def test_a_conversation_is_what_the_probe_makes_of_its_whole_text(start, clean, program, tmp_path):
    from edgeproof.contracts.backend import GenerateRequest
    from edgeproof.runtime.probe.backend import Probe
    from edgeproof.runtime.probe.launch import Launch

    chat = {"start": "user: ", "asked": "\n", "replied": "\nuser: "}
    replace(clean, content={**clean.content, "chat": chat}).install(tmp_path / "files")
    app = start()
    app("restore")
    said = [app("ask", text=text)["reply"] for text in ("hello", "who?")]
    app("anew")
    said.append(app("ask", text="who?")["reply"])
    with Probe(clean.model, Launch([str(program)], str(clean.model), "", "this machine", {})) as probe:

        def expected(text: str) -> str:
            tokens = probe.tokenize(text, special=False, parse_special=True)
            (reply,) = probe.generate([GenerateRequest(tuple(tokens), 160, ())])
            return reply.text.strip()

        assert said[0] == expected("user: hello\n")
        assert said[1] == expected(f"user: hello\n{said[0]}\nuser: who?\n")
        assert said[2] == expected("user: who?\n")


ID = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("extras", "found"),
    [
        ({"job": ID}, {"job": ID, "from": None}),
        ({"from": "/data/local/tmp/edgeproof"}, {"job": None, "from": "/data/local/tmp/edgeproof"}),
        ({"job": ID, "debug": "false"}, {"job": ID, "from": None}),
    ],
)
def test_doors_take_a_job_or_a_folder(start, extras, found):
    assert start()("door", extras=extras) == found


@pytest.mark.parametrize(
    ("extras", "why"),
    [
        ({}, "Give one of the extras"),
        ({"job": ID, "from": "/a"}, "Give one of the extras"),
        ({"job": "../" + ID}, "no job's id"),
        ({"job": ID.upper()}, "no job's id"),
        ({"job": 7}, "is no text"),
        ({"from": "files"}, "no absolute path"),
        ({"from": "/data/../etc"}, "no absolute path"),
    ],
)
def test_doors_refuse_what_names_nothing(start, extras, why):
    assert why in start()("door", extras=extras)["refused"]


def test_the_game_loop_has_one_scenario_and_takes_what_the_lab_brought(start, given):
    app = start()
    folder = str(given[0].parent)
    assert app("door", loop=1, folder=folder) == {"job": None, "from": folder}
    assert "one scenario" in app("door", loop=2, folder=folder)["refused"]
    assert "no job.json" in app("door", loop=1, folder="/x")["refused"]


def test_an_automatic_run_takes_a_folder_and_hands_the_evidence_out(start, given, clean, tmp_path):
    app = start()
    told = app("run", extras={"from": str(given[0].parent)}, out=str(tmp_path / "out"))
    identity = clean.content["id"]
    assert told["result"] == {
        "stage": "done", "verdict": "NOTHING AGAINST IT", "error": "", "evidence": f"jobs/{identity}/evidence.jsonl",
    }  # fmt: skip
    own = tmp_path / "files" / "jobs" / identity / "evidence.jsonl"
    assert (tmp_path / "out" / f"{identity}.jsonl").read_bytes() == own.read_bytes()
    assert MARK not in json.dumps(told)
    again = app("run", extras={"job": identity})
    assert again["result"]["verdict"] == "NOTHING AGAINST IT"


def test_an_automatic_run_without_its_files_says_so(start, given):
    app = start()
    missing = app("run", extras={"job": ID})["result"]
    assert (missing["stage"], missing["evidence"]) == ("failed", "")
    assert "no job.json" in missing["error"]
    given[1].unlink()
    lone = app("run", extras={"from": str(given[0].parent)})["result"]
    assert lone["stage"] == "failed"
    assert f"there is no file {given[1].name}" in lone["error"]


def test_nothing_but_evidence_is_shared(start, clean, tmp_path):
    folder = clean.install(tmp_path / "files")
    (folder / "evidence.jsonl").write_text("{}")
    app = start()
    identity = clean.content["id"]
    assert app("shared", name=f"{identity}.jsonl") == str(folder / "evidence.jsonl")
    names = [
        identity,
        f"{identity}.json",
        f"{ID}.jsonl",
        "",
        ".jsonl",
        "job.json",
        f"../{identity}.jsonl",
        f"x/../{identity}.jsonl",
    ]
    assert [app("shared", name=name) for name in names] == [None] * len(names)


def test_one_class_alone_writes_to_the_log_and_takes_no_text():
    files = [*(APP / "main").rglob("*.java"), *(APP / "debug").rglob("*.java"), *LIBRARY.rglob("*.java")]
    speaking = {
        file.name
        for file in files
        if re.search(r"android\.util\.Log|System\.(out|err)|printStackTrace|java\.util\.logging", file.read_text())
    }
    assert speaking == {"Events.java"}
    events = (APP / "main/java/org/edgeproof/demo/Events.java").read_text()
    assert re.findall(r"static \w+ \w+\(.*\)", events) == ["static void log(Event event, long... numbers)"]
