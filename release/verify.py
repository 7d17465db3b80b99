"""Verifies a report against the gated files, and judges its recorded scores again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from edgeproof.contracts.errors import ArtifactError, EvidenceError, InputError
from edgeproof.contracts.parsing import parse_json
from edgeproof.contracts.progress import Silent
from edgeproof.release.steps.arguments import as_artifact, as_path, as_paths, pack_identity
from edgeproof.release.steps.judging.waivers import holding, read_signed_waiver
from edgeproof.release.steps.rows import refuse_other_row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgeproof.contracts.progress import Progress
    from edgeproof.eval.verification.recompute import ArtifactDigests
    from edgeproof.eval.verification.verify import Verified
    from edgeproof.release.steps.arguments import StrPath

_Content = TypeVar("_Content")
_Found = TypeVar("_Found")


def verify(
    report: StrPath,
    *,
    artifact: StrPath,
    lora: StrPath | None = None,
    probes: StrPath,
    pack_key: StrPath | None = None,
    baseline: StrPath,
    policy: StrPath | None = None,
    key: StrPath | None = None,
    policy_sha256: str | None = None,
    baseline_key: StrPath | None = None,
    waiver: StrPath | None = None,
    waiver_key: StrPath | None = None,
    accept_waivers: bool = False,
    row: StrPath | None = None,
    evaluation: StrPath | Sequence[StrPath] = (),
    require_pass: bool = False,
    progress: Progress | None = None,
) -> Verified:
    """Check a report against what was gated, and judge its recorded scores again.

    Args:
        report: report.json or its folder.
        artifact: the file or folder that was gated.
        lora: the GGUF LoRA that was gated with it.
        probes: the pack that it was gated with.
        pack_key: the age identity for an encrypted pack; by default what EDGEPROOF_PACK_KEY holds.
        baseline: the baseline of that gate.
        policy: the policy of that gate; the defaults if it had none.
        key: also check the report's signature: an ed25519 public key in PEM.
        policy_sha256: refuse any other policy.
        baseline_key: a public key; refuse a baseline without its signature.
        waiver: a waiver of this very file, to be held against the verdict; one that does not hold is ignored with a
            warning.
        waiver_key: the public key of whoever may waive; `waiver` needs it.
        accept_waivers: with `require_pass`, accept a verdict that the waiver covers.
        row: also check that this row, as `table` writes it, is that of the report.
        evaluation: files of `evaluate` whose metrics the row has.
        require_pass: refuse a report whose verdict is not PASS.
        progress: receives warnings; by default nothing is shown.

    Raises:
        EvidenceError: something differs, and what; or the verdict is not the one required.
        EdgeproofError: a file is missing or damaged.

    """
    from edgeproof.eval.attestation import check_baseline_signature
    from edgeproof.eval.digests import digest_bytes
    from edgeproof.eval.packs.files import open_pack
    from edgeproof.eval.verdict.policy import Policy, read_policy, refuse_other_policy
    from edgeproof.eval.verification.recompute import Inputs
    from edgeproof.eval.verification.verify import verify as verify_report

    baseline, policy = Path(baseline), as_path(policy)
    if policy_sha256 is not None:
        refuse_other_policy(Policy() if policy is None else read_policy(policy), policy, policy_sha256)
    if baseline_key is not None:
        check_baseline_signature(baseline, Path(baseline_key))
    listener = progress or Silent()
    given = read_signed_waiver(as_path(waiver), as_path(waiver_key), listener, accept=accept_waivers)
    inputs = Inputs(Path(probes), baseline, policy, pack_identity(as_path(pack_key)))
    found = verify_report(Path(report), _digests(as_artifact(artifact), as_path(lora)), inputs, public_key=as_path(key))
    if given is not None:
        waived = holding(
            given,
            found.judgement,
            pack=open_pack(inputs.pack, inputs.identity).digest(),
            baseline=digest_bytes(baseline),
            today=datetime.now(UTC).date(),
            progress=listener,
        )
        found = replace(found, waived=waived, accepted=waived is not None and accept_waivers)
    if row is not None:
        refuse_other_row(Path(report), Path(row), as_paths(evaluation))
    if require_pass:
        refuse_unless_pass(found)
    return found


def statement(found: Verified) -> str:
    """Say what holds and what the verdict is, sanitized for a terminal."""
    from edgeproof.contracts.backend import NOT_PROVED
    from edgeproof.eval.report.sanitize import inert

    signature = "valid" if found.signed else "not checked (--key)"
    backend = found.judgement.backend
    missing = backend.get(NOT_PROVED)
    served = "" if missing is None else (
        f"The numbers came through an engine elsewhere ({inert(backend.get('through', ''), 200)}). NOT PROVED: "
        f"{inert(missing, 500)}.\n"
    )  # fmt: skip
    mark, waived = "", ""
    if found.waived is not None:
        mark, waived = ", waived", f"\n{inert(found.waived.words, 1200)}"
    elif found.said_waived is not None:
        waived = (
            f"\nThe report adds: {inert(found.said_waived.words, 1200)}. That waiver was not checked here "
            "(--waiver, --waiver-key)."
        )
    return (
        "The report holds: artifact, pack, baseline and policy are those that were gated, and its scores give its "
        f"verdict. Signature: {signature}.\n{served}{found.verdict}{mark}: {found.reason}. "
        f"{inert(found.summary, 2000)}{waived}"
    )


def refuse_unless_pass(found: Verified) -> None:
    """Raise `EvidenceError` where a report that holds is neither PASS nor waived with the caller's consent."""
    if found.verdict != "PASS" and not found.accepted:
        raise EvidenceError(
            f"the report holds, and its verdict is {found.verdict}: {found.reason}",
            next_step="publish nothing on it; gate again once the cause is mended",
        )


