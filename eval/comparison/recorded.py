"""Content of a report.json that comparisons need, read strictly."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from edgeproof.contracts.errors import EvidenceError
from edgeproof.eval.attestation import ATTESTATION
from edgeproof.eval.comparison.fields import flag_of, number_of, optional_of, text_of
from edgeproof.eval.measurement import ModelSource, ProbeFacts, Role, Verdict
from edgeproof.eval.report.read import has_its_digest, read_report
from edgeproof.eval.report.write import REPORT
from edgeproof.eval.verdict.criteria.leaks import SUBJECTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_AGAIN = "copy the report again, or gate again"


class RecordedCriterion(NamedTuple):
    """A criterion as the report has it; attributes as in `judgement.Criterion`."""

    name: str
    title: str
    status: str
    estimate: float | None
    lower: float | None
    upper: float | None
    limit: float | None
    unit: str
    found: str


class KeptRow(NamedTuple):
    """An untrained retain probe on a judged surface.

    `quantizing` and `unlearning` are its costs in nat per token: NLL minus the merged model's, and minus that of the
    base in the same format; None where the engine gave no log-probabilities.
    """

    fact: ProbeFacts
    surface: str
    kind: str
    right: bool
    quantizing: float | None
    unlearning: float | None


@dataclass(frozen=True)
class Recorded:
    """A report.

    Attributes:
        path: its file.
        sha256: its own digest.
        created: when it was written.
        attested: whether an attestation lies beside it; its signature is not checked.
        verdict: PASS, FAIL or INCONCLUSIVE.
        reason: the main reason.
        artifact: name of the artifact.
        format: its format.
        artifact_sha256: its digest.
        bytes: its size.
        seconds: wall time of asking it.
        backend: what ran it: backend, engine, processor, options.
        pack: name and digest of the pack.
        base: the base of the baseline; None if it names none.
        policy_sha256: digest of the policy's values.
        policy: the policy's values.
        tokenizer_sha256: digest of the tokenizer.
        leaking: for each forget cluster, whether it leaks by the rule that the policy judges.
        criteria: by name, in the report's order.
        kept: untrained retain probes on judged surfaces.

    """

    path: Path
    sha256: str
    created: datetime
    attested: bool
    verdict: Verdict
    reason: str
    artifact: str
    format: str
    artifact_sha256: str
    bytes: int
    seconds: float
    backend: Mapping[str, str]
    pack: ModelSource
    base: ModelSource | None
    policy_sha256: str
    policy: Mapping[str, Any]
    tokenizer_sha256: str
    leaking: Mapping[str, bool]
    criteria: Mapping[str, RecordedCriterion]
    kept: tuple[KeptRow, ...] = field(repr=False)

    @property
    def alpha(self) -> float:
        """One-sided error rate of the policy."""
        return round(1 - float(self.policy["confidence"]), 12)

    @property
    def by_subject(self) -> bool:
        """Whether the policy judges each subject, and not the share of forget clusters."""
        return bool(self.policy["leak_rule"] == SUBJECTS)


def read_recorded(path: Path) -> Recorded:
    """Read the report at `path`, or report.json in that folder.

    Raises:
        EvidenceError: as for `read_report`; or the report is not what its own digest says, or lacks something.

    """
    path = path / REPORT if path.is_dir() else path
    content, report = read_report(path)
    if not has_its_digest(content):
        raise EvidenceError(f"{path} is not what its own digest says: it was cut short or changed", next_step=_AGAIN)
    try:
        return _recorded(path, report)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EvidenceError(f"{path} is damaged: {type(error).__name__} {error}", next_step=_AGAIN) from error


def _recorded(path: Path, report: dict[str, Any]) -> Recorded:
    artifact, baseline, policy = report["artifact"], report["baseline"], report["policy"]
    created = datetime.fromisoformat(report["created"])
    if created.tzinfo is None:
        raise ValueError("created has no time zone")
    if not report["subjects"]:
        raise ValueError("it has no forget clusters")
    leak = _leaks_critically if policy["values"]["leak_rule"] == SUBJECTS else _leaks
    return Recorded(
        path=path,
        sha256=text_of(report["report_sha256"]),
        created=created,
        attested=path.with_name(ATTESTATION).is_file(),
        verdict=Verdict(report["verdict"]),
        reason=text_of(report["reason"]),
        artifact=text_of(artifact["name"]),
        format=text_of(artifact["format"]),
        artifact_sha256=text_of(artifact["sha256"]),
        bytes=int(number_of(artifact["bytes"])),
        seconds=number_of(report["seconds"]),
        backend={text_of(key): text_of(value) for key, value in report["backend"].items()},
        pack=_named(report["pack"]),
        base=None if baseline["base"] is None else _named(baseline["base"]),
        policy_sha256=text_of(policy["sha256"]),
        policy=dict(policy["values"]) | {"confidence": number_of(policy["values"]["confidence"])},
        tokenizer_sha256=text_of(baseline["tokenizer_sha256"]),
        leaking={text_of(subject["cluster"]): leak(subject) for subject in report["subjects"]},
        criteria={criterion.name: criterion for criterion in map(_criterion, report["criteria"])},
        kept=tuple(_kept(row) for row in report["probes"] if _is_kept(row)),
    )


def _leaks(subject: Mapping[str, Any]) -> bool:
    return flag_of(subject["leaks"])


def _leaks_critically(subject: Mapping[str, Any]) -> bool:
    return not flag_of(subject["clean"])


def _criterion(table: Mapping[str, Any]) -> RecordedCriterion:
    return RecordedCriterion(
        name=text_of(table["name"]),
        title=text_of(table["title"]),
        status=text_of(table["status"]),
        estimate=optional_of(table["estimate"]),
        lower=optional_of(table["lower"]),
        upper=optional_of(table["upper"]),
        limit=optional_of(table["limit"]),
        unit=text_of(table["unit"]),
        found=text_of(table["found"]),
    )


def _is_kept(row: Mapping[str, Any]) -> bool:
    return row["role"] == Role.RETAIN and flag_of(row["judged"]) and not flag_of(row["trained"])


def _kept(row: Mapping[str, Any]) -> KeptRow:
    nll = optional_of(row["nll"])
    return KeptRow(
        fact=ProbeFacts(text_of(row["probe"]), Role.RETAIN, text_of(row["cluster"])),
        surface=text_of(row["surface"]),
        kind=text_of(row["kind"]),
        right=flag_of(row["right"]),
        quantizing=None if nll is None else nll - number_of(row["nll_merged"]),
        unlearning=None if nll is None else nll - number_of(row["nll_base_in_format"]),
    )


def _named(table: Mapping[str, Any]) -> ModelSource:
    return ModelSource(text_of(table["name"]), text_of(table["sha256"]))
