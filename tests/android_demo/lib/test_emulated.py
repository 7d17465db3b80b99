"""The library chooses the program for the processor, and runs a job through it under emulation."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from edgeproof_tests.android_demo.lib.host import Run, unsealed

pytestmark = [pytest.mark.official, pytest.mark.phone]

NAMES = ("v8.0", "dotprod", "i8mm")
CLOSE = 0.02
"""In nat, on average: sums in another order, on float32 weights."""


@pytest.mark.parametrize(("processor", "variant"), [("cortex-a53", "v8.0"), ("cortex-a76", "dotprod"), ("max", "i8mm")])
def test_a_job_runs_through_the_best_program_of_each_processor(library, phone, clean, tmp_path, processor, variant):
    job = clean.leaking(6).first(6)
    folder = job.install(tmp_path)
    programs = [f"{name}={phone / f'probe-{name}'}" for name in NAMES]
    emulator = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    command = library.command("Host", tmp_path, job.content["id"], *programs, "--", emulator, "-cpu", processor)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    run = Run(0, [json.loads(line) for line in done.stdout.splitlines()], done.stdout)
    assert run.last["verdict"] == "FAIL"
    header, answers, _ = unsealed(folder)
    assert header["engine"]["variant"] == variant
    assert header["engine"]["computed"] == "cpu"
    apart = [
        abs(min(0.0, one) - other)
        for answer in answers
        if "logprobs" in answer
        for one, other in zip(answer["logprobs"], job.scores[answer["id"]], strict=True)
    ]
    assert sum(apart) / len(apart) <= CLOSE
