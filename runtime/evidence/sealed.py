"""Opens the evidence of a device: the header in clear, the answers sealed with the job's key.

```
{"edgeproof_evidence": 1, "job": ID, "artifact_sha256": …, "device": …, "engine": …, "usage": …, "app": …}
{"part": 0, "sealed": base64(nonce, AES-256-GCM)}      additional data: version, ID, part, sha256 of the header's line
{"end": true, "parts": n, "answers": n, "verdict": …, "counts": …}
```
Every error says what is wrong with which part, and holds no text of an answer.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

from edgeproof.contracts.errors import EvidenceError, InputError, UnsupportedError
from edgeproof.contracts.packages import missing_packages
from edgeproof.contracts.parsing import parse_json, read_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeproof.runtime.evidence.job_file import Job

VERSION = 1
NONCE, TAG = 12, 16
SUMMARY = ("answers", "verdict", "counts")
AGAIN = "run the job again on the device, and copy its evidence whole"


class Opened(NamedTuple):
    """Evidence of a job: what the device says of itself, its answers by request, and what it says of them."""

    header: Mapping[str, Any]
    answers: Mapping[int, Mapping[str, Any]]
    summary: Mapping[str, Any]


def open_evidence(path: Path, job: Job) -> Opened:
    """Decrypt the evidence at `path` with the key of `job`, and check that it is whole.

    Raises:
        InputError: it cannot be read.
        EvidenceError: it is no evidence, of another job, altered, or not whole.
        UnsupportedError: the package for decryption is not installed.

    """
    if missing_packages("cryptography"):
        raise UnsupportedError(
            "evidence is sealed, and cryptography is missing", next_step="pip install edgeproof[sign]"
        )
    try:
        lines = read_file(path).split(b"\n")
    except OSError as error:
        raise InputError(f"cannot read the evidence {path}: {error.strerror}", next_step="check the path") from error
    if lines.pop() != b"" or not lines:
        raise _wrong("it is cut short")
    header = _object(lines[0], "its first line")
    if header.get("edgeproof_evidence") != VERSION:
        raise _wrong(f"its first line names no evidence of version {VERSION}")
    if header.get("job") != job.id:
        raise EvidenceError(
            f"the evidence is of another job than {job.id}", next_step="give the job that the device was given"
        )
    end = _object(lines[-1], "its last line")
    if end.get("end") is not True:
        raise _wrong("it is cut short")
    if end.get("parts") != len(lines) - 2:
        raise _wrong(f"it has {len(lines) - 2} parts, its last line says {end.get('parts')!s:.20}")
    bound = f"edgeproof evidence {VERSION}\n{job.id}\n{{}}\n{hashlib.sha256(lines[0]).hexdigest()}"
    plain = b"".join(_open(line, part, job.key, bound) for part, line in enumerate(lines[1:-1]))
    *said, last = plain.split(b"\n")
    if last != b"" or not said:
        raise _wrong("its sealed part is cut short")
    summary = _object(said.pop(), "its sealed summary")
    if {name: end.get(name) for name in SUMMARY} != summary:
        raise _wrong("its last line says other than what is sealed")
    if summary.get("answers") != len(said):
        raise _wrong(f"it has {len(said)} answers where {summary.get('answers')!s:.20} were given")
    return Opened(header, _answers(said, len(job.requests)), summary)


def _open(line: bytes, part: int, key: bytes, bound: str) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    value = _object(line, f"part {part}")
    if value.get("part") != part:
        raise _wrong(f"part {part} is not in its place")
    try:
        sealed = base64.b64decode(value["sealed"], validate=True)
        if len(sealed) < NONCE + TAG:
            raise _wrong(f"part {part} is too short")
        return AESGCM(key).decrypt(sealed[:NONCE], sealed[NONCE:], bound.format(part).encode())
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise _wrong(f"part {part} is not base64") from error
    except InvalidTag as error:
        raise _wrong(f"part {part}, or the first line, was altered or is sealed with another key") from error


def _answers(lines: list[bytes], requests: int) -> dict[int, Mapping[str, Any]]:
    found: dict[int, Mapping[str, Any]] = {}
    for place, line in enumerate(lines):
        answer = _object(line, f"answer {place}")
        number = answer.get("id")
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < requests:
            raise _wrong(f"answer {place} is to no request of the job")
        if number in found:
            raise _wrong(f"request {number} is answered twice")
        found[number] = answer
    return found


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        value = parse_json(line)
    except ValueError as error:
        raise _wrong(f"{where} is no JSON") from error
    if not isinstance(value, dict):
        raise _wrong(f"{where} is no JSON object")
    return value


def _wrong(what: str) -> EvidenceError:
    return EvidenceError(f"the evidence does not hold: {what}", next_step=AGAIN)
