"""What a report says of its run beside the judgement: files, digests, command, versions, time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from edgeproof.contracts.survival import AdapterSurvival


@dataclass(frozen=True)
class ReportContext:
    """The run that a report is about.

    Attributes:
        artifact: the artifact's file name, without its folder.
        artifact_files: name and sha256 of each file of the artifact.
        command: the exact command line, split.
        baseline_sha256: of the baseline file.
        pack_files_sha256: of the pack's files (`packs/files.py`), of an encrypted one as they were before.
        policy_file_sha256: of the policy file; None where the defaults were used.
        manifest_sha256: of the manifest beside the artifact; None where there is none (provenance unknown).
        versions: of edgeproof and what it ran on, by name.
        created: when, with a time zone; reports alone carry times.
        probe_digests: salted digest of each probe by id (`report/disclosure.py`); None where the pack has no salt.
        survival: what the manifest says is left of the adapters, tensor by tensor; None where it does not say.

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
