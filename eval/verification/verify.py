"""Verification of a report after the gate: all files are unchanged, and its scores give its verdict.

```
report.json ── encoding, digest, signature ──┐
artifact, pack, baseline, policy ── digests ─┼──▶ Verified, or one error that names all that differs
recorded scores + baseline ── judged again ──┘
```
The whole report is computed again from its recorded scores and compared. The recorded scores and times are taken from
the report; everything derived from them must match. Numbers may differ in their last digits, since other processors
round differently.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from edgeproof.contracts.errors import EvidenceError, PackError
from edgeproof.contracts.training import parse_training
from edgeproof.eval import attestation
from edgeproof.eval.digests import digest_bytes
from edgeproof.eval.packs.files import open_pack, policy_beside
from edgeproof.eval.report.read import AGAIN, read_report
from edgeproof.eval.report.sanitize import inert
from edgeproof.eval.report.write import REPORT, REPORTS, encode
from edgeproof.eval.verdict.judgement import computes_long_rope
from edgeproof.eval.verification.recompute import (
    NAMED,
    ArtifactDigests,
    Inputs,
    context_of,
    differences,
    judge_again,
    survival_of,
)
from edgeproof.eval.waiver import waived_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from edgeproof.eval.report.context import Waived
    from edgeproof.eval.verdict.judgement import Judgement

UNROUNDED = ("none", "0")
"""Accuracy levels, in a backend's options, that do not round activations."""


@dataclass(frozen=True)
class Verified:
    """A verified report.

    Attributes:
        verdict: the recorded verdict, confirmed by the recorded scores.
        reason: the main reason.
        summary: the findings.
        signed: whether its signature was checked with a key.
        judgement: what the recorded scores give, judged again.
        said_waived: the waiver that the report names, unchecked.
        waived: a waiver that was given now, and that covers this judgement today.
        accepted: whether the caller accepts it.

    """

    verdict: str
    reason: str
    summary: str
    signed: bool
    judgement: Judgement
    said_waived: Waived | None = None
    waived: Waived | None = None
    accepted: bool = False


def verify(path: Path, artifact: ArtifactDigests, inputs: Inputs, *, public_key: Path | None = None) -> Verified:
    """Check the report at `path` (or report.json in that folder) against all its files.

    Raises:
        EvidenceError: something differs; one message lists all differences.
        InputError: the public key cannot be read.

    """
    path = path / REPORT if path.is_dir() else path
    content, report = read_report(path)
    try:
        wrong = [*_own(content, report), *_artifact(report, artifact), *_inputs(report, inputs)]
        again = None if wrong else judge_again(report, artifact, inputs)
        judgement = None if again is None else again[0]
        if again is not None:
            wrong += [f"report: {difference}" for difference in differences(report, *again)]
            if wrong and report["versions"].get("edgeproof") != (own := version("edgeproof")):
                wrong.append(f"report: edgeproof {report['versions'].get('edgeproof')} wrote it, this is {own}")
        if public_key is not None:
            wrong += _signature(path, public_key, report, judgement)
        told = report["verdict"], report["reason"], report["summary"]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise EvidenceError(f"{path.name} is damaged: {type(error).__name__} {error}", next_step=AGAIN) from error
    if wrong:
        raise EvidenceError(
            "this evidence does not hold:\n" + "\n".join(f"  {line}" for line in wrong), next_step=AGAIN
        )
    assert judgement is not None  # nothing is wrong, so that it was judged
    return Verified(*told, signed=public_key is not None, judgement=judgement, said_waived=waived_of(report))


def _own(content: bytes, report: Mapping[str, Any]) -> Iterator[str]:
    if encode(report) != content:
        yield "report: it is not encoded as the gate encodes it"
    rest = {key: value for key, value in report.items() if key != "report_sha256"}
    if hashlib.sha256(encode(rest)).hexdigest() != report["report_sha256"]:
        yield "report: it is not what its own digest says; something in it was changed"


