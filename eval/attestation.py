"""Attestations: verdicts and baselines as in-toto Statements in a DSSE envelope, signed with ed25519.

A verdict is a test-result statement. Its subjects are the artifact's files; its predicate names pack, baseline and
policy as the configuration, and, under "edgeproof_reports", the digests of its reports.
Specifications: in-toto Statement v1, test-result v0.1 (github.com/in-toto/attestation), DSSE 1.0
(github.com/secure-systems-lab/dsse).
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, cast

from edgeproof.contracts.advice import command
from edgeproof.contracts.backend import NOT_PROVED
from edgeproof.contracts.errors import EvidenceError, InputError, UnsupportedError
from edgeproof.contracts.packages import missing_packages
from edgeproof.contracts.parsing import read_file
from edgeproof.eval.measurement import Verdict
from edgeproof.eval.verdict.judgement import ControlStatus, Status

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from edgeproof.eval.measurement import Baseline, ModelSource
    from edgeproof.eval.report.context import ReportContext, Waived
    from edgeproof.eval.verdict.judgement import Judgement

ATTESTATION = "attestation.dsse.json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
BASELINE_SUFFIX = ".dsse.json"
BASELINE_TYPE = "urn:edgeproof:baseline:v1"
"""Statement type of a baseline, so that a report's signature by the same key is not valid for it."""
_MAKE = "make one: openssl genpkey -algorithm ed25519 -out gate.pem && openssl pkey -in gate.pem -pubout -out gate.pub"


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Read an ed25519 key in PEM (PKCS 8), without a passphrase.

    Raises:
        InputError: the file is missing or not PEM, or holds another kind of key or one with a passphrase.
        UnsupportedError: the extra [sign] is not installed.

    """
    _need_extra()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InputError(f"{path} is not a PEM private key without a passphrase: {error}", next_step=_MAKE) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{path} holds a key of another kind than ed25519", next_step=_MAKE)
    return key


def statement(judgement: Judgement, context: ReportContext, reports: Mapping[str, str]) -> dict[str, object]:
    """Return the statement; `reports` are names and sha256 of its reports.

    Only PASS is PASSED: a verifier that accepts WARNED would let an INCONCLUSIVE release through. Numbers that came
    through a server are named under "edgeproof_server", with what is not proved of its file.
    """
    statuses = {criterion.name: criterion.status for criterion in judgement.criteria}
    failed = [criterion.name for criterion in judgement.criteria if criterion.unmet]
    passed = [name for name, status in statuses.items() if status == Status.MET and name not in failed]
    for control in judgement.controls:
        if control.status == ControlStatus.HOLDS:
            passed.append(f"control-{control.name}")
        elif control.unmet:
            failed.append(f"control-{control.name}")
    if judgement.precise is not None:
        (passed if judgement.precise.verdict == Verdict.PASS else failed).append("precise")
    known = {*passed, *failed}
    names = [*statuses, *(f"control-{control.name}" for control in judgement.controls)]
    configuration = [
        _resource("pack", judgement.pack_digest),
        _resource("pack, as files", context.pack_files_sha256),
        _resource("baseline", context.baseline_sha256),
        _resource("policy", judgement.policy.digest),
    ]
    if context.policy_file_sha256 is not None:
        configuration.append(_resource("policy, as a file", context.policy_file_sha256))
    backend = judgement.backend
    server = (
        {"through": backend.get("through", ""), "not_proved": backend[NOT_PROVED]} if NOT_PROVED in backend else None
    )
    return {
        "_type": STATEMENT_TYPE,
        "subject": [_resource(name, sha256) for name, sha256 in context.artifact_files],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "result": "PASSED" if judgement.verdict == Verdict.PASS else "FAILED",
            "configuration": configuration,
            "passedTests": passed,
            "warnedTests": [name for name in names if name not in known],
            "failedTests": failed,
            "edgeproof_verdict": str(judgement.verdict),
            "edgeproof_reason": str(judgement.reason),
            "edgeproof_reports": [_resource(name, sha256) for name, sha256 in reports.items()],
            **({} if server is None else {"edgeproof_server": server}),
            **({} if context.waived is None else {"edgeproof_waived": _waived(context.waived)}),
        },
    }


def _waived(waived: Waived) -> dict[str, object]:
    return {"role": waived.role, "reason": waived.reason, "until": waived.until, "sha256": waived.sha256}


def baseline_statement(name: str, content: bytes, baseline: Baseline) -> dict[str, object]:
    """Return the statement on a baseline file: its digest, the pack, and the sources of its models."""
    sources = baseline.sources
    models: list[tuple[str, ModelSource]] = []
    if sources is not None:
        models = [("base", sources.base), *(("adapter", one) for one in sources.adapters)]
        models += [] if sources.unlearned is None else [("unlearned", sources.unlearned)]
    return {
        "_type": STATEMENT_TYPE,
        "subject": [_resource(name, hashlib.sha256(content).hexdigest())],
        "predicateType": BASELINE_TYPE,
        "predicate": {
            "pack": _resource(baseline.pack_name, baseline.pack_digest),
            "sources": [{"kind": kind, **_resource(one.name, one.sha256)} for kind, one in models],
        },
    }


def signature_path(baseline: Path) -> Path:
    """Return the path of a baseline's signature, beside it."""
    return baseline.with_name(baseline.name + BASELINE_SUFFIX)


