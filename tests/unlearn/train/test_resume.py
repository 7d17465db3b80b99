"""A run that is really killed goes on and ends in the same bytes; what is no checkpoint of this run is refused."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time

import pytest
from edgeproof.contracts.errors import InputError, OutputError, TrainingError, UsageError
from edgeproof.contracts.progress import Silent
from edgeproof_tests.unlearn.conftest import unlearn

pytestmark = pytest.mark.torch

torch = pytest.importorskip("torch")

RECIPE = {"rank": 4, "batch_size": 2, "learning_rate": 1e-3, "dropout": 0.2, "threads": 1, "checkpoint_every": 3}
ENDLESS = 40_000  # steps, of minutes: the kill comes first


def options_of(recipe):
    return [part for name, value in recipe.items() for part in (f"--{name.replace('_', '-')}", str(value))]


def checkpoints(out):
    return sorted(out.with_name(f".{out.name}.checkpoint").glob("step-??????"))


def killed(base, forget, retain, out, more=()):
    """Start the command, and kill it at a random moment after its first checkpoint."""
    command = [
        sys.executable, "-P", "-m", "edgeproof.cli", "unlearn", "--base", base, "--forget", forget, "--retain", retain,
        "--out", out, "--steps", str(ENDLESS), "--until-forget-nll", "never", *options_of(RECIPE), *more, "--quiet",
    ]  # fmt: skip
    child = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE)
    try:
        while not checkpoints(out) and child.poll() is None:
            time.sleep(0.02)
        time.sleep(random.uniform(0.1, 1.0))
        child.send_signal(signal.SIGKILL)
    finally:
        child.kill()
        _, said = child.communicate()
    assert child.returncode == -signal.SIGKILL, said.decode()
    assert not out.exists()
    return int(checkpoints(out)[-1].name.removeprefix("step-"))


class Heard(Silent):
    """Keeps what is said before the first task, and its name."""

    def __init__(self):
        super().__init__()
        self.heard = []

    def start(self, task, *_):
        self.heard.append(task)

    def say(self, message):
        self.heard.append(message)


@pytest.mark.parametrize("ways", [{}, {"full": True, "method": "ga+klr", "accumulate": 2}], ids=["lora", "full"])
def test_killed_and_resumed_is_uninterrupted_bit_for_bit(base, forget, retain, tmp_path, ways):
    flags = [
        part for name, value in ways.items() for part in ([f"--{name}"] if value is True else [f"--{name}", value])
    ]
    # On one surface the run comes to all texts however many steps it has; on several it scores those that it will draw.
    flags += ["--surface", "raw"]
    done = killed(base, forget, retain, tmp_path / "a", flags)
    steps = done + 7
    state_file = checkpoints(tmp_path / "a")[-1] / "state.json"
    state = json.loads(state_file.read_text())
    assert state["identity"]["steps"] == str(ENDLESS)
    # The number of steps changes none before its end: the rest need not be waited for.
    state["identity"]["steps"] = str(steps)
    state_file.write_text(json.dumps(state))
    listener = Heard()
    recipe = {**RECIPE, **ways, "steps": steps, "surfaces": ("raw",)}
    first = unlearn(base, forget, retain, tmp_path / "a", resume=True, progress=listener, **recipe)
    second = unlearn(base, forget, retain, tmp_path / "b", **recipe)
    assert (first.steps, second.steps) == (steps, steps)
    assert not [warning for warning in listener.warnings if "checkpoint" in warning]
    assert listener.heard[0] == f"{tmp_path / 'a'}: goes on after step {done}, once the base is loaded"
    names = {path.name for path in (tmp_path / "b").iterdir()}
    assert "log.jsonl" in names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "forget.jsonl", "retain.jsonl"]


class Cut(Exception):  # noqa: N818 (no error: the test's own kill)
    """Ends a run as a kill would, leaving its checkpoints."""


def cut_after(step):
    from edgeproof.unlearn.train.loop import Hooks

    def after(number):
        if number == step:
            raise Cut
        return False

    return lambda *_: Hooks(after=after)


def assert_same_bytes(one, other):
    names = {path.name for path in other.iterdir()}
    assert names == {path.name for path in one.iterdir()}
    assert any(name.endswith(".safetensors") for name in names)
    for name in names:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.parametrize(
    "ways",
    [
        {"method": "npo+klr", "accumulate": 2},
        {"method": "ga+klr", "full": True, "gradient_checkpointing": True, "learning_rate": 1e-4},
        {"surfaces": ("raw", "chat"), "hinge": 6.0, "precision": "bf16"},
        {"method": "npo+klr", "full": True, "learning_rate": 1e-4, "accumulate": 2, "checkpoint_every": 1},
    ],
    ids=lambda ways: "-".join(map(str, ways.values())),
)
def test_every_way_of_training_goes_on_bit_for_bit(base, forget, retain, tmp_path, ways):
    recipe = {**RECIPE, "steps": 11, **ways}
    with pytest.raises(Cut):
        unlearn(base, forget, retain, tmp_path / "a", instrument=cut_after(8), **recipe)
    listener = Silent()
    unlearn(base, forget, retain, tmp_path / "a", resume=True, progress=listener, **recipe)
    assert not [warning for warning in listener.warnings if "checkpoint" in warning]
    unlearn(base, forget, retain, tmp_path / "b", **recipe)
    assert_same_bytes(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize(
    ("broken", "from_step"),
    [("between the two files", 3), ("before its name", 3), ("after its name", 6), ("while the old one goes", 6)],
)
def test_a_kill_at_any_point_of_keeping_a_checkpoint_is_gone_on_from(
    base, forget, retain, tmp_path, monkeypatch, broken, from_step
):
    """The second checkpoint is the one that is cut off; nothing that `finally` could tidy up is let run."""
    import shutil
    from pathlib import Path

    import safetensors.torch
    from edgeproof.unlearn.train import checkpoints as keeping

    recipe = {**RECIPE, "steps": 11}
    out = tmp_path / "a"

    def second(real, which):
        def call(*given, **more):
            if which(*given):
                raise Cut
            return real(*given, **more)

        return call

    def saved(tensors, path):
        real_save(tensors, path)
        if "step-000006" in str(path):
            raise Cut

    real_save = safetensors.torch.save_file
    with monkeypatch.context() as patch:
        if broken == "between the two files":
            patch.setattr(safetensors.torch, "save_file", saved)
        elif broken == "before its name":
            patch.setattr(Path, "rename", second(Path.rename, lambda path, _: "step-000006" in str(path)))
        elif broken == "after its name":
            whole = lambda path: path.name.endswith(".checkpoint") and (path / "step-000006").exists()  # noqa: E731
            patch.setattr(keeping, "to_disk", second(keeping.to_disk, whole))
        else:
            patch.setattr(shutil, "rmtree", second(shutil.rmtree, lambda path, **_: path.name == "step-000003"))
        with pytest.raises(Cut):
            unlearn(base, forget, retain, out, **recipe)
    assert int(checkpoints(out)[-1].name.removeprefix("step-")) == from_step
    unlearn(base, forget, retain, out, resume=True, **recipe)
    unlearn(base, forget, retain, tmp_path / "b", **recipe)
    assert_same_bytes(out, tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "forget.jsonl", "retain.jsonl"]


@pytest.fixture
def cut(base, forget, retain, tmp_path):
    """A run cut off in step 8, with a checkpoint of step 6."""
    out = tmp_path / "out"
    with pytest.raises(Cut):
        unlearn(base, forget, retain, out, steps=12, instrument=cut_after(8), **RECIPE)
    assert [path.name for path in checkpoints(out)] == ["step-000006"]
    return out


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"learning_rate": 2e-3}, r"learning rate: 0.001 there, 0.002 here"),
        ({"steps": 13}, r"steps: 12 there, 13 here"),
        ({"method": "ga+gdr", "seed": 4}, r"method: npo\+gdr there, ga\+gdr here; seed: 0 there, 4 here"),
        ({"threads": 2}, r"threads: 1 there, 2 here"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused_with_what_differs(base, forget, retain, cut, other, message):
    with pytest.raises(InputError, match=message):
        unlearn(base, forget, retain, cut, resume=True, **{"steps": 12, **RECIPE, **other})
    assert checkpoints(cut)
    assert not cut.exists()


def test_a_checkpoint_of_other_data_is_refused(base, forget, retain, cut):
    retain.write_text(retain.read_text().replace("blue", "grey"))
    with pytest.raises(InputError, match=r"retain data: \w{64} there, \w{64} here; the base's answers"):
        unlearn(base, forget, retain, cut, resume=True, steps=12, **RECIPE)


def test_a_checkpoint_of_another_base_is_refused(base, forget, retain, cut, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    other = shutil.copytree(base, tmp_path / base.name)
    weights = load_file(other / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][3, 5] += 0.5
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="is of another run: the base's answers: "):
        unlearn(other, forget, retain, cut, resume=True, steps=12, **RECIPE)


@pytest.mark.parametrize("name", ["state.json", "tensors.safetensors"])
def test_a_damaged_checkpoint_is_refused(base, forget, retain, cut, name):
    path = checkpoints(cut)[0] / name
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"the checkpoint .*step-000006 is damaged"):
        unlearn(base, forget, retain, cut, resume=True, steps=12, **RECIPE)


def test_a_run_that_was_cut_off_is_not_forgotten(base, forget, retain, cut):
    with pytest.raises(OutputError, match="was interrupted after step 6") as caught:
        unlearn(base, forget, retain, cut, steps=12, **RECIPE)
    assert "--resume" in caught.value.next_step
    fresh = unlearn(base, forget, retain, cut, force=True, steps=2, **RECIPE)
    assert fresh.steps == 2
    assert not cut.with_name(f".{cut.name}.checkpoint").exists()


def test_half_a_checkpoint_is_passed_over_for_the_one_before(base, forget, retain, cut):
    half = checkpoints(cut)[0].with_name("step-000009.part")
    half.mkdir()
    (half / "state.json").write_text("{")
    assert unlearn(base, forget, retain, cut, resume=True, steps=12, **RECIPE).steps == 12


def test_resuming_nothing_begins_and_says_so(base, forget, retain, tmp_path):
    listener = Silent()
    unlearn(base, forget, retain, tmp_path / "out", resume=True, steps=2, progress=listener, **RECIPE)
    assert [warning for warning in listener.warnings if "training begins with step 1" in warning]


def test_a_run_that_fails_by_itself_leaves_no_checkpoint(base, forget, retain, tmp_path):
    with pytest.raises(TrainingError):
        unlearn(base, forget, retain, tmp_path / "out", steps=40, **{**RECIPE, "learning_rate": 1e20})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["forget.jsonl", "retain.jsonl"]


def test_checkpoints_can_be_left_out(base, forget, retain, tmp_path):
    with pytest.raises(Cut):
        unlearn(
            base,
            forget,
            retain,
            tmp_path / "out",
            steps=12,
            instrument=cut_after(8),
            **{**RECIPE, "checkpoint_every": 0},
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["forget.jsonl", "retain.jsonl"]
    with pytest.raises(UsageError, match="a checkpoint every -1 steps"):
        unlearn(base, forget, retain, tmp_path / "out", **{**RECIPE, "checkpoint_every": -1})
