"""Encryption of a pack's files with age, in memory."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import InputError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def seal(files: Mapping[str, bytes], recipients: Sequence[str]) -> bytes:
    """Return an age file of the files' tar archive, which each of `recipients` (age1…) can open.

    The archive's bytes depend on the files alone; those of the age file differ each time, as age demands.

    Raises:
        InputError: a recipient is no age public key.
        UnsupportedError: the library is not installed.

    """
    try:
        import pyrage
    except ImportError as error:
        raise UnsupportedError(
            "the library that encrypts packs is not installed", next_step="pip install 'edgeproof[encrypted]'"
        ) from error
    try:
        keys = [pyrage.x25519.Recipient.from_str(key) for key in recipients]
    except pyrage.RecipientError as error:
        raise InputError(
            f"--encrypt-to is not an age public key: {error}",
            next_step="give what `age-keygen` prints as public key (age1…); never the secret key",
        ) from error
    return bytes(pyrage.encrypt(archive(files), keys))


def archive(files: Mapping[str, bytes]) -> bytes:
    """Return an uncompressed tar archive of the files, without times and owners."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as out:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            out.addfile(member, io.BytesIO(data))
    return content.getvalue()
