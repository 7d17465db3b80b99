"""Judges what a device answered to a job: the rules, the report and the signature of a gate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeproof.contracts.errors import EvidenceError
from edgeproof.contracts.progress import Recording
from edgeproof.release.gate import gate_all
from edgeproof.release.phone.job import job_content
from edgeproof.release.steps.arguments import as_format, equivalent_command
from edgeproof.release.steps.judging.criteria import Judging, read_criteria
from edgeproof.release.steps.judging.judge_artifact import Candidate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.contracts.progress import Progress
    from edgeproof.release.steps.arguments import StrPath
    from edgeproof.release.steps.judging.criteria import Criteria
    from edgeproof.release.verdicts import GateResult
    from edgeproof.runtime.evidence.job_file import Job

FITTING = {
    "FAIL": frozenset({"FAIL"}),
    "INCONCLUSIVE": frozenset({"INCONCLUSIVE"}),
    "CANNOT PASS": frozenset({"FAIL", "INCONCLUSIVE"}),
    "NOTHING AGAINST IT": frozenset({"PASS", "FAIL", "INCONCLUSIVE"}),
}
"""Verdicts that agree with each word of a device (docs/phone-job.md)."""


def judge(
    evidence: StrPath,
    artifact: StrPath,
    *,
    job: StrPath,
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
    """Judge `artifact` by what a device answered to a job.

    Args:
        evidence: what the device wrote.
        artifact: the GGUF file that the job was written for.
        job: the job that the device was given.
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
        force: replace reports that exist.
        progress: receives progress and warnings; by default nothing is shown.
        command: the command that reports record; by default the command line that does the same.

    Raises:
        EvidenceError: the evidence is of another job, altered or not whole; the job is of other inputs.
        EdgeproofError: no verdict could be reached. FAIL and INCONCLUSIVE are results.

    """
    from edgeproof.runtime.evidence.job_file import read_job

    given = dict(locals())
    words = equivalent_command(judge, "judge", given) if command is None else tuple(command)
    listener = Recording(progress)
    judging = Judging.of({**given, "backend": "evidence", "engine": str(evidence)}, words)
    criteria = read_criteria(judging, listener)
    artifact = Path(artifact)
    named = None if format is None else as_format(format)
    refuse_other_job(read_job(Path(job)), artifact, criteria, format_name=named)
    (gated,) = gate_all([Candidate(artifact, None, named)], criteria, listener)
    word = gated.judgement.backend.get("the device's own word", "")
    if gated.verdict not in FITTING.get(word, frozenset()):
        listener.warn(f"the device itself said {word!r} of its answers; by the rules of the gate it is {gated.verdict}")
    return gated


def refuse_other_job(job: Job, artifact: Path, criteria: Criteria, *, format_name: str | None) -> None:
    """Refuse a job that is not, in every request and rule, the one that would be written now.

    Raises:
        EvidenceError: says what differs.

    """
    content = job.content
    now = job_content(artifact, criteria, format_name=format_name, compute=str(content.get("compute")))
    now["artifact"]["name"] = _entry(content, "artifact").get("name")
    for name, key in (("artifact", "sha256"), ("pack", "sha256"), ("baseline", "sha256"), ("policy", "sha256")):
        then = str(_entry(content, name).get(key))
        if then != now[name][key]:
            raise EvidenceError(
                f"the job was written for another {name}: sha256 {then[:12]}… there, {now[name][key][:12]}… here",
                next_step=f"give the {name} that the job was written for, or write the job again",
            )
    if content.get("edgeproof") != now["edgeproof"]:
        raise EvidenceError(
            f"the job was written by edgeproof {content.get('edgeproof')!s:.20}, this is {now['edgeproof']}",
            next_step="judge with the version that wrote it, or write it again",
        )
    same = json.loads(json.dumps(now))
    differing = sorted(name for name in {*content, *same} if content.get(name) != same.get(name))
    if differing:
        raise EvidenceError(
            f"the job was altered: its {', '.join(differing)} {'is' if len(differing) == 1 else 'are'} not what "
            "artifact, pack, baseline and policy give",
            next_step="write the job again with `export-edge phone job`, and run it again",
        )


def _entry(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = content.get(name)
    return value if isinstance(value, dict) else {}
