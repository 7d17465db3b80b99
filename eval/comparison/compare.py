"""Comparison of two reports: leaks, costs, speed and size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import InputError
from edgeproof.eval.baselines.fit import backend_differences
from edgeproof.eval.comparison.changes import Found
from edgeproof.eval.comparison.comparable import differences
from edgeproof.eval.comparison.costs import cost_changes
from edgeproof.eval.comparison.leaks import leak_change

if TYPE_CHECKING:
    from edgeproof.eval.comparison.changes import Change
    from edgeproof.eval.comparison.recorded import Recorded


@dataclass(frozen=True)
class Comparison:
    """Two comparable reports.

    Attributes:
        old: the report before.
        new: the report after it.
        newly_leaking: forget clusters that leak in NEW and not in OLD. Computed, not estimated.
        healed: forget clusters that leak in OLD and not in NEW.
        changes: leaks, and each cost on each judged surface, with intervals and findings.
        notes: what a reader must know beside these.

    """

    old: Recorded
    new: Recorded
    newly_leaking: tuple[str, ...]
    healed: tuple[str, ...]
    changes: tuple[Change, ...]
    notes: tuple[str, ...]

    @property
    def worse(self) -> tuple[Change, ...]:
        """The changes that are shown to be worse."""
        return tuple(change for change in self.changes if change.found == Found.WORSE)

    @property
    def better(self) -> tuple[Change, ...]:
        """The changes that are shown to be better."""
        return tuple(change for change in self.changes if change.found == Found.BETTER)

    def to_json(self) -> dict[str, object]:
        """Return the comparison as JSON-compatible types."""
        return {
            "old": side_json(self.old),
            "new": side_json(self.new),
            "worse": sorted({change.measure for change in self.worse}),
            "better": sorted({change.measure for change in self.better}),
            "newly_leaking": list(self.newly_leaking),
            "healed": list(self.healed),
            "changes": [change._asdict() | {"found": str(change.found)} for change in self.changes],
            "notes": list(self.notes),
        }


def side_json(report: Recorded) -> dict[str, object]:
    """Return what identifies a report and its artifact, as JSON-compatible types."""
    return {
        "report": str(report.path),
        "report_sha256": report.sha256,
        "created": report.created.isoformat(),
        "verdict": str(report.verdict),
        "reason": report.reason,
        "artifact": report.artifact,
        "format": report.format,
        "artifact_sha256": report.artifact_sha256,
        "bytes": report.bytes,
        "seconds": report.seconds,
        "leaking": sum(report.leaking.values()),
        "clusters": len(report.leaking),
    }


def compare(old: Recorded, new: Recorded) -> Comparison:
    """Compare two reports.

    Raises:
        InputError: they are not comparable, and why; or they are the same report.
        EvidenceError: they have other probes of the same pack.

    """
    if old.sha256 == new.sha256:
        raise InputError(
            f"{old.path} and {new.path} are the same report", next_step="give the reports of two releases, OLD first"
        )
    reasons = differences(old, new)
    if reasons:
        raise InputError(
            f"{old.path} and {new.path} are not comparable: {'; '.join(reasons)}",
            next_step="gate both artifacts with the same pack, policy and base, and compare those reports",
        )
    changes = (leak_change(old, new), *cost_changes(old, new))
    newly, healed = gained(old, new), gained(new, old)
    return Comparison(old, new, newly, healed, changes, _notes(old, new, changes))


def gained(old: Recorded, new: Recorded) -> tuple[str, ...]:
    """Name the clusters that leak in `new` and not in `old`."""
    return tuple(name for name, leaks in new.leaking.items() if leaks and not old.leaking.get(name, False))


def _notes(old: Recorded, new: Recorded, changes: tuple[Change, ...]) -> tuple[str, ...]:
    notes = []
    if old.artifact_sha256 == new.artifact_sha256:
        notes.append("Both reports are of the same file: sha256 " + old.artifact_sha256 + ".")
    if old.created > new.created:
        notes.append("OLD was gated after NEW: check the order.")
    if old.format != new.format:
        notes.append(f"The formats differ: {old.format} and {new.format}.")
    backends = backend_differences(old.backend, new.backend)
    notes += [f"{key}: {then} in OLD, {now} in NEW." for key, then, now in backends]
    if backends:
        notes.append("The engine, its options or the processor differ: the times of asking do not compare.")
    if {change.measure for change in changes} <= {"leak", "accuracy"}:
        notes.append("The costs in nat are not compared: a report lacks log-probabilities, or untrained retain probes.")
    if old.attested != new.attested:
        signed, unsigned = ("OLD", "NEW") if old.attested else ("NEW", "OLD")
        notes.append(f"{signed} has an attestation, {unsigned} has none; only `export-edge verify` checks one.")
    return tuple(notes)


def same_machine(old: Recorded, new: Recorded) -> bool:
    """Whether the times of asking compare: the same engine on the same processor with the same options."""
    return not backend_differences(old.backend, new.backend)
