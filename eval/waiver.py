"""Waivers: somebody answers, with a signature, for the release of one file that did not pass, until a date.

```
report.json of the file ── waive (reason, role, until, key) ──▶ waiver.dsse.json
gate of the same file   ── refusal(waiver, judgement, …)    ──▶ "" : FAIL, waived;  else why it is ignored
```
A waiver never changes a verdict. It is an in-toto Statement in a DSSE envelope, as attestations are, of a type of its
own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from edgeproof.contracts.backend import DOUBTED
from edgeproof.contracts.errors import EvidenceError, InputError
from edgeproof.contracts.parsing import read_file
from edgeproof.eval import attestation
from edgeproof.eval.measurement import Verdict
from edgeproof.eval.report.context import Waived
from edgeproof.eval.verdict.judgement import control_unmet, criterion_unmet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from edgeproof.eval.verdict.judgement import Judgement

WAIVER_TYPE = "urn:edgeproof:waiver:v1"
LONGEST_DAYS = 366
"""A waiver for longer than a year is refused: what should be released for ever needs another policy."""
LONGEST_TEXT = 500
"""Most characters of a reason or a role."""


@dataclass(frozen=True)
class Waiver:
    """A waiver whose signature holds.

    Attributes:
        role: role of whoever answers for the release ("head of safety"); a role, not a name.
        reason: why it may be released all the same.
        until: the last day, UTC, on which it holds.
        waives: all that may be unmet, as `unmet` lists it.
        artifact: sha256 of the artifact.
        pack: digest of the pack's files.
        baseline: sha256 of the baseline.
        policy: digest of the policy's values.
        engine: what had computed it, and through what.
        leaking: forget clusters that leaked.
        unclean: forget clusters that leaked by the stricter rule for single subjects.
        sha256: of the waiver's own file.

    """

    role: str
    reason: str
    until: date
    waives: tuple[str, ...]
    artifact: str
    pack: str
    baseline: str
    policy: str
    engine: str
    leaking: tuple[str, ...]
    unclean: tuple[str, ...]
    sha256: str

    def shown(self) -> Waived:
        """Return what reports hold of it."""
        return Waived(self.role, self.reason, self.until.isoformat(), self.waives, self.sha256)


def waived_of(report: Mapping[str, Any]) -> Waived | None:
    """Return what a report holds of its waiver; None where it has none."""
    told = report.get("waived")
    return None if told is None else Waived(**{**told, "waives": tuple(told["waives"])})


def unmet(judgement: Judgement) -> tuple[str, ...]:
    """List all that stands between a judgement and a PASS: reasons, criteria, controls, the second computation."""
    return tuple(
        _unmet(
            (judgement.reason, *judgement.also),
            ((item.name, item.status, item.needed) for item in judgement.criteria),
            ((item.name, item.status, item.needed) for item in judgement.controls),
            None if judgement.precise is None else (judgement.precise.verdict, judgement.precise.reason),
        )
    )


def unmet_of(report: Mapping[str, Any]) -> tuple[str, ...]:
    """List the same from the content of report.json."""
    precise = report["precise"]
    return tuple(
        _unmet(
            (report["reason"], *report["also"]),
            ((item["name"], item["status"], item["needed"]) for item in report["criteria"]),
            ((item["name"], item["status"], item["needed"]) for item in report["controls"]),
            None if precise is None else (precise["verdict"], precise["reason"]),
        )
    )


def _unmet(
    reasons: Iterable[str],
    criteria: Iterable[tuple[str, str, bool]],
    controls: Iterable[tuple[str, str, bool]],
    precise: tuple[str, str] | None,
) -> Iterator[str]:
    yield from (f"reason: {reason}" for reason in reasons)
    for name, status, needed in criteria:
        if criterion_unmet(status, needed=needed):
            yield f"{name}: {status}"
    for name, status, needed in controls:
        if control_unmet(status, needed=needed):
            yield f"control {name}: {status}"
    if precise is not None and precise[0] != Verdict.PASS:
        yield f"second computation: {precise[0]}, {precise[1]}"


def statement(report: Mapping[str, Any], *, role: str, reason: str, until: date) -> dict[str, object]:
    """Return the statement that waives all that is unmet in a report."""
    return {
        "_type": attestation.STATEMENT_TYPE,
        "subject": [
            {"name": item["name"], "digest": {"sha256": item["sha256"]}} for item in report["artifact"]["files"]
        ],
        "predicateType": WAIVER_TYPE,
        "predicate": {
            "verdict": report["verdict"],
            "role": role,
            "reason": reason,
            "until": until.isoformat(),
            "waives": list(unmet_of(report)),
            "artifact": report["artifact"]["sha256"],
            "pack": report["pack"]["files_sha256"],
            "baseline": report["baseline"]["sha256"],
            "policy": report["policy"]["sha256"],
            "engine": _engine(report["backend"]),
            "leaking": [item["cluster"] for item in report["subjects"] if item["leaks"]],
            "unclean": [item["cluster"] for item in report["subjects"] if not item["clean"]],
        },
    }


def read_waiver(path: Path, public_key: Path) -> Waiver:
    """Check the signature of a waiver and read it.

    Raises:
        EvidenceError: it is damaged, of another kind, or not signed with this key.
        InputError: it or the key cannot be read.

    """
    try:
        content = read_file(path)
    except OSError as error:
        raise InputError(f"cannot read the waiver {path}: {error.strerror}", next_step="check the path") from error
    signed = attestation.read_signed(path, public_key)
    if signed.get("predicateType") != WAIVER_TYPE:
        raise EvidenceError(f"{path.name} is signed, but no waiver")
    try:
        told = signed["predicate"]
        names = ("role", "reason", "artifact", "pack", "baseline", "policy", "engine")
        texts: dict[str, Any] = {name: str(told[name]) for name in names}
        texts |= {name: tuple(map(str, told[name])) for name in ("waives", "leaking", "unclean")}
        until = date.fromisoformat(told["until"])
    except (KeyError, TypeError, ValueError) as error:
        raise EvidenceError(f"{path.name} is damaged: {type(error).__name__} {error}") from error
    return Waiver(**texts, until=until, sha256=hashlib.sha256(content).hexdigest())


def _engine(backend: Mapping[str, str]) -> str:
    """Say what computed, and through what: the laptop's engine, a server, a phone's program, an app's own engine."""
    told = (backend["backend"], backend.get("through", "this machine"), backend.get("computed on", ""))
    return ", ".join(filter(None, told))


