"""Runs a job in the app on the phone on USB, and judges what it answered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeproof.contracts.errors import BackendError
from edgeproof.contracts.progress import Recording, no_beat
from edgeproof.release.phone.judge import judge
from edgeproof.release.phone.push import job_name, model_name, refuse_other_artifact
from edgeproof.release.steps.arguments import equivalent_command

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.contracts.progress import Progress
    from edgeproof.release.steps.arguments import StrPath
    from edgeproof.release.verdicts import GateResult


def phone_run(
    job: StrPath,
    artifact: StrPath,
    *,
    evidence: StrPath,
    format: str | None = None,  # noqa: A002 (the word of the command line)
    probes: StrPath,
    pack_key: StrPath | None = None,
    baseline: StrPath,
    policy: StrPath | None = None,
    policy_sha256: str | None = None,
    baseline_key: StrPath | None = None,
    report: StrPath | None = None,
    sign: StrPath | None = None,
    show_answers: bool = False,
    force: bool = False,
    progress: Progress | None = None,
    command: Sequence[str] | None = None,
) -> GateResult:
    """Run `job` in the app, fetch what it answered, and judge `artifact` by that.

    Args:
        job: what `phone_job` wrote and `phone_push` put onto the device.
        artifact: the file that it was written for.
        evidence: the file to write what the device answered to.
        format: what the artifact is; read from the file by default.
        probes: the pack's folder, or a file encrypted with age.
        pack_key: the age identity for an encrypted pack; by default what EDGEPROOF_PACK_KEY holds.
        baseline: what `record_baseline` wrote.
        policy: limits, a TOML file; by default those of docs/verdict.md.
        policy_sha256: refuse any other policy.
        baseline_key: a public key; refuse a baseline without its signature.
        report: the folder for report.json, junit.xml, report.html and summary.md; nothing is written by default.
        sign: a PEM file with an ed25519 key that signs the report.
        show_answers: keep probes and answers in result and report.
        force: replace evidence and reports that exist.
        progress: receives progress and warnings; by default nothing is shown.
        command: the command that reports record; by default the command line that does the same.

    Raises:
        EdgeproofError: no verdict could be reached. FAIL and INCONCLUSIVE are results.

    """
    given = dict(locals())
    from edgeproof.contracts.atomic import atomic_write, refuse_existing

    words = equivalent_command(phone_run, "phone run", given) if command is None else tuple(command)
    listener = Recording(progress)
    out = Path(evidence)
    refuse_existing(out, force=force)
    text = fetched(Path(job), Path(artifact), listener)
    with atomic_write(out, force=force) as file:
        file.write(text.encode("utf-8"))
    return judge(
        out,
        artifact,
        job=job,
        format=format,
        probes=probes,
        pack_key=pack_key,
        baseline=baseline,
        policy=policy,
        policy_sha256=policy_sha256,
        baseline_key=baseline_key,
        report=report,
        sign=sign,
        show_answers=show_answers,
        force=force,
        progress=listener,
        command=words,
    )


def fetched(job: Path, artifact: Path, progress: Progress) -> str:
    """Run the job to its end and return its evidence.

    Raises:
        BackendError: job or artifact are not on the device, the run failed there, or the device is gone.

    """
    from edgeproof.runtime.evidence.job_file import read_job
    from edgeproof.runtime.probe.app import PUSH, App
    from edgeproof.runtime.probe.launch import sha256

    given = read_job(job)
    refuse_other_artifact(given, artifact)
    device = App(no_beat)
    wanted = ((model_name(given), str(given.content["artifact"]["sha256"])), (job_name(given), sha256(job, no_beat)))
    for name, digest in wanted:
        if device.digest(name) != digest:
            raise BackendError(f"{name} is not on the device, or is another file", next_step=PUSH)
    total = len(given.requests)
    progress.start("on the device", total, "answers")
    told = 0

    def on_state(state: Mapping[str, Any]) -> None:
        nonlocal told
        done = state.get("done")
        if isinstance(done, int) and told < done <= total:
            progress.advance(done - told)
            told = done

    ran = device.run(given.id, on_state)
    if not ran.written:
        why = ran.result.get("error") or ran.result.get("stage") or "it does not say why"
        raise BackendError(f"the device could not do it: {why[:400]}", next_step="mend that, and run it again")
    progress.advance(total - told)
    return device.read(f"jobs/{given.id}/evidence.jsonl")
