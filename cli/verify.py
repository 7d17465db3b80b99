"""`export-edge verify`: is this report still true of these files, and do its scores give its verdict?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar

import click
from edgeproof.cli import options as opt
from edgeproof.contracts.errors import ArtifactError, EvidenceError, InputError
from edgeproof.contracts.parsing import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgeproof.eval.verify import ArtifactDigests

_Content = TypeVar("_Content")
_Found = TypeVar("_Found")


@click.command("verify")
@click.argument("report", type=opt.PATH)
@click.option("--artifact", type=opt.PATH, required=True, metavar="PATH", help="The file or folder that was gated.")
@click.option("--lora", type=opt.PATH, metavar="FILE", help="The GGUF LoRA that was gated with it.")
@click.option("--probes", type=opt.PATH, required=True, metavar="PACK", help="The pack that it was gated with.")
@opt.PACK_KEY
@click.option("--baseline", type=opt.PATH, required=True, metavar="FILE", help="The baseline of that gate.")
@click.option("--policy", type=opt.PATH, metavar="FILE", help="The policy of that gate; the defaults if it had none.")
@click.option("--key", type=opt.PATH, metavar="PUB", help="Also check the signature: an ed25519 public key in PEM.")
@opt.POLICY_SHA256
@opt.BASELINE_KEY
@click.option("--require-pass", is_flag=True, help="Refuse a report whose verdict is not PASS, before publishing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(
    report: Path,
    *,
    artifact: Path,
    lora: Path | None,
    probes: Path,
    pack_key: Path | None,
    baseline: Path,
    policy: Path | None,
    key: Path | None,
    policy_sha256: str | None,
    baseline_key: Path | None,
    require_pass: bool,
    as_json: bool,
) -> int:
    """Check REPORT (report.json or its folder) against what was gated, and judge its recorded scores again.

    Exit codes: 0 it holds, whatever its verdict is (with --require-pass: and it is PASS); 3 something differs, and
    what.
    """
    from edgeproof.eval.attestation import check_baseline_signature
    from edgeproof.eval.report.sanitize import inert
    from edgeproof.eval.verdict.policy import Policy, read_policy, refuse_other_policy
    from edgeproof.eval.verify import Inputs, verify

    if policy_sha256 is not None:
        refuse_other_policy(Policy() if policy is None else read_policy(policy), policy, policy_sha256)
    if baseline_key is not None:
        check_baseline_signature(baseline, baseline_key)
    found = verify(
        report, _digests(artifact, lora), Inputs(probes, baseline, policy, opt.pack_identity(pack_key)), public_key=key
    )
    signature = "valid" if found.signed else "not checked (--key)"
    click.echo(
        f"The report holds: artifact, pack, baseline and policy are those that were gated, and its scores give its "
        f"verdict. Signature: {signature}.\n{found.verdict}: {found.reason}. {inert(found.summary, 2000)}",
        err=True,
    )
    if require_pass and found.verdict != "PASS":
        raise EvidenceError(
            f"the report holds, and its verdict is {found.verdict}: {found.reason}",
            next_step="publish nothing on it; gate again once the cause is mended",
        )
    if as_json:
        verified = {"verified": True, "signature": "valid" if found.signed else None}
        click.echo(json.dumps(verified | {"verdict": found.verdict, "reason": found.reason, "summary": found.summary}))
    return 0


def _digests(artifact: Path, lora: Path | None) -> ArtifactDigests:
    """Hash the artifact as the gate does, and see what it is."""
    from edgeproof.cli.artifact import digest_whole
    from edgeproof.eval.baselines.sources import read_sources
    from edgeproof.eval.report.survival import read_survival
    from edgeproof.eval.verify import ArtifactDigests
    from edgeproof.export.artifact.kind import identify_format, rounds_activations
    from edgeproof.export.artifact.manifest import digest_file, manifest_path
    from edgeproof.runtime.prompt_digest import folder_prompt_digest, gguf_prompt_digest

    paths = (artifact,) if lora is None else (artifact, lora)
    whole = digest_whole(paths)
    manifest = manifest_path(artifact)
    try:
        form, rounds = identify_format(artifact), rounds_activations(artifact)
        prompt = folder_prompt_digest(artifact) if artifact.is_dir() else gguf_prompt_digest(artifact)
    except ArtifactError:
        form, rounds, prompt = None, False, None  # damaged: its digest tells
    contents = [_manifest(manifest_path(path)) for path in paths]
    return ArtifactDigests(
        sha256=whole.sha256,
        files=whole.files,
        manifest_sha256=digest_file(manifest).sha256 if manifest.is_file() else None,
        survival=_read(read_survival, contents[0]),
        format=form,
        rounds=rounds,
        prompt_digest=prompt,
        sources=_read(read_sources, contents),
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
