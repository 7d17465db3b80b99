"""Exports: merges adapters, quantizes, writes artifacts, and gates them where a pack and a baseline are given."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeproof.contracts.errors import UsageError
from edgeproof.contracts.progress import Recording
from edgeproof.release.gate import gate_all
from edgeproof.release.steps.arguments import as_format, as_paths, as_words, equivalent_command, export_options
from edgeproof.release.steps.judging.criteria import Criteria, Judging, pack_texts, read_criteria
from edgeproof.release.steps.judging.judge_artifact import Candidate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgeproof.contracts.progress import Progress
    from edgeproof.export.artifact.manifest import Manifest
    from edgeproof.export.pipeline import Exported
    from edgeproof.release.steps.arguments import StrPath
    from edgeproof.release.verdicts import GateResult

DEFAULT_FORMAT = "gguf-q4"


@dataclass(frozen=True)
class Artifact:
    """An artifact under its final name.

    Attributes:
        format: the format's name.
        path: the file or folder; its manifest lies beside it.
        lora: the GGUF LoRA beside an unmerged base; None where the adapters are merged.
        bytes: its size.
        sha256: its digest.
        effective_bits: stored bits per weight, over all tensors.
        manifest: all that the manifest beside it says.

    """

    format: str
    path: Path
    lora: Path | None
    bytes: int
    sha256: str
    effective_bits: float
    manifest: Manifest = field(repr=False)


@dataclass(frozen=True)
class ExportResult:
    """The artifacts of an export, and the verdicts on them.

    Attributes:
        artifacts: one for each format, in the order given.
        gated: one verdict for each artifact; empty where nothing was gated.
        warnings: warnings of export and gate.

    """

    artifacts: tuple[Artifact, ...]
    gated: tuple[GateResult, ...]
    warnings: tuple[str, ...]


def export(
    *,
    base: StrPath,
    adapter: StrPath | Sequence[StrPath] = (),
    format: str | Sequence[str] = DEFAULT_FORMAT,  # noqa: A002 (the word of the command line)
    out: StrPath,
    unmerged: bool = False,
    imatrix: StrPath | None = None,
    tensor_type: str | Sequence[str] = (),
    converter: StrPath | None = None,
    allow_requantize: bool = False,
    shared_scales: bool = False,
    small_embedding: bool = False,
    onnx_builder: bool = False,
    name: str = "",
    probes: StrPath | None = None,
    pack_key: StrPath | None = None,
    baseline: StrPath | None = None,
    policy: StrPath | None = None,
    policy_sha256: str | None = None,
    baseline_key: StrPath | None = None,
    report: StrPath | None = None,
    backend: str | None = None,
    sign: StrPath | None = None,
    show_answers: bool = False,
    threads: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
    command: Sequence[str] | None = None,
    on_written: Callable[[Sequence[Artifact]], None] | None = None,
) -> ExportResult:
    """Merge adapters into a base and write one artifact for each format; with `probes` and `baseline`, gate them.

    Args:
        base: a Hugging Face folder, or a float GGUF (F16, BF16, F32).
        adapter: PEFT folders, merged in the order given; without one the base itself is written.
        format: names of formats (docs/command-line.md); they share one pass over the weights.
        out: the folder for the artifacts.
        unmerged: quantize the base alone, with the adapter as a GGUF LoRA beside it.
        imatrix: llama.cpp's importance matrix (.dat or .gguf).
        tensor_type: PATTERN=TYPE, as llama-quantize has it.
        converter: a llama.cpp checkout whose converter is run on the merge.
        allow_requantize: accept a quantized GGUF as base.
        shared_scales: give onnx-int4 llama.cpp's Q4_0 codes and scales.
        small_embedding: store an untied embedding table in ONNX with few bits, as a tied one is.
        onnx_builder: let the installed onnxruntime-genai builder make the ONNX folder.
        name: the model's name; the base's own by default.
        probes: the pack to gate with; this and all up to `show_answers` are those of `gate`.
        pack_key: as for `gate`.
        baseline: as for `gate`.
        policy: as for `gate`.
        policy_sha256: as for `gate`.
        baseline_key: as for `gate`.
        report: as for `gate`; `report` in `out` by default.
        backend: as for `gate`.
        sign: as for `gate`.
        show_answers: as for `gate`.
        threads: all cores by default; the bytes do not depend on it.
        force: replace what exists.
        progress: receives progress and warnings; by default nothing is shown.
        command: the command that manifests and reports record; by default the command line that does the same.
        on_written: called with the artifacts before they are gated.

    Raises:
        EdgeproofError: nothing is left under a final name; or, where artifacts were written, no verdict could be
            reached on one of them.

    """
    from edgeproof.export.pipeline import export as run_pipeline

    given = dict(locals())
    words = equivalent_command(export, "export", given) if command is None else tuple(command)
    listener = Recording(progress)
    formats = tuple(map(as_format, as_words(format))) or (DEFAULT_FORMAT,)
    criteria = _criteria(given | {"report": report or Path(out) / "report"}, words, listener)
    if criteria is None and (report is not None or policy is not None or pack_key is not None or show_answers):
        raise UsageError(
            "--report, --policy, --pack-key and --show-answers belong to the gate, and no --probes was given"
        )
    exported = run_pipeline(
        Path(base),
        as_paths(adapter),
        formats,
        Path(out),
        export_options(given),
        texts=() if criteria is None else pack_texts(criteria.pack),
        force=force,
        threads=threads,
        command=words,
        progress=listener,
    )
    artifacts = tuple(map(_artifact, exported))
    if on_written is not None:
        on_written(artifacts)
    gated: tuple[GateResult, ...] = ()
    if criteria is not None:
        gated = gate_all([Candidate(item.path, item.lora, item.format) for item in artifacts], criteria, listener)
    return ExportResult(artifacts, gated, tuple(listener.warnings))


def _criteria(given: Mapping[str, Any], command: tuple[str, ...], progress: Progress) -> Criteria | None:
    """Read what the artifacts are judged by; None where nothing is gated."""
    if (given["probes"] is None) != (given["baseline"] is None):
        raise UsageError(
            "--probes and --baseline go together: the gate needs both",
            next_step="record a baseline with `export-edge baseline`, or leave both out",
        )
    return None if given["probes"] is None else read_criteria(Judging.of(given, command), progress)


def _artifact(exported: Exported) -> Artifact:
    found = exported.manifest
    return Artifact(
        format=exported.format,
        path=exported.path,
        lora=exported.lora,
        bytes=found.artifact.bytes,
        sha256=found.artifact.sha256,
        effective_bits=found.effective_bits,
        manifest=found,
    )
