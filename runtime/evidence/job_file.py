"""Reads a job file (docs/phone-job.md)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from edgeproof.contracts.errors import InputError
from edgeproof.contracts.parsing import parse_json, read_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VERSION = 1
KEY_BYTES = 32
SEALED = ("edgeproof_job", "id", "key")
"""The keys of a job beside its content."""


class Job(NamedTuple):
    """A job: its id, the key of its evidence, and its content (`eval.job.job`)."""

    id: str
    key: bytes
    content: Mapping[str, Any]

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The requests, in order; `id` is the place."""
        return list(self.content["requests"])


def identity(content: Mapping[str, Any], key: bytes) -> str:
    """Return the id of a job: 32 hexadecimal digits that follow from its content and key."""
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    return hashlib.sha256(key + text.encode()).hexdigest()[:32]


def read_job(path: Path) -> Job:
    """Read a job.

    Raises:
        InputError: it is missing, no job, of another version, or its id is not that of its content.

    """
    try:
        value = parse_json(read_file(path))
    except OSError as error:
        raise InputError(f"cannot read the job {path}: {error.strerror}", next_step="check the path") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise _damaged(path, "it is no JSON") from error
    if not isinstance(value, dict) or "edgeproof_job" not in value:
        raise _damaged(path, "it is no job")
    if value["edgeproof_job"] != VERSION:
        raise InputError(
            f"{path} is a job of version {value['edgeproof_job']}; this edgeproof reads version {VERSION}",
            next_step="judge with the edgeproof that wrote it",
        )
    try:
        key = base64.b64decode(value["key"], validate=True)
    except (KeyError, TypeError, binascii.Error) as error:
        raise _damaged(path, "it has no key") from error
    content = {name: one for name, one in value.items() if name not in SEALED}
    if len(key) != KEY_BYTES or value.get("id") != identity(content, key):
        raise _damaged(path, "its id is not that of its content")
    return Job(value["id"], key, content)


def _damaged(path: Path, what: str) -> InputError:
    return InputError(f"{path} is damaged: {what}", next_step="write it again with `export-edge phone job`")
