"""How training ends before its steps are over: by its target, by its floor, by a model that breaks, by memory."""

from __future__ import annotations

import contextlib
import json
import math
import resource

import edgeproof
import pytest
from edgeproof.contracts.errors import OutputError, TrainingError, UsageError
from edgeproof.contracts.progress import Silent
from edgeproof.unlearn import Settings
from edgeproof.unlearn.train.guards import memory_errors, refuse_destroyed
from edgeproof.unlearn.train.step_log import Step
from edgeproof_tests.unlearn.conftest import unlearn

pytestmark = pytest.mark.torch

torch = pytest.importorskip("torch")

RAW = ("--surface", "raw")
FAST = {"rank": 4, "batch_size": 2, "learning_rate": 1e-2, "threads": 1, "surfaces": ("raw",)}


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_it_stops_at_the_first_step_that_finds_the_forget_target_reached(base, forget, retain, tmp_path):
    options = {**FAST, "batch_size": 3, "learning_rate": 5e-4, "dropout": 0.0}  # each batch is the whole forget set
    start = unlearn(base, forget, retain, tmp_path / "a", steps=1, **options).forget_nll[0]
    target = start + 25
    result = unlearn(base, forget, retain, tmp_path / "b", steps=200, until_forget_nll=target, **options)
    assert result.stopped == "forget target"
    assert result.forget_nll[1] >= target
    *before, last = (json.loads(line)["forget_nll"] for line in (tmp_path / "b" / "log.jsonl").read_text().splitlines())
    assert len(before) > 3
    assert max(before) < target <= last
    assert "| ended by | forget target |" in (tmp_path / "b" / "README.md").read_text()


def test_a_target_that_is_not_reached_is_a_warning(base, forget, retain, tmp_path):
    listener = Silent()
    result = unlearn(base, forget, retain, tmp_path / "a", steps=2, until_forget_nll=500.0, progress=listener, **FAST)
    assert result.stopped == "all steps"
    assert result.missed
    assert any("the target is 500 (--until-forget-nll)" in warning for warning in listener.warnings)


@pytest.mark.parametrize(("method", "stalled"), [("npo+gdr", True), ("ga+gdr", False)])
def test_a_target_that_a_faded_gradient_cannot_reach_is_not_answered_with_more_steps(base, tmp_path, method, stalled):
    from edgeproof_tests.unlearn.conftest import write_lines

    long = write_lines(tmp_path / "forget.jsonl", [("The code is", "seven " * 60 + "one"), ("The word is", "b " * 60)])
    kept = write_lines(tmp_path / "retain.jsonl", [("Two and two are", "four")])
    options = {**FAST, "learning_rate": 1e-2, "batch_size": 2, "beta": 5.0 if stalled else None, "method": method}
    listener = Silent()
    result = unlearn(base, long, kept, tmp_path / "a", steps=8, until_forget_nll=500.0, progress=listener, **options)
    assert (result.missed, result.stalled) == (True, stalled)
    (missed,) = [warning for warning in listener.warnings if "the target was missed" in warning]
    assert ("has stalled" in missed) == stalled
    assert ("--steps" in missed) != stalled


@pytest.mark.parametrize("method", ["ga+gdr", "npo+klr"])
def test_a_utility_floor_that_breaks_ends_the_run_with_the_numbers(base, forget, retain, tmp_path, method):
    options = {**FAST, "method": method, "retain_weight": 0.0, "steps": 60, "retain_nll_rise": 0.5}
    with pytest.raises(TrainingError, match=r"after step \d+, the retain set's NLL has risen by \d+\.\d+ nat.*0.5 are"):
        unlearn(base, forget, retain, tmp_path / "a", **options)
    assert left(tmp_path) == ["forget.jsonl", "retain.jsonl"]


def test_the_floor_holds_for_what_is_written_even_if_no_batch_showed_it(base, forget, retain, tmp_path):
    with pytest.raises(TrainingError, match=r"after all 1 steps, the retain set's NLL has risen"):
        unlearn(base, forget, retain, tmp_path / "a", **FAST, retain_weight=0.0, steps=1, retain_nll_rise=1e-6)