def _digests(artifact: Path, lora: Path | None) -> ArtifactDigests:
    """Hash the artifact as the gate does, and see what it is."""
    from edgeproof.eval.baselines.sources import read_sources
    from edgeproof.eval.report.survival import read_survival
    from edgeproof.eval.report.training import read_training
    from edgeproof.eval.verification.recompute import ArtifactDigests
    from edgeproof.export.artifact.kind import identify_format, rounds_activations
    from edgeproof.export.artifact.manifest import digest_file, manifest_path
    from edgeproof.release.steps.files.digests import digest_whole
    from edgeproof.runtime import original_context
    from edgeproof.runtime.onnxruntime.graph import embedding_type
    from edgeproof.runtime.prompt_digest import folder_prompt_digest, gguf_prompt_digest

    paths = (artifact,) if lora is None else (artifact, lora)
    whole = digest_whole(paths)
    manifest = manifest_path(artifact)
    form, rounds, original = None, False, None
    prompt, embedding, unreadable = None, None, None
    try:
        form, rounds, original = identify_format(artifact), rounds_activations(artifact), original_context(artifact)
        if artifact.is_dir():
            prompt, embedding = folder_prompt_digest(artifact), embedding_type(artifact)
        else:
            prompt = gguf_prompt_digest(artifact)
    except ArtifactError as error:
        unreadable = error.message
    contents = [_manifest(manifest_path(path)) for path in paths]
    return ArtifactDigests(
        sha256=whole.sha256,
        files=whole.files,
        bytes=whole.bytes,
        manifest_sha256=digest_file(manifest).sha256 if manifest.is_file() else None,
        survival=_read(read_survival, contents[0]),
        format=form,
        rounds=rounds,
        original_context=original,
        prompt_digest=prompt,
        sources=_read(read_sources, contents),
        largest=whole.largest,
        training=_read(read_training, contents) or (),
        embedding=embedding,
        unreadable=unreadable,
    )


def _manifest(path: Path) -> dict[str, object] | None:
    try:
        content = parse_json(path.read_bytes()) if path.is_file() else None
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _read(read: Callable[[_Content], _Found | None], content: _Content) -> _Found | None:
    """Read a part of a manifest; one that is damaged differs by its digest."""
    try:
        return read(content)
    except InputError:
        return None
