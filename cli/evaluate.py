"""`export-edge evaluate`: MUSE's or TOFU's metrics of an artifact, as published. A measurement, not a verdict."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from edgeproof.cli import options as opt

if TYPE_CHECKING:
    from pathlib import Path

ASKING = opt.stack(
    click.option(
        "--prompt",
        default="qa",
        show_default=True,
        metavar="NAME",
        help="How TOFU's questions are put: qa, qa-bare, llama2, or chat (the artifact's template). MUSE has its own.",
    ),
    click.option("--system", metavar="TEXT", help="The system prompt of a chat."),
    click.option("--samples", type=click.IntRange(0), default=0, metavar="N", help="Answers to sample for leak@k."),
    click.option(
        "--temperature", type=float, default=1.0, show_default=True, metavar="T", help="Temperature of sampled answers."
    ),
    click.option(
        "--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="Seed of sampled answers."
    ),
)
RUNNING = opt.stack(
    click.option("--lora", type=opt.PATH, metavar="FILE", help="A GGUF LoRA; artifact and LoRA are measured as one."),
    click.option(
        "--backend",
        metavar="NAME",
        help="Engine that runs the artifact (default: llama.cpp for files, onnxruntime for folders).",
    ),
    click.option("--context", type=click.IntRange(2), metavar="TOKENS", help="The longest request."),
    opt.THREADS,
)


@click.command("evaluate")
@click.argument("artifact", type=opt.PATH)
@click.option(
    "--data",
    multiple=True,
    required=True,
    metavar="DIR|FILE|ROLE=FILE",
    help="MUSE's folder of a corpus, TOFU's folder or files; ROLE=FILE where the name does not say what it is.",
)
@click.option("--metric", multiple=True, metavar="NAME", help="All that the files allow by default.")
@click.option(
    "--reference",
    type=opt.PATH,
    metavar="FILE|news|books",
    help="The evaluation file of a model retrained without the forget set, or MUSE's own number of a corpus.",
)
@click.option(
    "--out", type=opt.PATH, required=True, metavar="FILE", help="OpenUnlearning's JSON; a summary goes beside it."
)
@ASKING
@RUNNING
@click.option("--show-answers", is_flag=True, help="Put prompts and answers into FILE: it then holds what was erased.")
@opt.FORCE
@opt.LISTENING
def command(artifact: Path, *, quiet: bool, as_json: bool, **options: Any) -> int:
    """Measure MUSE's or TOFU's metrics on ARTIFACT, as their authors publish them.

    \b
    export-edge evaluate FILE.gguf --data muse_bench/data/news --reference news --out MUSE_EVAL.json
    export-edge evaluate FILE.gguf --data tofu/ --reference retrained/TOFU_EVAL.json --out TOFU_EVAL.json

    It measures and does not judge: the verdict is `export-edge gate`'s. Metrics and files: docs/metrics.md.
    """  # noqa: D301 (\b is click's)
    from edgeproof.cli.progress import Terminal
    from edgeproof.release.evaluate import evaluate

    with Terminal(quiet=quiet) as progress:
        result = evaluate(artifact, **options, progress=progress, command=opt.given_command())
        progress.finish()
    for line in result.lines():
        click.echo(line, err=True)
    if as_json:
        found = {"note": result.note, "suite": result.suite, "metrics": dict(result.metrics), "file": str(result.file)}
        click.echo(json.dumps(found))
    return 0