def check_baseline_signature(path: Path, public_key: Path) -> None:
    """Check the signature beside the baseline at `path` with this key.

    Raises:
        EvidenceError: there is no signature, or it is not by this key over this file.
        InputError: the public key or the baseline cannot be read.
        UnsupportedError: the extra [sign] is not installed.

    """
    envelope = signature_path(path)
    step = f"use the signed baseline, or record it again: {command('baseline-signed')}"
    if not envelope.is_file():
        raise EvidenceError(f"there is no {envelope.name} beside the baseline {path}", next_step=step)
    try:
        signed = read_signed(envelope, public_key)
    except EvidenceError as error:
        raise EvidenceError(error.message, next_step=step) from error
    digest = hashlib.sha256(_read(path)).hexdigest()
    subjects = signed.get("subject")
    named = [item.get("digest") for item in subjects if isinstance(item, dict)] if isinstance(subjects, list) else []
    if signed.get("predicateType") != BASELINE_TYPE or named != [{"sha256": digest}]:
        raise EvidenceError(
            f"{envelope.name} is not a signature of the present {path.name} (sha256 {digest})", next_step=step
        )


def sign(content: Mapping[str, object], key: Ed25519PrivateKey) -> bytes:
    """Return the signed envelope as JSON. The same statement and key give the same bytes."""
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner

    envelope = Envelope(_encode(content), PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner(key))
    return _encode(envelope.to_dict())


def read_signed(path: Path, public_key: Path) -> dict[str, Any]:
    """Check an envelope's signature and encoding, and return its statement.

    Raises:
        EvidenceError: the envelope is damaged, encoded differently from `sign`, or not signed with this key.
        InputError: the public key cannot be read or is not an ed25519 key in PEM.
        UnsupportedError: the extra [sign] is not installed.

    """
    _need_extra()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import FormatError, VerificationError
    from securesystemslib.signer import SSlibKey

    try:
        key = load_pem_public_key(_read(public_key))
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InputError(f"{public_key} is not a public key in PEM: {error}", next_step=_MAKE) from error
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"{public_key} holds a key of another kind than ed25519", next_step=_MAKE)
    content = _read(path)
    try:
        envelope = Envelope.from_dict(json.loads(content))
        canonical = _encode(envelope.to_dict()) == content
        envelope.verify([SSlibKey.from_crypto(key)], 1)
        signed = json.loads(envelope.payload)
        canonical = canonical and _encode(signed) == envelope.payload
    except VerificationError as error:
        raise EvidenceError(f"{path.name}: the signature is not that of this key over this content") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, FormatError) as error:
        raise EvidenceError(f"{path.name} is damaged: {type(error).__name__} {error}") from error
    if envelope.payload_type != PAYLOAD_TYPE or len(envelope.signatures) != 1 or not canonical:
        raise EvidenceError(f"{path.name} does not have the gate's encoding: it was changed")
    return cast("dict[str, Any]", signed)


def _encode(content: Mapping[str, object]) -> bytes:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii")


def _resource(name: str, sha256: str) -> dict[str, object]:
    return {"name": name, "digest": {"sha256": sha256}}


def _read(path: Path) -> bytes:
    try:
        return read_file(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", next_step="check the path") from error


def _need_extra() -> None:
    missing = missing_packages("securesystemslib", "cryptography")
    if missing:
        raise UnsupportedError(
            f"signatures need {' and '.join(missing)}, not installed here", next_step="pip install 'edgeproof[sign]'"
        )
