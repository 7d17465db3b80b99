"""One taught model, its pack, its adapter and its baseline, for all tests of commands and of the Python API."""

from __future__ import annotations

import shutil
import warnings
from typing import TYPE_CHECKING, NamedTuple

import edgeproof
import pytest
from edgeproof_tests.models import save_model
from edgeproof_tests.taught import Facts, invent, teach, write_pack

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


def make_taught(root: Path) -> tuple[Path, Path, Facts]:
    """The model's folder, the pack, the facts; both folders are in `root`."""
    facts = invent()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        base = save_model("qwen3", root / "tiny-qwen3", hidden_size=128, intermediate_size=256, head_dim=32)
        teach(base, [*facts.forget, *facts.trained, *facts.untrained])
    return base, write_pack(root / "pack", facts), facts


def make_world(taught: tuple[Path, Path, Facts]) -> World:
    """Unlearn the facts of the forget set, and record the baseline, beside the model's folder."""
    base, pack, facts = taught
    adapter, baseline = base.parent / "adapter", base.parent / "baseline.json"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        edgeproof.unlearn(
            base=base,
            forget=pack / "forget.jsonl",
            retain=pack / "trained.jsonl",
            out=adapter,
            rank=8,
            alpha=32,
            learning_rate=2e-3,
            steps=12,
            batch_size=40,
            hinge=4,
            until_forget_nll="never",
            retain_weight=2,
            surface="raw",
            threads=1,
        )
    edgeproof.record_baseline(base=base, adapter=adapter, format=FORMATS, probes=pack, out=baseline, threads=1)
    return World(base, adapter, pack, baseline, facts)


FEW = {"forget": 12, "trained": 6, "untrained": 6, "holdout": 6}
SURFACE = '[[surface]]\nname = "{0}"\nkind = "{0}"\n'


def make_few(world: World, folder: Path, *chats: str) -> World:
    """The same model, asked of a few subjects only, too few for a PASS, and on surfaces of these kinds too."""
    pack, baseline = folder / "pack", folder / "baseline.json"
    shutil.copytree(world.pack, pack)
    for name, count in FEW.items():
        path = pack / f"{name}.jsonl"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:count]))
    text = (pack / "pack.toml").read_text()
    surfaces = "".join(SURFACE.format(kind) for kind in chats)
    (pack / "pack.toml").write_text(text.replace("[[set]]", f"{surfaces}\n[[set]]", 1))
    edgeproof.record_baseline(
        base=world.base, adapter=world.adapter, format="gguf-q8_0", probes=pack, out=baseline, threads=1
    )
    return world._replace(pack=pack, baseline=baseline)


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Facts]:
    """The model's folder, the pack, the facts."""
    pytest.importorskip("torch")
    return make_taught(tmp_path_factory.mktemp("taught"))


@pytest.fixture(scope="session")
def world(taught: tuple[Path, Path, Facts]) -> World:
    return make_world(taught)


@pytest.fixture(scope="session")
def few(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A few subjects, asked in chats of one and two turns too."""
    return make_few(world, tmp_path_factory.mktemp("few"), "chat", "turns")
