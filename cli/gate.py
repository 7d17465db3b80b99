"""`export-edge gate`: probe the file that ships, and say PASS, FAIL or INCONCLUSIVE."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from edgeproof.cli import options as opt
from edgeproof.contracts.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from edgeproof.contracts.progress import Progress
    from edgeproof.eval.measurement import Baseline
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.report.survival import Survival
    from edgeproof.eval.verdict.judgement import Judgement
    from edgeproof.eval.verdict.policy import Policy


@click.command("gate")
@click.argument("artifact", type=opt.PATH)
@click.option("--lora", type=opt.PATH, metavar="FILE", help="A GGUF LoRA; artifact and LoRA are gated as one.")
@click.option(
    "--format",
    "format_name",
    callback=opt.known_formats,
    metavar="NAME",
    help="What the artifact is; read from the file by default.",
)
@opt.JUDGING
@opt.THREADS
@opt.FORCE
@opt.LISTENING
def command(
    artifact: Path,
    *,
    lora: Path | None,
    format_name: str | None,
    judging: Mapping[str, Any],
    threads: int | None,
    force: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Probe ARTIFACT, the very file that ships, and judge it.

    Exit codes: 0 PASS, 1 FAIL, 4 INCONCLUSIVE; 3 where no verdict could be reached.
    """
    from edgeproof.cli.progress import Terminal

    missing = [f"--{name}" for name in ("probes", "baseline") if judging[name] is None]
    if missing:
        raise UsageError(
            f"the gate needs {' and '.join(missing)}", next_step="record a baseline with `export-edge baseline`"
        )
    with Terminal(quiet=quiet) as progress:
        candidate = Candidate(artifact, lora, format_name)
        return gate_all(
            [candidate], Judging(**judging, threads=threads, force=force), as_json=as_json, progress=progress
        )


@dataclass(frozen=True)
class Judging:
    """What a gate goes by.

    Attributes:
        probes: the pack's folder, or a file encrypted with age.
        baseline: what `export-edge baseline` recorded.
        pack_key: the identity for an encrypted pack; that of the environment where None.
        policy: limits; the defaults where None.
        report: where the reports go; nowhere where None.
        backend: what runs the artifacts; by their kind where None.
        sign: an ed25519 key that signs the report; no signature where None.
        policy_sha256: what the policy's digest must be; any where None.
        baseline_key: the public key of the signature beside the baseline; not checked where None.
        show_answers: keep probes and answers in the report.
        threads: all cores by default.
        force: replace reports that exist.

    """

    probes: Path
    baseline: Path
    pack_key: Path | None = None
    policy: Path | None = None
    report: Path | None = None
    backend: str | None = None
    sign: Path | None = None
    show_answers: bool = False
    threads: int | None = None
    force: bool = False
    policy_sha256: str | None = None
    baseline_key: Path | None = None


class Candidate(NamedTuple):
    """What is to be judged. `format_name` None: read it from the file."""

    artifact: Path
    lora: Path | None = None
    format_name: str | None = None


class _Artifact(NamedTuple):
    """Name and sha256 of each of its files, its manifest's sha256, and what that says is left of the adapters."""

    files: tuple[tuple[str, str], ...]
    manifest_sha256: str | None
    survival: Survival | None


class Gated(NamedTuple):
    """A verdict and, for `--show-answers` and the quickstart's samples, the greedy answers by probe and surface."""

    candidate: Candidate
    judgement: Judgement
    answers: Mapping[tuple[str, str], str]
    reports: tuple[Path, ...]


def gate_all(
    candidates: Sequence[Candidate],
    judging: Judging,
    *,
    as_json: bool,
    progress: Progress,
    artifacts: Sequence[Mapping[str, object]] = (),
) -> int:
    """Gate each candidate, show the verdicts, and return the exit code of the worst."""
    from edgeproof.eval.report.terminal import render_comparison, render_terminal
    from edgeproof.eval.report.write import EXIT_CODES

    gated = gate(candidates, judging, progress=progress)
    show_answers = judging.show_answers
    for item in gated:
        name = item.candidate.artifact.name
        render_terminal(item.judgement, artifact=name, answers=item.answers if show_answers else None, file=sys.stderr)
    if len(gated) > 1:
        # The names of one export's artifacts differ at their ends only, where a narrow terminal cuts them.
        render_comparison([(item.judgement.format_name or "", item.judgement) for item in gated], file=sys.stderr)
    if as_json:
        verdicts = [
            {
                "artifact": str(item.candidate.artifact),
                "verdict": str(item.judgement.verdict),
                "reason": str(item.judgement.reason),
                "summary": item.judgement.summary,
                "reports": [str(path) for path in item.reports],
            }
            for item in gated
        ]
        worst = max((item.judgement.verdict for item in gated), key=SEVERITY.index)
        click.echo(json.dumps({"artifacts": list(artifacts), "verdict": str(worst), "verdicts": verdicts}))
    return EXIT_CODES[max((item.judgement.verdict for item in gated), key=SEVERITY.index)]