def test_a_learning_rate_that_destroys_the_model_stops_with_the_step_and_the_numbers(base, forget, retain, tmp_path):
    options = {**FAST, "method": "ga+gdr", "retain_weight": 0.0, "learning_rate": 0.3, "steps": 300}
    with pytest.raises(
        TrainingError,
        match=r"step \d+ of training finds the model destroyed: retain NLL \d+\.\d\d nat per token, \d+\.\d\d before "
        r"training; guessing among 384 tokens costs 5\.95",
    ) as caught:
        unlearn(base, forget, retain, tmp_path / "a", **options)
    assert "0.3" in caught.value.next_step
    assert left(tmp_path) == ["forget.jsonl", "retain.jsonl"]


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        ({"method": "ga+gdr", "retain_weight": 0, "learning_rate": 0.3, "steps": 300}, 3, "destroyed"),
        ({"retain_weight": 0, "steps": 60, "retain_nll_rise": 0.5, "learning_rate": 0.01}, 3, "has risen"),
        ({"learning_rate": 1e30, "steps": 20}, 3, "training diverged"),
        ({"steps": 1, "out": "/proc/nowhere/out"}, 3, "cannot write to /proc/nowhere"),
        ({"method": "magic"}, 2, "no such method"),
        ({"full": True, "rslora": True}, 2, "--full trains all weights"),
    ],
)
def test_errors_say_by_their_exit_code_whose_fault_it_was(base, forget, retain, tmp_path, more, code, said):
    where = {"base": base, "forget": forget, "retain": retain, "out": tmp_path / "out"}
    options = {"surface": "raw", "threads": 1, "batch_size": 2, "until_forget_nll": "never"}
    with pytest.raises(edgeproof.EdgeproofError, match=said) as caught:
        edgeproof.unlearn(**{**where, **options, **more})
    assert caught.value.exit_code == code
    assert left(tmp_path) == ["forget.jsonl", "retain.jsonl"]


def test_destroyed_means_worse_than_guessing_and_worse_than_before():
    def step(nll):
        return Step(7, 1.0, 1.0, 9.0, nll, 4, 0, 1.0)

    settings = Settings()
    refuse_destroyed(step(math.log(384) - 0.1), 0.5, 384, settings)
    refuse_destroyed(step(9.0), 8.0, 384, settings)
    with pytest.raises(TrainingError, match="step 7"):
        refuse_destroyed(step(6.1), 2.0, 384, settings)


def test_memory_that_is_not_there_says_what_to_lower(base, forget, retain, tmp_path):
    """torch's own refusal, in the middle of a step."""
    from edgeproof.unlearn.train.loop import Hooks

    @contextlib.contextmanager
    def around(_):
        torch.empty(2**60, dtype=torch.uint8)
        yield

    with pytest.raises(
        TrainingError, match=r"out of memory: can't allocate memory: you tried to allocate \d+"
    ) as caught:
        unlearn(
            base, forget, retain, tmp_path / "a", steps=2, full=True, instrument=lambda *_: Hooks(around=around), **FAST
        )
    for way in ("--accumulate", "--gradient-checkpointing", "--batch-size", "a LoRA instead of --full"):
        assert way in caught.value.next_step
    assert left(tmp_path) == ["forget.jsonl", "retain.jsonl"]


def test_other_errors_of_torch_pass_through():
    with pytest.raises(RuntimeError, match="must match"), memory_errors(Settings()):
        torch.zeros(3) + torch.zeros(4)


