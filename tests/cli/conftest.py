"""One taught model, its pack, its adapter and its baseline for all tests of the command line."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

import pytest
from edgeproof.cli import run
from edgeproof_tests.cli.taught import Facts, invent, teach, write_pack
from edgeproof_tests.models import save_model

if TYPE_CHECKING:
    from pathlib import Path

FORMATS = ("gguf-q8_0", "gguf-q4_0")


class World(NamedTuple):
    """`base` knows the facts, `adapter` makes it forget those of the forget set; `baseline` holds both in FORMATS."""

    base: Path
    adapter: Path
    pack: Path
    baseline: Path
    facts: Facts


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Facts]:
    """The model's folder, the pack, the facts."""
    pytest.importorskip("torch")
    root = tmp_path_factory.mktemp("taught")
    facts = invent()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        base = save_model("qwen3", root / "tiny-qwen3", hidden_size=128, intermediate_size=256, head_dim=32)
        teach(base, [*facts.forget, *facts.trained, *facts.untrained])
    return base, write_pack(root / "pack", facts), facts


@pytest.fixture(scope="session")
def world(taught: tuple[Path, Path, Facts]) -> World:
    base, pack, facts = taught
    adapter, baseline = base.parent / "adapter", base.parent / "baseline.json"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code = run([
            "unlearn", "--base", str(base), "--out", str(adapter), "--threads", "1", "--quiet",
            "--forget", str(pack / "forget.jsonl"), "--retain", str(pack / "trained.jsonl"),
            "--rank", "8", "--alpha", "32", "--learning-rate", "2e-3", "--steps", "12", "--batch-size", "40",
            "--hinge", "4", "--retain-weight", "2", "--surface", "raw",
        ])  # fmt: skip
    assert code == 0
    formats = [word for name in FORMATS for word in ("--format", name)]
    where = ["--base", str(base), "--adapter", str(adapter), "--probes", str(pack), "--out", str(baseline)]
    assert run(["baseline", *where, *formats, "--threads", "1", "--quiet"]) == 0
    return World(base, adapter, pack, baseline, facts)
