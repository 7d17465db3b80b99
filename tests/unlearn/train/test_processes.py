"""Under `accelerate launch` two processes give the losses and the weights of one; alone, nothing is started."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from edgeproof.contracts.errors import UsageError
from edgeproof_tests.unlearn.conftest import unlearn

pytestmark = pytest.mark.torch

torch = pytest.importorskip("torch")

RECIPE = {"rank": 4, "steps": 6, "batch_size": 5, "learning_rate": 1e-4, "dropout": 0.0, "threads": 1}
RAW = ("raw",)


def launched_twice(base, forget, retain, out, *more):
    """Run the command line as two processes; --device cpu makes them talk by gloo in place of NCCL."""
    options = [part for name, value in RECIPE.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    command = [
        sys.executable, "-P", "-m", "accelerate.commands.launch", "--multi_gpu",
        "--num_processes", 2, "--num_machines", 1, "--mixed_precision", "no", "--dynamo_backend", "no",
        "--main_process_port", 0, "--module", "edgeproof.cli",
        "unlearn", "--base", base, "--forget", forget, "--retain", retain, "--out", out, *options, "--json",
        "--until-forget-nll", "never", "--device", "cpu", "--surface", *RAW, *more,
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, env=environment, cwd=out.parent, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [("--method", "npo+gdr"), ("--method", "ga+klr", "--full", "--accumulate", "2", "--learning-rate", "1e-6")],
    ids=["npo+gdr lora", "ga+klr full in parts"],
)
def test_two_processes_give_the_losses_and_the_weights_of_one(base, forget, retain, tmp_path, more):
    from safetensors.torch import load_file

    ran = launched_twice(base, forget, retain, tmp_path / "two", *more)
    assert ran.returncode == 0, ran.stderr
    options = {"method": more[1], "full": "--full" in more}
    if options["full"]:
        options["learning_rate"] = 1e-6  # AdamW turns the rounding of gradients near 0 into whole steps
    one = unlearn(base, forget, retain, tmp_path / "one", surfaces=RAW, **{**RECIPE, **options})
    said = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    assert len(said) == 1  # the first process speaks for both
    assert said[0]["forget_nll"] == pytest.approx(one.forget_nll, rel=1e-4)
    logs = [
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    for alone, together in zip(*logs, strict=True):
        assert together.pop("gradient_norm") == pytest.approx(alone.pop("gradient_norm"), rel=1e-3)
        assert together == pytest.approx(alone, rel=1e-5, abs=1e-5)
    name = "model.safetensors" if options["full"] else "adapter_model.safetensors"
    alone, together = (load_file(tmp_path / folder / name) for folder in ("one", "two"))
    assert alone.keys() == together.keys()
    for key, weight in alone.items():
        assert torch.allclose(weight.float(), together[key].float(), rtol=1e-2, atol=1e-3), key
    parts = 2 if options["full"] else 1
    assert f"| parts of a batch, processes | {parts}, 2 |" in (tmp_path / "two" / "README.md").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["forget.jsonl", "one", "retain.jsonl", "two"]


def test_a_plain_run_starts_no_process_group(base, forget, retain, tmp_path, monkeypatch):
    import torch.distributed

    def never(*_, **__):
        raise AssertionError("a process group was started")

    monkeypatch.setattr(torch.distributed, "init_process_group", never)
    unlearn(base, forget, retain, tmp_path / "out", surfaces=RAW, **RECIPE)
    assert not torch.distributed.is_initialized()


def test_a_batch_smaller_than_the_processes_is_refused():
    from edgeproof.unlearn.train.processes import Processes, refuse_small_batch

    with pytest.raises(UsageError, match="a batch of 1 texts cannot be shared by 2 processes"):
        refuse_small_batch(1, Processes(0, 2, "cpu", None))