@contextlib.contextmanager
def largest_file(size):
    """The system refuses to let a file grow beyond this, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("full", [False, True])
def test_a_disk_that_fills_up_leaves_nothing(base, forget, retain, tmp_path, full):
    with largest_file(20_000), pytest.raises(OutputError, match=r"cannot (write|save a checkpoint in) .*a") as caught:
        unlearn(base, forget, retain, tmp_path / "a", steps=2, full=full, **FAST)
    assert "free some space" in caught.value.next_step
    assert left(tmp_path) == ["forget.jsonl", "retain.jsonl"]


def test_an_interruption_while_it_is_written_leaves_nothing(base, forget, retain, tmp_path, monkeypatch):
    import os
    import signal

    from edgeproof.unlearn import finishing

    whole = finishing.write_adapter

    def interrupt(*arguments):
        size = whole(*arguments)
        assert [path for path in tmp_path.glob(".out.*.part") if any(path.iterdir())]
        os.kill(os.getpid(), signal.SIGINT)
        return size

    monkeypatch.setattr(finishing, "write_adapter", interrupt)
    with pytest.raises(KeyboardInterrupt):
        unlearn(base, forget, retain, tmp_path / "out", steps=1, **FAST)
    assert left(tmp_path) == ["forget.jsonl", "retain.jsonl"]


def test_klr_says_what_room_it_needs_where_there_is_none(base, forget, retain, tmp_path):
    with (
        largest_file(1_000),
        pytest.raises(OutputError, match=r"KL .* needs a temporary file of 0\.\d MB in .*: ") as caught,
    ):
        unlearn(base, forget, retain, tmp_path / "a", steps=2, method="npo+klr", **FAST)
    assert "+gdr" in caught.value.next_step
    assert left(tmp_path) == ["forget.jsonl", "retain.jsonl"]


def test_a_large_temporary_file_is_announced_before_it_is_written(base, forget, retain, tmp_path, monkeypatch):
    from edgeproof.unlearn import base_answers

    listener = Silent()
    monkeypatch.setattr(base_answers, "LARGE", 2 * 384 * 4)
    unlearn(base, forget, retain, tmp_path / "a", steps=1, method="npo+klr", progress=listener, **FAST)
    assert [warning for warning in listener.warnings if "GB in a temporary file in" in warning]


def test_klr_looks_at_the_disk_before_it_computes(base, forget, retain, tmp_path, monkeypatch):
    import shutil

    from edgeproof.unlearn.train import reference

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=999))
    calls = []
    real = reference.evaluated
    monkeypatch.setattr(reference, "evaluated", lambda *given, **more: calls.append(1) or real(*given, **more))
    with pytest.raises(OutputError, match=r"needs a temporary file of .*: 0\.0 MB are free"):
        unlearn(base, forget, retain, tmp_path / "a", steps=2, method="ga+klr", **FAST)
    assert calls == []


def test_what_is_read_is_never_replaced(base, forget, retain, tmp_path):
    with pytest.raises(OutputError, match="is the input"):
        unlearn(base, forget, retain, base, force=True, **FAST)
    out = tmp_path / "out"
    unlearn(base, forget, retain, out, steps=1, **FAST)
    for name in ("forget.jsonl", "retain.jsonl"):
        (tmp_path / name).rename(out / name)
        given = {path.name: path for path in (forget, retain)} | {name: out / name}
        with pytest.raises(OutputError, match=f"the input .*{name} lies in .*out"):
            unlearn(base, given["forget.jsonl"], given["retain.jsonl"], out, force=True, steps=1, **FAST)
        (out / name).rename(tmp_path / name)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_adapter_that_cannot_be_replaced_stays(base, forget, retain, tmp_path, monkeypatch, error):
    from pathlib import Path

    out = tmp_path / "out"
    unlearn(base, forget, retain, out, steps=1, **FAST)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    real = Path.rename

    def rename(path, target):
        if path.suffix == ".part":
            raise error
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises((OutputError, KeyboardInterrupt)):
        unlearn(base, forget, retain, out, steps=2, force=True, **FAST)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert left(tmp_path) == ["forget.jsonl", "out", "retain.jsonl"]


def test_what_has_a_name_is_on_the_disk(base, forget, retain, tmp_path, monkeypatch):
    import os
    from pathlib import Path

    synced = set()
    real, rename = os.fsync, Path.rename

    def fsync(handle):
        synced.add(Path(f"/proc/self/fd/{handle}").readlink())
        real(handle)

    def checked(path, target):
        if target == tmp_path / "out":
            assert {path, *path.iterdir()} <= synced
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", checked)
    unlearn(base, forget, retain, tmp_path / "out", steps=1, **FAST)
    assert tmp_path in synced


@pytest.mark.parametrize("way", [{}, {"full": True, "learning_rate": 0.02}], ids=["lora", "full"])
def test_a_model_that_the_last_step_destroys_is_not_written(base, forget, retain, tmp_path, way):
    """No batch sees the weights after it: the finished model is asked."""
    options = {**FAST, "method": "ga+gdr", "retain_weight": 0.0, "learning_rate": 0.3, "dropout": 0.0, **way}
    with pytest.raises(TrainingError, match="destroyed") as caught:
        unlearn(base, forget, retain, tmp_path / "a", steps=300, **options)
    found = int(caught.value.message.split()[1])
    assert found > 1
    with pytest.raises(TrainingError, match=f"step {found - 1} of training finds the model destroyed: retain NLL"):
        unlearn(base, forget, retain, tmp_path / "a", steps=found - 1, **options)
    assert left(tmp_path) == ["forget.jsonl", "retain.jsonl"]


def test_a_model_that_answers_nan_is_not_written(base, forget, retain, tmp_path):
    """Finite weights can be too large to be multiplied."""
    with pytest.raises(TrainingError, match=r"training diverged in step 1: .*retain NLL nan"):
        unlearn(base, forget, retain, tmp_path / "a", steps=1, full=True, **{**FAST, "learning_rate": 1e30})
    assert left(tmp_path) == ["forget.jsonl", "retain.jsonl"]


def test_the_two_logs_say_the_same(base, forget, retain, tmp_path):
    unlearn(base, forget, retain, tmp_path / "a", steps=3, method="ga+klr", **FAST)
    lines = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    names, *rows = (tmp_path / "a" / "log.csv").read_text().splitlines()
    assert names.split(",") == list(lines[0])
    for line, row in zip(lines, rows, strict=True):
        assert [float(value) for value in row.split(",")] == list(line.values())


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"accumulate": 0}, "accumulate is 0"),
        ({"accumulate": 33}, "a batch of 32 texts cannot be computed in 33 parts"),
        ({"precision": "fp8"}, "no such precision: 'fp8'"),
        ({"until_forget_nll": -1.0}, "the forget target is -1"),
        ({"retain_nll_rise": float("nan")}, "the retain NLL's rise is nan"),
        ({"full": True, "rslora": True}, "--full trains all weights"),
        ({"full": True, "targets": ("q_proj",)}, "--full trains all weights"),
    ],
)
def test_an_option_out_of_range_is_a_usage_error(option, message):
    with pytest.raises(UsageError, match=message):
        Settings(**option)


def test_what_is_not_given_depends_on_the_method():
    assert (Settings().rate, Settings(full=True).rate, Settings(full=True, learning_rate=3e-6).rate) == (
        5e-4,
        1e-5,
        3e-6,
    )
    assert (Settings().weight, Settings(method="ga+klr").weight, Settings(retain_weight=0.0).weight) == (2.0, 15.0, 0.0)
    betas = {name: Settings(method=f"{name}+gdr").sharpness for name in ("ga", "npo", "simnpo", "wga")}
    assert betas == {"ga": 0.0, "npo": 0.1, "simnpo": 0.5, "wga": 0.25}
    assert Settings(beta=0.3).sharpness == 0.3
    with pytest.raises(UsageError, match=r"ga\+gdr has no β"):
        Settings(method="ga+gdr", beta=0.3)


@pytest.mark.parametrize(
    ("option", "longest", "beta", "weight"),
    [
        ({}, 128, 0.025, 8.0),
        ({"method": "npo+klr"}, 64, 0.05, 30.0),
        ({"max_tokens": 4096}, 16, 0.1, 2.0),
        ({"beta": 0.1}, 128, 0.1, 8.0),
        ({"retain_weight": 2.0}, 128, 0.025, 2.0),
        ({"method": "simnpo+gdr"}, 128, 0.5, 2.0),
        ({"method": "ga+gdr"}, 128, 0.0, 2.0),
    ],
)
def test_a_loss_that_sums_over_a_text_gets_a_smaller_beta_and_a_larger_alpha(option, longest, beta, weight):
    found = Settings(**option).for_texts(longest)
    assert (found.sharpness, found.weight) == (beta, weight)
    assert found.for_texts(longest) == found


def test_npos_gradient_on_a_text_reaches_as_far_as_on_a_short_answer():
    """By its own formula: what is left of it once every token has lost 2 nat."""
    import torch
    from edgeproof.unlearn.train.losses.forget import npo_pull

    settings = Settings().for_texts(128)
    short, long = (
        float(npo_pull(torch.tensor([-2.0 * tokens]), torch.zeros(1), beta)[0])
        for tokens, beta in ((32, Settings().sharpness), (settings.max_tokens, settings.sharpness))
    )
    assert long == pytest.approx(short)
    assert 1e-3 < long < 1e-2
