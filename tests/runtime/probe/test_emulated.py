"""ARM64's answers next to this processor's: the right code for each processor, the same scores within a tolerance."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
from edgeproof.contracts.errors import UnsupportedError
from edgeproof.runtime.llama.backend import LlamaCpp
from edgeproof.runtime.probe.emulated import EMULATORS, arm64_emulated
from edgeproof_tests.runtime import tiny_gguf

pytestmark = pytest.mark.phone

PROCESSORS = {"cortex-a53": "v8.0", "cortex-a76": "dotprod", "max": "i8mm"}

IN_FLOAT = 0.02
"""In nat, on average (0.004 seen): sums in another order; from ARMv8.2 on attention adds up in 16 bits."""

IN_EIGHT_BITS = 0.2
"""In nat, on average (0.08 seen): kernels round activations to 8 bits, each in its own way; the improbable moves
most."""


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize(
    ("file_type", "tolerance"), [("F32", IN_FLOAT), ("Q8_0", IN_EIGHT_BITS), ("Q4_K_M", IN_EIGHT_BITS)]
)
def test_arm64_scores_as_this_processor(
    processor, file_type, tolerance, phone, tiny_file, tmp_path, monkeypatch, mixed_requests
):
    monkeypatch.setenv("QEMU_CPU", processor)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model = tiny_gguf.write(tmp_path / "tiny.gguf") if file_type == "F32" else tiny_file(file_type)
    asked = mixed_requests[:8]
    with arm64_emulated(model, engine=str(phone), threads=1) as emulated:
        assert f"probe variant {PROCESSORS[processor]}: " in emulated.info.options["computed on"]
        assert emulated.info.processor.endswith(f"processor {processor}")
        found = np.concatenate([score.logprobs for score in emulated.score(asked)])
    with LlamaCpp(model, threads=1) as own:
        expected = np.concatenate([score.logprobs for score in own.score(asked)])
    apart = np.abs(found - expected)
    assert apart.mean() <= tolerance
    assert apart.max() <= 10 * tolerance


@pytest.mark.parametrize(
    ("processor", "variant"), [("cortex-a53", "dotprod"), ("cortex-a53", "i8mm"), ("cortex-a76", "i8mm")]
)
def test_a_variant_refuses_a_processor_that_lacks_it(processor, variant, phone, tiny_file):
    line = f'{{"open": {{"model": "{tiny_file("Q8_0")}"}}}}\n'
    run = subprocess.run(
        [EMULATORS[0], "-cpu", processor, str(phone / f"probe-{variant}")],
        input=line, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 3
    assert run.stdout.startswith(f'{{"error":"this processor cannot run the variant {variant}; it can run ')


@pytest.mark.parametrize("variant", ["v8.0", "dotprod", "i8mm"])
def test_programs_are_static_and_aligned_for_16_kb_pages(variant, phone):
    said = subprocess.run(
        ["readelf", "-lW", str(phone / f"probe-{variant}")], capture_output=True, text=True, check=True
    )
    loads = [line.split() for line in said.stdout.splitlines() if line.split()[:1] == ["LOAD"]]
    assert loads
    assert {int(fields[-1], 16) for fields in loads} == {0x4000}
    assert "INTERP" not in said.stdout


def test_a_missing_emulator_is_told(phone, tiny_file, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnsupportedError, match="none of qemu-aarch64-static, qemu-aarch64 is installed"):
        arm64_emulated(tiny_file("Q8_0"), engine=str(phone))
