"""Gates the file that ships: measures it, judges it and writes the reports."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from edgeproof.contracts.progress import Recording, no_beat
from edgeproof.release.steps.arguments import as_artifact, as_format, as_path, equivalent_command
from edgeproof.release.steps.asking.course import Course
from edgeproof.release.steps.asking.kept import Keeping
from edgeproof.release.steps.judging.criteria import Criteria, Judging, read_criteria
from edgeproof.release.steps.judging.judge_artifact import Candidate, judge_artifact
from edgeproof.release.verdicts import GateResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edgeproof.contracts.progress import Progress
    from edgeproof.eval.measurement import Finding
    from edgeproof.release.steps.arguments import StrPath


def gate(
    artifact: StrPath,
    engine: str | None = None,
    *,
    lora: StrPath | None = None,
    format: str | None = None,  # noqa: A002 (the word of the command line)
    probes: StrPath,
    pack_key: StrPath | None = None,
    baseline: StrPath,
    policy: StrPath | None = None,
    policy_sha256: str | None = None,
    baseline_key: StrPath | None = None,
    report: StrPath | None = None,
    backend: str | None = None,
    sign: StrPath | None = None,
    show_answers: bool = False,
    waiver: StrPath | None = None,
    waiver_key: StrPath | None = None,
    accept_waivers: bool = False,
    threads: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
    command: Sequence[str] | None = None,
) -> GateResult:
    """Probe `artifact`, the very file that ships, and judge it.

    Args:
        artifact: a GGUF file or an ONNX folder.
        engine: what computes, for some backends: the URL of a server that has the artifact loaded ("http"), the folder
            that `make phone` wrote ("adb", "arm64-emulated").
        lora: a GGUF LoRA; artifact and LoRA are gated as one.
        format: what the artifact is; read from the file by default.
        probes: the pack's folder, or a file encrypted with age.
        pack_key: the age identity for an encrypted pack; by default what EDGEPROOF_PACK_KEY holds.
        baseline: what `record_baseline` wrote.
        policy: limits, a TOML file; by default those of docs/verdict.md.
        policy_sha256: refuse any other policy.
        baseline_key: a public key; refuse a baseline without its signature.
        report: the folder for report.json, junit.xml, report.html and summary.md; nothing is written by default.
        backend: what runs the artifact; by default llama.cpp for files, onnxruntime for folders.
        sign: a PEM file with an ed25519 key that signs the report.
        show_answers: keep probes and answers in result and report.
        waiver: a waiver of this very file, as `waive` wrote it; one that does not hold is ignored with a warning.
        waiver_key: the public key of whoever may waive; `waiver` needs it.
        accept_waivers: let the file through where the waiver holds. The verdict stays what it is.
        threads: all cores by default.
        force: replace reports that exist.
        progress: receives progress and warnings; by default nothing is shown.
        command: the command that reports record; by default the command line that does the same.

    Raises:
        EdgeproofError: no verdict could be reached. FAIL and INCONCLUSIVE are results.

    """
    given = dict(locals())
    words = equivalent_command(gate, "gate", given) if command is None else tuple(command)
    judging = Judging.of(given, words)
    candidate = Candidate(as_artifact(artifact), as_path(lora), None if format is None else as_format(format))
    listener = Recording(progress)
    (gated,) = gate_all([candidate], read_criteria(judging, listener), listener)
    return gated


def gate_all(
    candidates: Sequence[Candidate],
    criteria: Criteria,
    listener: Recording,
    *,
    keep_answers: bool = False,
    on_finding: Callable[[Finding], None] | None = None,
    beat: Callable[[], None] = no_beat,
) -> tuple[GateResult, ...]:
    """Measure and judge each candidate; several candidates get a report folder each.

    Results hold the greedy answers with `show_answers` or `keep_answers`; reports only with `show_answers`.
    `on_finding` hears what is found of each probe while it is measured. `beat` is called several times a second while
    an engine is waited for; it may raise, which ends the engine.
    """
    from edgeproof.eval.report.context import ReportContext
    from edgeproof.eval.report.disclosure import probe_digests
    from edgeproof.eval.report.write import refuse_existing_reports, write_reports
    from edgeproof.export.artifact.manifest import package_versions
    from edgeproof.release.steps.files.pinned import pinned
    from edgeproof.release.steps.judging.waivers import holding

    judging = criteria.judging
    folders = [_report_folder(judging.report, candidate, alone=len(candidates) == 1) for candidate in candidates]
    for folder in folders:
        if folder is not None:
            refuse_existing_reports(folder, force=judging.force)
    bound = {"baseline": criteria.baseline_sha256}
    kept = Keeping(criteria.pack, criteria.policy.sampling, bound, listener)
    gated = []
    course = Course(listener)
    names = [candidate.artifact.name for candidate in candidates]
    for number, (candidate, folder) in enumerate(zip(candidates, folders, strict=True), start=1):
        heard: dict[tuple[str, str], str] = {}
        with kept.told_how_to_go_on(), pinned(candidate.paths) as held:
            judgement, artifact = judge_artifact(
                candidate,
                held,
                criteria,
                answers=heard,
                kept=kept,
                course=course,
                later=names[number:],
                on_finding=on_finding,
                beat=beat,
            )
        reports: tuple[Path, ...] = ()
        created = datetime.now(UTC)
        waived = holding(
            criteria.waiver,
            judgement,
            pack=criteria.pack_files_sha256,
            baseline=criteria.baseline_sha256,
            today=created.date(),
            progress=listener,
        )
        if folder is not None:
            context = ReportContext(
                artifact=candidate.artifact.name,
                artifact_files=artifact.files,
                command=judging.command,
                baseline_sha256=criteria.baseline_sha256,
                pack_files_sha256=criteria.pack_files_sha256,
                policy_file_sha256=criteria.policy_file_sha256,
                manifest_sha256=artifact.manifest_sha256,
                versions=package_versions(),
                created=created,
                survival=artifact.survival,
                training=artifact.training,
                probe_digests=probe_digests(criteria.pack),
                artifact_bytes=artifact.bytes,
                base=artifact.base,
                seconds=artifact.seconds,
                waived=waived,
            )
            reports = write_reports(
                judgement,
                context,
                folder,
                answers=heard if judging.show_answers else None,
                signing_key=criteria.signing_key,
                force=judging.force,
            )
        gated.append(
            GateResult(
                artifact=candidate.artifact,
                lora=candidate.lora,
                format=judgement.format_name or "",
                verdict=judgement.verdict,
                reason=judgement.reason,
                summary=judgement.summary,
                reports=reports,
                waived=waived,
                accepted=waived is not None and judging.accept_waivers,
                warnings=tuple(listener.warnings),
                judgement=judgement,
                answers=heard if judging.show_answers or keep_answers else {},
            )
        )
    kept.done()
    return tuple(gated)


def _report_folder(report: Path | None, candidate: Candidate, *, alone: bool) -> Path | None:
    artifact = candidate.artifact
    name = artifact.name if artifact.is_dir() else artifact.stem
    return report if alone or report is None else report / name
