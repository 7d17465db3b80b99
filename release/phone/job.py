"""Writes the job of a device: all that a gate asks of one artifact, in one file."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeproof.contracts.errors import UnsupportedError, UsageError
from edgeproof.contracts.progress import Recording
from edgeproof.release.steps.judging.criteria import Judging, read_criteria

if TYPE_CHECKING:
    from edgeproof.contracts.progress import Progress
    from edgeproof.release.steps.arguments import StrPath
    from edgeproof.release.steps.judging.criteria import Criteria

COMPUTE = ("cpu", "gpu", "npu")
"""What a job may ask to compute."""


@dataclass(frozen=True)
class JobResult:
    """A job that was written.

    Attributes:
        path: the file; as secret as the pack.
        id: its id.
        requests: number of scores and replies that it asks for.
        memory: bytes that the probe needs for it at most.
        warnings: what was warned of.

    """

    path: Path
    id: str
    requests: int
    memory: int
    warnings: tuple[str, ...]


def phone_job(
    artifact: StrPath,
    *,
    probes: StrPath,
    pack_key: StrPath | None = None,
    baseline: StrPath,
    policy: StrPath | None = None,
    policy_sha256: str | None = None,
    baseline_key: StrPath | None = None,
    format: str | None = None,  # noqa: A002 (the word of the command line)
    compute: str = "cpu",
    out: StrPath,
    force: bool = False,
    progress: Progress | None = None,
) -> JobResult:
    """Write down all that a gate asks of `artifact`, for a device that answers it without this machine.

    Args:
        artifact: the GGUF file that ships.
        probes: the pack's folder, or a file encrypted with age.
        pack_key: the age identity for an encrypted pack; by default what EDGEPROOF_PACK_KEY holds.
        baseline: what `record_baseline` wrote.
        policy: limits, a TOML file; by default those of docs/verdict.md.
        policy_sha256: refuse any other policy.
        baseline_key: a public key; refuse a baseline without its signature.
        format: what the artifact is; read from the file by default.
        compute: what is to compute: "cpu", "gpu" or "npu".
        out: the file to write; it holds prompts, answers and a key.
        force: replace a file that exists.
        progress: receives warnings; by default nothing is shown.

    Raises:
        EdgeproofError: an input cannot be read or does not fit the others, or `out` cannot be written.

    """
    from edgeproof.contracts.atomic import atomic_write, refuse_existing

    given = dict(locals())
    if compute not in COMPUTE:
        raise UsageError(f"a device cannot compute on {compute!r}", next_step=f"choose one of: {', '.join(COMPUTE)}")
    listener = Recording(progress)
    criteria = read_criteria(Judging.of(given, ()), listener)
    artifact, out = Path(artifact), Path(out)
    refuse_existing(out, force=force)
    body = job_content(artifact, criteria, format_name=format, compute=compute)
    job = sealed_job(body)
    with atomic_write(out, force=force) as file:
        file.write(written(job))
    out.chmod(0o600)
    return JobResult(out, job["id"], len(job["requests"]), job["memory"]["bytes"], tuple(listener.warnings))


def job_content(artifact: Path, criteria: Criteria, *, format_name: str | None, compute: str) -> dict[str, Any]:
    """Return a job without key and id: what follows from artifact, pack, baseline and policy alone.

    Raises:
        EdgeproofError: they do not fit each other, or the artifact is no single GGUF file.

    """
    from edgeproof.eval.baselines.file import choose_baseline
    from edgeproof.eval.job.job import job_body
    from edgeproof.export.artifact.manifest import package_versions
    from edgeproof.release.steps.files.changes import unchanged
    from edgeproof.release.steps.files.digests import choose_format, digest_whole
    from edgeproof.runtime import open_backend
    from edgeproof.runtime.probe.memory import needed_memory

    with unchanged((artifact,)), open_backend("vocabulary", artifact) as vocabulary:
        named = choose_format(artifact, format_name)
        whole = digest_whole((artifact,))
        if len(whole.files) != 1:
            raise UnsupportedError(
                f"{artifact} is in {len(whole.files)} parts", next_step="join them: a device gets one"
            )
        baseline = choose_baseline(criteria.baselines, vocabulary.info.backend, format_name=named)
        body = job_body(
            criteria.pack,
            baseline,
            criteria.policy,
            vocabulary,
            format_name=named,
            artifact_sha256=whole.sha256,
        )
        answer = max(len(one["score"]["continuation"]) for one in body["requests"] if "score" in one)
        return {
            "edgeproof": package_versions()["edgeproof"],
            "compute": compute,
            "artifact": {
                "name": artifact.name,
                "sha256": whole.sha256,
                "bytes": artifact.stat().st_size,
                "format": named,
            },
            "pack": {"name": criteria.pack.name, "sha256": criteria.pack.digest},
            "baseline": {"sha256": criteria.baseline_sha256},
            "policy": {"sha256": criteria.policy.digest},
            "memory": {"bytes": needed_memory(artifact, body["context"], answer)},
            **body,
        }


def sealed_job(content: dict[str, Any]) -> dict[str, Any]:
    """Return the job: version, id and a new key before its content."""
    from edgeproof.runtime.evidence.job_file import KEY_BYTES, VERSION, identity

    key = secrets.token_bytes(KEY_BYTES)
    return {
        "edgeproof_job": VERSION,
        "id": identity(content, key),
        "key": base64.b64encode(key).decode(),
        **content,
    }


def written(job: dict[str, Any]) -> bytes:
    """Return a job's file: a line for each request and entry."""
    parts = []
    for name, value in job.items():
        if isinstance(value, list) and value:
            text = "[\n" + ",\n".join(json.dumps(one, allow_nan=False, separators=(",", ":")) for one in value) + "\n]"
        else:
            text = json.dumps(value, allow_nan=False)
        parts.append(f"{json.dumps(name)}: {text}")
    return ("{" + ",\n".join(parts) + "}\n").encode("ascii")
