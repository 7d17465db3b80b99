"""Context of a report: files, digests, command, versions and time of its run."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from edgeproof.contracts.survival import AdapterSurvival
    from edgeproof.contracts.training import Training
    from edgeproof.eval.measurement import ModelSource


@dataclass(frozen=True)
class Waived:
    """What a report holds of the waiver that covers its verdict (`eval/waiver.py`).

    Attributes:
        role: role of whoever answers for the release.
        reason: why it may be released all the same.
        until: the last day, UTC, on which the waiver holds, YYYY-MM-DD.
        waives: all that may be unmet.
        sha256: of the waiver's file.

    """

    role: str
    reason: str
    until: str
    waives: tuple[str, ...]
    sha256: str

    @property
    def words(self) -> str:
        """Who waives it until when, and why."""
        return f"Waived until {self.until} by {self.role}: {self.reason}"


@dataclass(frozen=True)
class ReportContext:
    """The run of a report.

    Attributes:
        artifact: the artifact's file name, without its folder.
        artifact_files: name and sha256 of each file of the artifact.
        command: the exact command line, split.
        baseline_sha256: digest of the baseline file.
        pack_files_sha256: digest of the pack's files (`packs/files.py`), before encryption.
        policy_file_sha256: digest of the policy file; None for the defaults.
        manifest_sha256: digest of the manifest beside the artifact; None if missing (provenance unknown).
        versions: versions of edgeproof and its dependencies, by name.
        created: time with time zone; only reports contain times.
        probe_digests: salted digest of each probe by id (`report/disclosure.py`); None if the pack has no salt.
        survival: the manifest's survival map; None if it has none.
        artifact_bytes: size of the artifact's files together.
        base: the base that the baseline names; None if it names none.
        seconds: wall time of asking the artifact.
        waived: who waives what is not met; None where nobody does.
        training: how base and adapters were trained to forget, as the manifest has it.

    """

    artifact: str
    artifact_files: tuple[tuple[str, str], ...]
    command: tuple[str, ...]
    baseline_sha256: str
    pack_files_sha256: str
    policy_file_sha256: str | None
    manifest_sha256: str | None
    versions: Mapping[str, str]
    created: datetime
    survival: AdapterSurvival | None = None
    probe_digests: Mapping[str, str] | None = None
    _: KW_ONLY
    artifact_bytes: int
    base: ModelSource | None
    seconds: float
    waived: Waived | None = None
    training: tuple[Training, ...] = ()
