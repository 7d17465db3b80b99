"""Reads and checks the inputs of a gate before anything is measured: pack, baseline, policy and signing key."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from edgeproof.contracts.errors import UsageError
from edgeproof.release.steps.arguments import as_path, pack_identity

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from edgeproof.contracts.progress import Progress
    from edgeproof.eval.measurement import Baseline
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.verdict.policy import Policy
    from edgeproof.eval.waiver import Waiver


@dataclass(frozen=True)
class Judging:
    """The options of a gate, as `gate` documents them."""

    probes: Path
    baseline: Path
    pack_key: Path | None = None
    policy: Path | None = None
    policy_sha256: str | None = None
    baseline_key: Path | None = None
    report: Path | None = None
    backend: str | None = None
    engine: str | None = None
    job: Path | None = None
    sign: Path | None = None
    show_answers: bool = False
    waiver: Path | None = None
    waiver_key: Path | None = None
    accept_waivers: bool = False
    threads: int | None = None
    force: bool = False
    command: tuple[str, ...] = ()

    @classmethod
    def of(cls, given: Mapping[str, Any], command: tuple[str, ...]) -> Judging:
        """Take the options of a gate among a call's arguments by name; paths may be strings."""
        names = [field.name for field in fields(cls) if field.name in given]
        paths = {name: as_path(given[name]) for name in names if name in _PATHS}
        return cls(**{name: given[name] for name in names} | paths | {"command": command})


_PATHS = frozenset(
    {"probes", "baseline", "pack_key", "policy", "baseline_key", "report", "job", "sign", "waiver", "waiver_key"}
)


@dataclass(frozen=True)
class Criteria:
    """The inputs of a gate, read and checked.

    Attributes:
        judging: the options.
        pack: the probes.
        pack_files_sha256: digest of the pack's files.
        policy: the limits.
        policy_file_sha256: digest of their file; None for the defaults.
        baselines: by backend.
        baseline_sha256: digest of their file.
        signing_key: signs the reports; None where nothing is to be signed.
        waiver: whose signature holds; None without one.

    """

    judging: Judging
    pack: Pack
    pack_files_sha256: str
    policy: Policy
    policy_file_sha256: str | None
    baselines: Mapping[str, Baseline]
    baseline_sha256: str
    signing_key: Ed25519PrivateKey | None
    waiver: Waiver | None = None


def read_criteria(judging: Judging, progress: Progress) -> Criteria:
    """Read pack, policy and baseline; check the policy against its digest and the baseline against its signature.

    Raises:
        EdgeproofError: a file is missing or damaged, is not the one pinned, or changed while it was read.

    """
    from edgeproof.eval.baselines.file import load_baselines
    from edgeproof.eval.digests import digest_bytes
    from edgeproof.eval.packs.files import open_pack
    from edgeproof.eval.packs.reader import read_pack
    from edgeproof.eval.packs.surfaces import unasked
    from edgeproof.release.steps.files.changes import refuse_changed, states
    from edgeproof.release.steps.judging.policies import choose_policy
    from edgeproof.release.steps.judging.waivers import read_signed_waiver

    signing_key = _signing_key(judging)
    waiver = read_signed_waiver(judging.waiver, judging.waiver_key, progress, accept=judging.accept_waivers)
    files = open_pack(judging.probes, pack_identity(judging.pack_key))
    pack, pack_files_sha256 = read_pack(files, str(judging.probes)), files.digest()
    for warning in unasked(pack):
        progress.warn(warning)
    given = [path for path in (judging.baseline, judging.policy) if path is not None and path.exists()]
    before = states(given)
    policy = choose_policy(judging.policy, judging.probes, progress)
    check_pins(policy, judging.policy, judging.policy_sha256, judging.baseline, judging.baseline_key)
    baselines = load_baselines(judging.baseline)
    baseline_sha256 = digest_bytes(judging.baseline)
    policy_file_sha256 = None if judging.policy is None else digest_bytes(judging.policy)
    refuse_changed(given, before, done="read", again="gate")
    return Criteria(
        judging, pack, pack_files_sha256, policy, policy_file_sha256, baselines, baseline_sha256, signing_key, waiver
    )


def pack_texts(pack: Pack) -> tuple[str, ...]:
    """Every question and answer of a pack."""
    return tuple(text for probe in pack.probes for text in (probe.question, probe.answer))


def check_pins(
    policy: Policy, policy_file: Path | None, policy_sha256: str | None, baseline: Path, baseline_key: Path | None
) -> None:
    """Check the policy against `policy_sha256` and the baseline's signature against `baseline_key`, where given."""
    from edgeproof.eval.attestation import check_baseline_signature
    from edgeproof.eval.verdict.policy import refuse_other_policy

    if policy_sha256 is not None:
        refuse_other_policy(policy, policy_file, policy_sha256)
    if baseline_key is not None:
        check_baseline_signature(baseline, baseline_key)


def _signing_key(judging: Judging) -> Ed25519PrivateKey | None:
    if judging.sign is None:
        return None
    if judging.report is None:
        raise UsageError("--sign signs a report, and there is none", next_step="add --report DIR")
    from edgeproof.eval.attestation import read_private_key

    return read_private_key(judging.sign)