def check_judging(judging: Judging) -> tuple[str, ...]:
    """Read all that a gate needs before an export begins; return the pack's texts, on which its tokenizer is proved."""
    from edgeproof.eval.baselines.file import load_baselines
    from edgeproof.eval.packs.reader import load_pack
    from edgeproof.eval.verdict.policy import Policy, read_policy

    pack = load_pack(judging.probes, opt.pack_identity(judging.pack_key))
    _check_pins(judging, Policy() if judging.policy is None else read_policy(judging.policy))
    load_baselines(judging.baseline)
    _signing_key(judging)
    return pack_texts(pack)


def pack_texts(pack: Pack) -> tuple[str, ...]:
    """Every question and answer of a pack."""
    return tuple(text for probe in pack.probes for text in (probe.question, probe.answer))


SEVERITY = ("PASS", "INCONCLUSIVE", "FAIL")
"""Verdicts from best to worst: the worst decides about a release of several files."""


def gate(candidates: Sequence[Candidate], judging: Judging, *, progress: Progress) -> list[Gated]:
    """Measure and judge each candidate; reports go to a folder a candidate where there are several."""
    from edgeproof.cli.unchanged import refuse_changed, states
    from edgeproof.eval.baselines.file import load_baselines
    from edgeproof.eval.digests import digest_bytes
    from edgeproof.eval.packs.files import open_pack
    from edgeproof.eval.packs.reader import read_pack
    from edgeproof.eval.packs.surfaces import unasked
    from edgeproof.eval.report.context import ReportContext
    from edgeproof.eval.report.disclosure import probe_digests
    from edgeproof.eval.report.write import refuse_existing_reports, write_reports
    from edgeproof.eval.verdict.policy import Policy, read_policy
    from edgeproof.export.artifact.manifest import package_versions

    signing_key = _signing_key(judging)
    files = open_pack(judging.probes, opt.pack_identity(judging.pack_key))
    pack, pack_files_sha256 = read_pack(files, str(judging.probes)), files.digest()
    for warning in unasked(pack):
        progress.warn(warning)
    given = [path for path in (judging.baseline, judging.policy) if path is not None and path.exists()]
    read = states(given)
    policy = Policy() if judging.policy is None else read_policy(judging.policy)
    _check_pins(judging, policy)
    recorded = load_baselines(judging.baseline)
    baseline_sha256 = digest_bytes(judging.baseline)
    policy_file_sha256 = None if judging.policy is None else digest_bytes(judging.policy)
    refuse_changed(given, read, done="read", again="gate")
    folders = [_report_folder(judging.report, candidate, alone=len(candidates) == 1) for candidate in candidates]
    for folder in folders:
        if folder is not None:
            refuse_existing_reports(folder, force=judging.force)
    gated = []
    for candidate, folder in zip(candidates, folders, strict=True):
        answers: dict[tuple[str, str], str] = {}
        judgement, artifact = _judge_one(candidate, pack, recorded, policy, judging, answers=answers, progress=progress)
        reports: tuple[Path, ...] = ()
        if folder is not None:
            context = ReportContext(
                artifact=candidate.artifact.name,
                artifact_files=artifact.files,
                command=opt.given_command(),
                baseline_sha256=baseline_sha256,
                pack_files_sha256=pack_files_sha256,
                policy_file_sha256=policy_file_sha256,
                manifest_sha256=artifact.manifest_sha256,
                versions=package_versions(),
                created=datetime.now(UTC),
                survival=artifact.survival,
                probe_digests=probe_digests(pack),
            )
            shown = answers if judging.show_answers else None
            reports = write_reports(
                judgement, context, folder, answers=shown, signing_key=signing_key, force=judging.force
            )
        gated.append(Gated(candidate, judgement, answers, reports))
    return gated


