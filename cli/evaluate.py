"""`export-edge evaluate`: MUSE's or TOFU's metrics of an artifact, as published. A measurement, not a verdict."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from edgeproof.cli import options as opt
from edgeproof.contracts.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeproof.contracts.backend import Backend
    from edgeproof.contracts.progress import Progress
    from edgeproof.eval.suites.evaluation import Evaluation
    from edgeproof.eval.suites.files import Data, Source

ASKING = opt.gather(
    "asking",
    click.option(
        "--prompt",
        default="qa",
        show_default=True,
        metavar="NAME",
        help="How TOFU's questions are put: qa, qa-bare, llama2, or chat (the artifact's template). MUSE has its own.",
    ),
    click.option("--system", metavar="TEXT", help="The system prompt of a chat."),
    click.option("--samples", type=click.IntRange(0), default=0, metavar="N", help="Answers to sample for leak@k."),
    click.option("--temperature", type=float, default=1.0, show_default=True, metavar="T", help="Of sampled answers."),
    click.option(
        "--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="Of sampled answers."
    ),
)
RUNNING = opt.gather(
    "running",
    click.option("--lora", type=opt.PATH, metavar="FILE", help="A GGUF LoRA; artifact and LoRA are measured as one."),
    click.option(
        "--backend", metavar="NAME", help="What runs the artifact; by default llama.cpp a file, onnxruntime a folder."
    ),
    click.option("--context", "context_length", type=click.IntRange(2), metavar="TOKENS", help="The longest request."),
    opt.THREADS,
)


@click.command("evaluate")
@click.argument("artifact", type=opt.PATH)
@click.option(
    "--data",
    "sources",
    multiple=True,
    required=True,
    metavar="DIR|FILE|ROLE=FILE",
    help="MUSE's folder of a corpus, TOFU's folder or files; ROLE=FILE where the name does not say what it is.",
)
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="All that the files allow by default.")
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
def command(
    artifact: Path,
    *,
    sources: tuple[str, ...],
    metrics: tuple[str, ...],
    reference: Path | None,
    out: Path,
    asking: Mapping[str, Any],
    running: Mapping[str, Any],
    show_answers: bool,
    force: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Measure MUSE's or TOFU's metrics on ARTIFACT, as their authors publish them.

    \b
    export-edge evaluate FILE.gguf --data muse_bench/data/news --reference news --out MUSE_EVAL.json
    export-edge evaluate FILE.gguf --data tofu/ --reference retrained/TOFU_EVAL.json --out TOFU_EVAL.json

    It measures and does not judge: the verdict is `export-edge gate`'s. Metrics and files: docs/metrics.md.
    """  # noqa: D301 (\b is click's)
    from edgeproof.cli.progress import Terminal
    from edgeproof.eval.suites.evaluation import NOTE, summary

    with Terminal(quiet=quiet) as progress:
        evaluation = evaluate_artifact(
            artifact,
            tuple(map(parse_source, sources)),
            out,
            metrics=metrics,
            reference=reference,
            asking=asking,
            running=running,
            show_answers=show_answers,
            force=force,
            progress=progress,
        )
        progress.finish()
    for line in table(evaluation):
        click.echo(line, err=True)
    if as_json:
        click.echo(
            json.dumps({"note": NOTE, "suite": evaluation.suite, "metrics": summary(evaluation), "file": str(out)})
        )
    return 0


def parse_source(text: str) -> Source:
    """Read `ROLE=FILE`, or a path alone."""
    from edgeproof.eval.suites.files import ROLES, Source

    role, equals, path = text.partition("=")
    if not equals or Path(text).exists():
        return Source(Path(text))
    if any(role in roles for roles in ROLES.values()) and path:
        return Source(Path(path), role)
    if not path:
        raise UsageError(f"--data {text} names no file", next_step="--data ROLE=FILE")
    known = ", ".join(name for roles in ROLES.values() for name in roles)
    raise UsageError(f"--data {text}: no file has the role {role!r}", next_step=f"roles: {known}")


