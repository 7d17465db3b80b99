"""Mutated inputs: each ends in a clear error or a right result, and never in a PASS that is none.

An input is laid into a folder with one file mutated, and a whole command runs on it. The judgement of a success:
    sources    the artifact has the bytes of the valid one, or another model's: then the gate must not let it pass
    artifacts  a leaking file never passes; a released one passes if what it says, also unasked, is what was judged
    criteria   a pack, baseline, policy or manifest never makes a leaking file pass
    evidence   a report of a FAIL never verifies as a PASS; a changed report of a PASS does not verify
"""

from __future__ import annotations

import json
import re
import shutil
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from inputs import inputs
from judging import command
from outcome import Outcome, Usual, left_behind, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ground import Ground
    from inputs import Input


def usual(made: Input, folder: Path) -> Usual:
    """What the valid case needs."""
    laid = made.lay(folder)
    shutil.copyfile(made.valid, laid.file)
    ending = command(laid.command, folder)
    if ending.code not in {0, 1} and not (ending.code == 3 and "its verdict is FAIL" in ending.said):
        raise SystemExit(f"the valid case of {made.name} ends with {ending.code}:\n{ending.said}")
    if ending.strayed:
        raise SystemExit(f"the valid case of {made.name} strays: {ending.strayed}")
    return Usual(ending.seconds, ending.grown)


def mutated(made: Input, needs: Usual, seed: str, folder: Path, secrets: frozenset[str]) -> tuple[Outcome, str]:
    """Run one mutation; return its outcome and what was changed."""
    chance = Random(seed)
    valid = made.valid.read_bytes()
    kind = chance.choice(made.mutations)
    data, said = kind(valid, chance)
    for _ in range(20):
        if data != valid:
            break
        data, said = kind(valid, chance)
    laid = made.lay(folder)
    laid.file.write_bytes(data)
    before = _states(folder)
    ending = command(laid.command, folder, needs)
    found = refusal(ending, needs, secrets)
    if found is None:
        found = made.judge(folder, laid, ending)
    if _states(folder, before) != before:
        found = Outcome("input changed", found.detail)
    if found.name == "refused" and (
        left := left_behind(folder, frozenset({*(Path(n).name for n in before), "said", "audit"}))
    ):
        found = left
    if any((folder / "tmp").iterdir()):
        found = Outcome("left something", f"in the temporary folder: {next((folder / 'tmp').iterdir()).name}")
    return found, f"{kind.__name__}: {re.sub(r'[^ -~…→]', '?', said)[:160]}"


EACH = 2000
"""Mutations of each input in the whole hunt."""


def secrets_of(ground: Ground) -> frozenset[str]:
    """The answers that no message may hold."""
    return frozenset(json.loads(line)["answer"] for line in (ground.pack / "forget.jsonl").read_text().splitlines())


def cases(
    ground: Ground, work: Path, wanted: Callable[[str, int], bool]
) -> Iterator[tuple[str, int, Callable[[Path], tuple[Outcome, str]]]]:
    """EACH mutations of each input, of them those that are wanted."""
    preload()
    secrets = secrets_of(ground)
    for made in inputs(ground):
        numbers = [number for number in range(EACH) if wanted(made.name, number)]
        if numbers:
            trial = work / "valid"
            shutil.rmtree(trial, ignore_errors=True)
            trial.mkdir()
            needs = usual(made, trial)
        for number in numbers:
            seed = f"{made.name} {number}"
            yield made.name, number, partial(mutated, made, needs, seed, secrets=secrets)


def preload() -> None:
    """Import what commands import when they run, once, before the forks."""
    import gc
    import importlib
    import pkgutil
    import sys

    import edgeproof

    there = "torch" in sys.modules  # another part has run `unlearn`
    # nltk, which rouge_score imports, would load scikit-learn and pandas where they are: 110 MiB in every fork.
    spared = {"sklearn": None} if "sklearn" not in sys.modules else {}
    sys.modules.update(spared)  # type: ignore[arg-type]

    for name in (
        "llama_cpp",
        "onnxruntime",
        "onnx",
        "gguf",
        "tokenizers",
        "scipy.stats",
        "jinja2",
        "sentencepiece",
        "pyrage",
        "rich.styled",
        "rich.table",
        "rouge_score.rouge_scorer",
        "securesystemslib.signer",
        "cryptography.hazmat.primitives.serialization.ssh",
        "threadpoolctl",
    ):
        importlib.import_module(name)
    for name in spared:
        del sys.modules[name]
    for found in pkgutil.walk_packages(edgeproof.__path__, "edgeproof."):
        if not found.name.startswith(
            ("edgeproof.unlearn", "edgeproof.demo", "edgeproof.examples")
        ) and not found.name.endswith(("__main__", "lm_eval", "lm_eval_model", "lm_harness", "torch_reference")):
            importlib.import_module(found.name)
    importlib.import_module("edgeproof.eval.report.page_template").compiled("report.html.jinja")
    assert ("torch" in sys.modules) == there
    gc.collect()
    gc.freeze()  # a fork that collects garbage would copy every page


def _states(folder: Path, only: dict[str, Any] | None = None) -> dict[str, Any]:
    names = only or {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return {name: ((folder / name).stat().st_size, (folder / name).stat().st_mtime_ns) for name in sorted(names)}
