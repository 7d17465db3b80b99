"""The hunt (benchmarks/faults): it tells each kind of defect, and a small seeded part of it finds none."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HUNT = Path(__file__).resolve().parents[2] / "benchmarks" / "faults"


def load(name):
    """A module of the hunt; they import each other by their plain names."""
    sys.path.insert(0, str(HUNT))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(HUNT))


def ended(folder, work, **limits):
    """How `work` ends in a process of its own, as the hunt runs its cases, and what the hunt makes of it."""
    folder.mkdir(exist_ok=True)
    program = f"""
import sys
sys.path[:0] = {[str(HUNT), *sys.path]!r}
import json, pathlib
import forked, outcome
def work():
{work}
    return 3
ending = forked.in_a_fork(work, pathlib.Path({str(folder)!r}), forked.Limits(**{limits!r}))
found = outcome.refusal(ending, outcome.Usual(1, 2**20), frozenset({{"wxyz"}}))
print(json.dumps([ending.code, found.name if found else None]))
"""
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


ENDINGS = {
    "refused": "    print('Error: x\\n  → y')",
    "no next step": "    print('Error: x')",
    "internal error": "    print('Error: internal error in edgeproof.\\n  → report')",
    "told a secret": "    print('Error: the answer wxyz\\n  → y')",
    "flood": "    print('Error: ' + 'x' * 10**5 + '\\n  → y')",
    "crash": "    import os; os.abort()",
    "too much memory": "    held = b'x' * 2**28; print('Error: x\\n  → y')",
    "hang": "    while True: pass",
    "wrote or ran something outside": "    open('../stray', 'w').close(); print('Error: x\\n  → y')",
}


@pytest.mark.parametrize("name", ENDINGS)
def test_each_way_to_end_is_told_by_its_name(name, tmp_path):
    code, found = ended(tmp_path / "case", ENDINGS[name], processor=2)
    assert found == name
    assert code == {"crash": -signal.SIGABRT, "hang": -signal.SIGXCPU}.get(name, 3)


def test_a_command_that_runs_is_run_in_a_folder_of_its_own(tmp_path):
    work = "    import os, tempfile; print(tempfile.gettempdir(), os.getcwd(), os.environ['HOME'], '→')"
    assert ended(tmp_path / "case", work) == [3, "refused"]
    said = (tmp_path / "case" / "said").read_text()
    assert said.split() == [
        str(tmp_path / "case" / "tmp"),
        str(tmp_path / "case"),
        str(tmp_path / "case" / "home"),
        "→",
    ]


def test_the_same_seed_gives_the_same_mutations():
    from random import Random

    mutate = load("mutate")
    data = json.dumps({"a": [1, 2, {"b": "text"}], "c": {"d": 1.5, "e": None}}).encode()
    for kind in (mutate.json_value, mutate.text_token, mutate.bytewise):
        made = [[kind(data, Random(f"{seed}")) for seed in range(50)] for _ in range(2)]
        assert made[0] == made[1]
        assert sum(changed != data for changed, _ in made[0]) > 30


def case_folder(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


LEFT = {"out/it.gguf": "whole", "out/.edgeproof-abcd1234/work/it": "half", "tmp/x": "", "said": "not looked at"}


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ({"said": "other words"}, True),
        ({"out/it.gguf": "other"}, False),
        ({"out/.edgeproof-abcd1234/work/it": "other"}, False),
        ({"tmp/y": ""}, False),
        ({"home/kept": ""}, False),
    ],
)
def test_a_command_is_run_again_once_for_each_state_that_was_left(other, same, tmp_path):
    states = load("states")
    first = case_folder(tmp_path / "first", LEFT)
    second = case_folder(tmp_path / "second", {**LEFT, **other})
    (second / "out" / ".edgeproof-abcd1234").rename(second / "out" / ".edgeproof-9876_xyz")
    assert (states.state(first) == states.state(second)) is same


def test_a_mode_and_a_name_that_is_not_random_make_another_state(tmp_path):
    states = load("states")
    first, second, third = (case_folder(tmp_path / str(number), LEFT) for number in range(3))
    (second / "out" / "it.gguf").chmod(0o400)
    (third / "out" / ".edgeproof-abcd1234").rename(third / "out" / ".edgeproof-abcd1234-again")
    assert len({states.state(folder) for folder in (first, second, third)}) == 3


def test_a_refused_command_may_leave_answers_that_nobody_else_can_read(tmp_path):
    outcome = load("outcome")
    answers = case_folder(tmp_path, {"in": "", outcome.ANSWERS + "kept": ""}) / outcome.ANSWERS / "kept"
    answers.chmod(0o600)
    assert outcome.left_behind(tmp_path, frozenset({"in"})) is None
    answers.chmod(0o640)
    assert outcome.left_behind(tmp_path, frozenset({"in"})).name == "left something"
    answers.rename(tmp_path / "home" / "kept")
    assert outcome.left_behind(tmp_path, frozenset({"in"})).name == "left something"


@pytest.mark.skipif(sys.platform != "linux", reason="pidfds and /proc are Linux's")
def test_an_instant_is_counted_in_the_processor_time_of_a_command_and_its_children():
    instants = load("instants")
    child = "while True: pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    running = subprocess.Popen([sys.executable, "-c", parent], start_new_session=True)
    spent = {}
    instants.send([instants.Instant(signal.SIGKILL, 0.5)], running.pid)
    try:
        while running.poll() is None:
            instants.total(running.pid, spent)
        assert running.returncode == -signal.SIGKILL
        assert 0.3 < sum(spent.values()) < 2
    finally:
        os.killpg(running.pid, signal.SIGKILL)


SHARE = 0.02
FEWEST = {"readers": 1000, "mutations": 900, "errors": 40, "signals": 150, "hostile": 3}
"""Fewest cases of a share: a hunt that runs hardly any of them would find nothing."""


@pytest.fixture(scope="module")
def hunted(tmp_path_factory):
    """The folder of the hunt, whose taught model is made once."""
    return tmp_path_factory.mktemp("hunt")


@pytest.mark.skipif(sys.platform != "linux", reason="forks, pidfds and /proc are Linux's")
@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize("part", FEWEST)
def test_a_seeded_part_of_the_hunt_finds_no_defect(part, world, hunted):
    pytest.importorskip("onnxruntime")
    hunt = [sys.executable, str(HUNT / "hunt.py"), "--work", str(hunted), "--world", str(world.base.parent)]
    done = subprocess.run(
        [*hunt, "--no-onnx", "--part", part, "--share", str(SHARE)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = [json.loads(line) for line in (hunted / "outcomes.jsonl").read_text().splitlines()]
    assert sum(line["case"].startswith(f"{part}/") for line in found) >= FEWEST[part]