def evaluate_artifact(
    artifact: Path,
    sources: tuple[Source, ...],
    out: Path,
    *,
    metrics: tuple[str, ...] = (),
    reference: Path | None = None,
    asking: Mapping[str, Any],
    running: Mapping[str, Any],
    show_answers: bool = False,
    force: bool = False,
    progress: Progress,
) -> Evaluation:
    """Read the files, measure, and write `out` and the summary beside it."""
    from edgeproof.cli.unchanged import unchanged
    from edgeproof.contracts.atomic import atomic_write
    from edgeproof.eval.digests import digest_bytes
    from edgeproof.eval.suites.encoding import Asking
    from edgeproof.eval.suites.evaluation import choose_metrics, evaluate, evaluation_json, summary_json
    from edgeproof.eval.suites.files import load_data
    from edgeproof.eval.suites.reference import load_reference
    from edgeproof.export.artifact.manifest import digest_artifact, manifest_path
    from edgeproof.runtime import backend_for, open_backend

    beside, ask, lora = summary_path(out), Asking(**asking), running["lora"]
    data = load_data(sources)
    measured = (artifact,) if lora is None else (artifact, lora)
    references = [] if reference is None or not reference.is_file() else [reference]
    read = (*data.files.values(), *measured, *map(manifest_path, measured), *references)
    _check_target((out, beside), read, force=force)
    digests = {role: digest_bytes(path) for role, path in data.files.items()}
    compared = None if reference is None else load_reference(reference, data.suite, digests, ask)
    # What cannot be measured is said before the model loads.
    choose_metrics(data, metrics, ask, reference=compared is not None)
    name = running["backend"] or backend_for(artifact)
    with unchanged(measured):
        # Two files of one name are told apart by their folders'.
        alike = lora is not None and lora.name == artifact.name
        files = {
            f"{path.resolve().parent.name}/{path.name}" if alike else path.name: digest_artifact(path)[0].sha256
            for path in measured
        }
        with open_backend(
            name, artifact, lora=lora, context_length=running["context_length"], threads=running["threads"]
        ) as engine:
            evaluation = evaluate(data, engine, ask, metrics=metrics, reference=compared, progress=progress)
            provenance = {
                "artifact": files,
                "reference": None if compared is None else compared.name,
                **_circumstances(data, digests, engine, asking),
            }
    with atomic_write(out, force=force) as whole, atomic_write(beside, force=force) as short:
        whole.write(evaluation_json(evaluation, provenance, show_answers=show_answers))
        # Nothing but the two names is left to give once the second is on the disk, too.
        whole.flush()
        short.write(summary_json(evaluation))
    return evaluation


def summary_path(out: Path) -> Path:
    """Name the summary: `TOFU_SUMMARY.json` beside `TOFU_EVAL.json`."""
    return out.with_name(f"{out.stem.removesuffix('_EVAL')}_SUMMARY.json")


def _check_target(paths: tuple[Path, ...], read: tuple[Path, ...], *, force: bool) -> None:
    """Refuse before anything is measured what could not be written after it, and never write over what is read."""
    from edgeproof.contracts.atomic import refuse_existing, write_failed

    inputs = {path.resolve() for path in read}
    for path in paths:
        if inputs.intersection((path.resolve(), *path.resolve().parents)):
            raise UsageError(f"{path} is, or lies in, what is to be evaluated", next_step="give another --out")
        refuse_existing(path, force=force)
    folder = paths[0].parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise write_failed(paths[0], error) from error


def table(evaluation: Evaluation) -> list[str]:
    """Show the metrics a line each, in the order of the suite, and what was left out."""
    from edgeproof.eval.suites.evaluation import NOTE
    from edgeproof.eval.suites.registry import SUITES

    width = max(map(len, SUITES[evaluation.suite]))
    lines = [
        # Forget quality is often below any fixed number of digits, and no probability is 0.
        f"{name:<{width}}  {evaluation.results[name].aggregate:.4g}"
        for name in SUITES[evaluation.suite]
        if name in evaluation.results
    ]
    reasons: dict[str, list[str]] = {}
    for name, lacking in evaluation.omitted.items():
        reasons.setdefault(lacking, []).append(name)
    lines += [f"Not measured for want of {lacking}: {', '.join(names)}" for lacking, names in reasons.items()]
    return [*lines, f"This is {NOTE}."]


def _circumstances(
    data: Data, digests: Mapping[str, str], engine: Backend, asking: Mapping[str, Any]
) -> dict[str, object]:
    from edgeproof.eval.measuring.measure import flat_info
    from edgeproof.export.artifact.manifest import package_versions

    return {
        "data": {role: {"file": path.name, "sha256": digests[role]} for role, path in sorted(data.files.items())},
        "asking": dict(asking) if data.suite == "TOFU" else {**asking, "prompt": "muse_bench's"},
        "backend": flat_info(engine.info),
        "versions": package_versions(),
        "command": list(opt.given_command()),
    }
