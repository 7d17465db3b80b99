"""Measures MUSE's or TOFU's metrics of an artifact, as published. A measurement, not a verdict."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgeproof.contracts.progress import Recording
from edgeproof.release.steps.arguments import as_artifact, as_path, as_words, equivalent_command
from edgeproof.release.steps.evaluation import check_targets, circumstances, read_source, summary_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.contracts.progress import Progress
    from edgeproof.eval.suites.evaluation import Evaluation
    from edgeproof.release.steps.arguments import StrPath


@dataclass(frozen=True)
class EvaluateResult:
    """The metrics of an artifact.

    Attributes:
        suite: "MUSE" or "TOFU".
        metrics: one number for each metric, by name.
        omitted: metrics that were skipped, each with what is missing.
        note: what these numbers are and are not.
        file: OpenUnlearning's JSON, with every item.
        summary_file: the numbers alone.
        warnings: warnings of the measurement.
        evaluation: the results with all their items.

    """

    suite: str
    metrics: Mapping[str, float]
    omitted: Mapping[str, str]
    note: str
    file: Path
    summary_file: Path
    warnings: tuple[str, ...]
    evaluation: Evaluation = field(repr=False)

    def lines(self) -> list[str]:
        """Return the metrics, a line each in the order of the suite, and what was left out."""
        from edgeproof.eval.suites.registry import SUITES

        names = SUITES[self.suite]
        width = max(map(len, names))
        # Forget quality is often below any fixed number of digits, and no probability is 0.
        lines = [f"{name:<{width}}  {self.metrics[name]:.4g}" for name in names if name in self.metrics]
        reasons: dict[str, list[str]] = {}
        for name, lacking in self.omitted.items():
            reasons.setdefault(lacking, []).append(name)
        lines += [f"Skipped: missing {lacking}: {', '.join(found)}" for lacking, found in reasons.items()]
        return [*lines, f"This is {self.note}."]


def evaluate(
    artifact: StrPath,
    *,
    data: StrPath | Sequence[StrPath],
    metric: str | Sequence[str] = (),
    reference: StrPath | None = None,
    out: StrPath,
    prompt: str = "qa",
    system: str | None = None,
    samples: int = 0,
    temperature: float = 1.0,
    seed: int = 0,
    lora: StrPath | None = None,
    backend: str | None = None,
    context: int | None = None,
    threads: int | None = None,
    show_answers: bool = False,
    force: bool = False,
    progress: Progress | None = None,
    command: Sequence[str] | None = None,
) -> EvaluateResult:
    """Measure MUSE's or TOFU's metrics on `artifact`, as their authors publish them (docs/metrics.md).

    Args:
        artifact: a GGUF file or an ONNX folder.
        data: MUSE's folder of a corpus, TOFU's folder or files; "ROLE=FILE" where the name does not say what it is.
        metric: names of metrics; by default all that the files allow.
        reference: the evaluation file of a model retrained without the forget set, or MUSE's own number of a corpus
            ("news" or "books").
        out: the file to write; a summary goes beside it.
        prompt: how TOFU's questions are put: qa, qa-bare, llama2, or chat (the artifact's template).
        system: the system prompt of a chat.
        samples: answers to sample of each question for leak@k.
        temperature: temperature of sampled answers.
        seed: seed of sampled answers.
        lora: a GGUF LoRA; artifact and LoRA are measured as one.
        backend: what runs the artifact; by default llama.cpp for files, onnxruntime for folders.
        context: tokens of the longest request.
        threads: all cores by default.
        show_answers: put prompts and answers into the file.
        force: replace what exists.
        progress: receives progress and warnings; by default nothing is shown.
        command: the command that the file records; by default the command line that does the same.

    Raises:
        EdgeproofError: nothing is left under a final name.

    """
    from edgeproof.contracts.atomic import atomic_write
    from edgeproof.eval.digests import digest_bytes
    from edgeproof.eval.suites.encoding import Asking
    from edgeproof.eval.suites.evaluation import NOTE, choose_metrics, evaluation_json, summary, summary_json
    from edgeproof.eval.suites.evaluation import evaluate as measure
    from edgeproof.eval.suites.files import load_data
    from edgeproof.eval.suites.reference import load_reference
    from edgeproof.export.artifact.manifest import digest_artifact, manifest_path
    from edgeproof.release.steps.files.changes import unchanged
    from edgeproof.runtime import backend_for, open_backend

    words = equivalent_command(evaluate, "evaluate", locals()) if command is None else tuple(command)
    listener = Recording(progress)
    artifact, out, lora, compared_with = as_artifact(artifact), Path(out), as_path(lora), as_path(reference)
    sources = tuple(map(read_source, (data,) if isinstance(data, str | os.PathLike) else data))
    metrics, ask = as_words(metric), Asking(prompt, system, samples, temperature, seed)
    beside = summary_path(out)
    read_data = load_data(sources)
    measured = (artifact,) if lora is None else (artifact, lora)
    references = [] if compared_with is None or not compared_with.is_file() else [compared_with]
    read = (*read_data.files.values(), *measured, *map(manifest_path, measured), *references)
    check_targets((out, beside), read, force=force)
    digests = {role: digest_bytes(path) for role, path in read_data.files.items()}
    compared = None if compared_with is None else load_reference(compared_with, read_data.suite, digests, ask)
    # What cannot be measured is said before the model loads.
    choose_metrics(read_data, metrics, ask, reference=compared is not None)
    with unchanged(measured):
        # Two files of one name are told apart by their folders'.
        alike = lora is not None and lora.name == artifact.name
        files = {
            f"{path.resolve().parent.name}/{path.name}" if alike else path.name: digest_artifact(path)[0].sha256
            for path in measured
        }
        with open_backend(
            backend or backend_for(artifact), artifact, lora=lora, context_length=context, threads=threads
        ) as engine:
            evaluation = measure(read_data, engine, ask, metrics=metrics, reference=compared, progress=listener)
            provenance = {
                "artifact": files,
                "reference": None if compared is None else compared.name,
                **circumstances(read_data, digests, engine, ask, words),
            }
    with atomic_write(out, force=force) as whole, atomic_write(beside, force=force) as short:
        whole.write(evaluation_json(evaluation, provenance, show_answers=show_answers))
        # Nothing but the two names is left to give once the second is on the disk, too.
        whole.flush()
        short.write(summary_json(evaluation))
    return EvaluateResult(
        suite=evaluation.suite,
        metrics=summary(evaluation),
        omitted=evaluation.omitted,
        note=NOTE,
        file=out,
        summary_file=beside,
        warnings=tuple(listener.warnings),
        evaluation=evaluation,
    )