def _signing_key(judging: Judging) -> Ed25519PrivateKey | None:
    """Read the key before anything is measured."""
    if judging.sign is None:
        return None
    if judging.report is None:
        raise UsageError("--sign signs a report, and there is none", next_step="add --report DIR")
    from edgeproof.eval.attestation import read_private_key

    return read_private_key(judging.sign)


def _check_pins(judging: Judging, policy: Policy) -> None:
    """Hold policy and baseline to the digest and the key that they were given with."""
    from edgeproof.eval.attestation import check_baseline_signature
    from edgeproof.eval.verdict.policy import refuse_other_policy

    if judging.policy_sha256 is not None:
        refuse_other_policy(policy, judging.policy, judging.policy_sha256)
    if judging.baseline_key is not None:
        check_baseline_signature(judging.baseline, judging.baseline_key)


def _report_folder(report: Path | None, candidate: Candidate, *, alone: bool) -> Path | None:
    artifact = candidate.artifact
    name = artifact.name if artifact.is_dir() else artifact.stem
    return report if alone or report is None else report / name


def _judge_one(
    candidate: Candidate,
    pack: Pack,
    recorded: Mapping[str, Baseline],
    policy: Policy,
    judging: Judging,
    *,
    answers: dict[tuple[str, str], str],
    progress: Progress,
) -> tuple[Judgement, _Artifact]:
    """Measure and judge; also give what the report says of the artifact."""
    from edgeproof.cli.artifact import choose_format, digest_whole, refuse_other_bytes
    from edgeproof.cli.unchanged import refuse_changed, states
    from edgeproof.eval.baselines.file import check_baseline, check_match, choose_baseline, record_command
    from edgeproof.eval.baselines.sources import check_sources, read_sources
    from edgeproof.eval.digests import digest_bytes
    from edgeproof.eval.measuring.measure import measure, measure_again
    from edgeproof.eval.report.survival import read_survival
    from edgeproof.eval.verdict.float_activations import judge_both
    from edgeproof.eval.verdict.judge import judge
    from edgeproof.export.artifact.manifest import manifest_path, read_provenance
    from edgeproof.runtime import backend_for, open_backend

    artifact, lora = candidate.artifact, candidate.lora
    format_name = choose_format(artifact, candidate.format_name)
    paths = (artifact,) if lora is None else (artifact, lora)
    watched = (*paths, *(path for path in map(manifest_path, paths) if path.is_file()))
    before = states(watched)
    whole = digest_whole(paths)
    manifests = [read_provenance(path, digest) for path, digest in zip(paths, whole.each, strict=True)]
    for path, manifest in zip(paths, manifests, strict=True):
        if manifest is None:
            progress.warn(f"{path.name} has no manifest beside it: provenance unknown")
    manifest_sha256 = None if manifests[0] is None else digest_bytes(manifest_path(artifact))
    described = _Artifact(whole.files, manifest_sha256, read_survival(manifests[0]))
    backend = judging.backend or backend_for(artifact)
    with open_backend(backend, artifact, lora=lora, threads=judging.threads) as engine:
        baseline = choose_baseline(recorded, engine.info.backend, format_name=format_name)
        check_sources(baseline.sources, read_sources(manifests), again=record_command(format_name))
        info = engine.info
        check_match(baseline, pack, info.tokenizer_digest, format_name=format_name, prompt_digest=info.prompt_digest)
        measurement = measure(
            pack,
            engine,
            label="artifact",
            artifact_sha256=whole.sha256,
            progress=progress,
            carriers=baseline.carriers,
            sampling=policy.sampling,
            on_answer=lambda probe, surface, text: answers.__setitem__((probe.id, surface.name), text),
        )
        rounds = engine.info.options.get("accuracy_level", "none") not in {"none", "0"}
    precise = None
    if rounds:
        with open_backend(backend, artifact, threads=judging.threads, accuracy_level=0) as engine:
            precise = measure_again(
                pack,
                engine,
                measurement,
                label="float activations",
                progress=progress,
                carriers=baseline.carriers,
            )
    refuse_changed(watched, before, done="probed", again="gate")
    refuse_other_bytes(paths, whole)
    for difference in check_baseline(baseline, pack, measurement, format_name=format_name):
        progress.warn(f"the baseline was recorded elsewhere: {difference}")
    if precise is not None:
        return judge_both(measurement, precise, baseline, policy, format=format_name), described
    return judge(measurement, baseline, policy, format=format_name), described