def refusal(waiver: Waiver, judgement: Judgement, *, pack: str, baseline: str, today: date) -> str:
    """Say why a waiver does not cover a judgement; empty if it does.

    `pack` is the digest of the pack's files, `baseline` that of the baseline's file, `today` in UTC.
    """
    if today > waiver.until:
        return f"it expired on {waiver.until}; today is {today} (UTC)"
    if waiver.artifact != judgement.artifact_sha256:
        return f"it is for another file: sha256 {waiver.artifact}, and this one has {judgement.artifact_sha256}"
    for what, then, now in (
        ("pack", waiver.pack, pack),
        ("baseline", waiver.baseline, baseline),
        ("policy", waiver.policy, judgement.policy.digest),
        ("engine", waiver.engine, _engine(judgement.backend)),
    ):
        if then != now:
            return f"it is for another {what}: {then}, and this one is {now}"
    if DOUBTED in judgement.backend:
        return "the server may have another file, which no waiver is for"
    leaking = {subject.cluster for subject in judgement.subjects if subject.leaks} - {*waiver.leaking}
    unclean = {subject.cluster for subject in judgement.subjects if not subject.clean} - {*waiver.unclean}
    if leaking or unclean:
        return f"{len(leaking | unclean)} subjects leak that did not leak when it was signed"
    more = [item for item in unmet(judgement) if item not in waiver.waives]
    if more:
        return f"it does not waive all that is unmet now: {'; '.join(more)}"
    return ""