def _artifact(report: Mapping[str, Any], found: ArtifactDigests) -> Iterator[str]:
    recorded = report["artifact"]
    then = {item["name"]: item["sha256"] for item in recorded["files"]}
    now = dict(found.files)
    if recorded["sha256"] != found.sha256:
        names = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
        named = f" ({', '.join(names[:NAMED])})" if len({*then, *now}) > 1 else ""
        yield _differs(f"artifact{named}", recorded["sha256"], found.sha256)
    elif sorted(then.values()) != sorted(now.values()):
        yield "artifact: the report lists other files than those that its digest is of"
    elif recorded["bytes"] != found.bytes:
        yield f"artifact: it has {found.bytes} bytes, the report says {recorded['bytes']}"
    taken = report.get("resources")
    if taken is not None and taken["file_bytes"] != found.bytes:
        yield f"report: its budget is of {taken['file_bytes']} bytes, the artifact has {found.bytes}"
    if taken is not None and found.largest is not None and taken["largest_file_bytes"] != found.largest:
        yield f"report: its budget is of a largest file of {taken['largest_file_bytes']} bytes, it has {found.largest}"
    if recorded["manifest_sha256"] != found.manifest_sha256:
        yield _differs("manifest beside the artifact", recorded["manifest_sha256"], found.manifest_sha256)
    elif survival_of(report) != found.survival:
        yield "report: its survival map is not what the manifest says"
    elif parse_training(report.get("training")) != found.training:
        yield "report: its training is not what the manifest says"
    if found.unreadable is not None:
        yield f"artifact: no gate opens it: {found.unreadable}"
    if found.format is not None and recorded["format"] != found.format:
        yield f"artifact: it says that it is {found.format}, the report judges it as {recorded['format']}"
    levels = report["backend"].get("accuracy_level", "none")
    if report["precise"] is None and (found.rounds or levels not in UNROUNDED):
        yield "report: the artifact rounds activations, and what it gives without rounding is not in the report"
    second = report["precise"]
    if found.rounds and second is not None and second["backend"].get("accuracy_level", "none") not in UNROUNDED:
        yield "report: its second computation rounds activations, too"
    for backend in (report["backend"], *(() if second is None else (second["backend"],))):
        if backend.get("embedding", found.embedding) != found.embedding:
            stored = found.embedding or "nothing that can be read"
            yield f"artifact: its embedding table is stored as {stored}, the report says {backend['embedding']}"
    if found.original_context is not None and second is not None and not computes_long_rope(second["backend"]):
        yield "report: its second computation is not the one with the artifact's long rope factors"


def _inputs(report: Mapping[str, Any], inputs: Inputs) -> Iterator[str]:
    """Compare digests; unreadable files count as different."""
    checks: tuple[tuple[str, str | None, Callable[[], str | None]], ...] = (
        ("pack", report["pack"]["files_sha256"], lambda: open_pack(inputs.pack, inputs.identity).digest()),
        ("baseline", report["baseline"]["sha256"], lambda: digest_bytes(inputs.baseline)),
        (
            "policy",
            report["policy"]["file_sha256"],
            lambda: None if inputs.policy is None else digest_bytes(inputs.policy),
        ),
    )
    for what, recorded, digest in checks:
        try:
            found = digest()
        except OSError as error:
            yield f"{what}: cannot be read: {error.strerror}"
            continue
        except PackError as error:
            yield f"{what}: cannot be read: {error.message}"
            continue
        if found != recorded:
            yield _differs(what, recorded, found) + (_policy_step(recorded, inputs) if what == "policy" else "")


def _policy_step(recorded: str | None, inputs: Inputs) -> str:
    """Name the option that is missing, or too many."""
    if recorded is None:
        return ": it was judged by the defaults; leave --policy out"
    if inputs.policy is not None:
        return ""
    own = policy_beside(inputs.pack, encrypted=not inputs.pack.is_dir())
    known = own.is_file() and digest_bytes(own) == recorded
    return f": give the policy of that gate: --policy {inert(str(own), 1000) if known else 'FILE'}"


def _differs(what: str, recorded: str | None, found: str | None) -> str:
    return f"{what}: sha256 {found or 'none: not there'}, the report says {recorded or 'none: it was not there'}"


def _signature(path: Path, public_key: Path, report: Mapping[str, Any], judgement: Judgement | None) -> list[str]:
    """Check the attestation beside the report: signed with this key, and over exactly the present files."""
    envelope = path.with_name(attestation.ATTESTATION)
    if not envelope.is_file():
        return [f"signature: there is no {attestation.ATTESTATION} beside the report"]
    try:
        signed = attestation.read_signed(envelope, public_key)
    except EvidenceError as error:
        return [f"signature: {error.message}"]
    wrong = []
    for item in signed["predicate"]["edgeproof_reports"]:
        name, sha256 = item["name"], item["digest"]["sha256"]
        # Only names that the gate writes, so that a name cannot be another path.
        lies_here = path if name == REPORT else path.with_name(name)
        if name not in REPORTS or not lies_here.is_file():
            wrong.append(f"signature: it is over {name}, which is not beside the report")
        elif digest_bytes(lies_here) != sha256:
            wrong.append(f"signature: {name} is not what was signed")
    if judgement is not None:
        digests = {item["name"]: item["digest"]["sha256"] for item in signed["predicate"]["edgeproof_reports"]}
        if set(digests) != set(REPORTS) or signed != attestation.statement(judgement, context_of(report), digests):
            wrong.append("signature: the signed statement is not what this report says")
    return wrong
