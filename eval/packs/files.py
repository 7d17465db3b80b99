"""Files of a pack: a folder, or an age-encrypted file that is opened in memory only.

```
folder/      pack.toml, forget.jsonl, …
pack.age     tar -C folder -cf - . | age -r age1… -o pack.age
```
Files and folders whose names begin with a dot are not part of a pack, at any level. Of the others, those named in
pack.toml are read, and all are part of `PackFiles.digest`.
"""

from __future__ import annotations

import functools
import hashlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple, Protocol

from edgeproof.contracts.errors import PackError, UnsupportedError
from edgeproof.contracts.parsing import read_file
from edgeproof.eval.digests import digest_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

MAX_FILE_BYTES = 256 * 2**20
"""Maximum size of a probe file; a larger one is a corpus, not a pack."""
MAX_ENCRYPTED_BYTES = 512 * 2**20
"""Maximum size of an encrypted pack, which is held in memory twice while it is opened."""
MAX_MEMBERS = 1_000

POLICY = "policy.toml"
"""Name of a policy that lies in a pack's folder."""

_AGE = (b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----")
_HOW = "tar -C PACK -cf - . | age -r RECIPIENT -o pack.age"


class PackFile(NamedTuple):
    """A file of a pack: its path inside the pack, and a function that returns its bytes."""

    path: str
    read: Callable[[], bytes]

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self.path).name

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.path).stem


def plain_file(path: Path) -> PackFile:
    """Wrap a file outside of any pack as a `PackFile`."""
    return PackFile(path.name, functools.partial(read_file, path))


class PackFiles(Protocol):
    """All files of a pack."""

    def find(self, name: str) -> PackFile | None:
        """Return the file at that path; None if missing. A path that leads outside raises `PackError`."""

    def digest(self) -> str:
        """Return the sha256 of sha256sum's listing of the files, sorted by path; equal for folder and archive."""


def policy_beside(pack: Path, *, encrypted: bool) -> Path:
    """Return the path of a pack's own policy: in its folder, or beside its encrypted file."""
    return pack.with_name(f"{pack.name.removesuffix('.age')}.{POLICY}") if encrypted else pack / POLICY


def open_pack(path: Path, identity: str | None = None) -> PackFiles:
    """Open a pack's folder, or an age-encrypted file.

    Args:
        path: the folder or the file.
        identity: age's secret keys, as age-keygen writes them: one AGE-SECRET-KEY-… a line, # for comments.

    Raises:
        PackError: `path` is neither; the key is missing or wrong, the file is damaged, or the archive is not a pack.
        UnsupportedError: the library for encrypted packs is not installed.

    """
    if path.is_dir():
        return FolderFiles(path)
    if not path.is_file():
        raise PackError(
            f"{path}: no such folder or file", next_step="give the folder that holds pack.toml, or an encrypted pack"
        )
    try:
        size = path.stat().st_size
        if size > MAX_ENCRYPTED_BYTES:
            raise PackError(f"{path}: {size} bytes; an encrypted pack has at most {MAX_ENCRYPTED_BYTES}")
        content = path.read_bytes()
    except OSError as error:
        raise PackError(f"{path} cannot be read: {error.strerror or error}", next_step="check the path") from error
    return ArchiveFiles(_members(_decrypted(content, path.name, identity), path.name))


@dataclass(frozen=True)
class FolderFiles:
    """A pack in a folder."""

    folder: Path

    def find(self, name: str) -> PackFile | None:
        """Return the file at that path; links are followed if they stay inside."""
        root = self.folder.resolve()
        try:
            path = (root / name).resolve()
        except RuntimeError:  # a link to itself
            return None
        if not path.is_relative_to(root):
            raise PackError(f"{name!r} leads outside the pack's folder", next_step="copy the file into the pack")
        return PackFile(path.relative_to(root).as_posix(), path.read_bytes) if path.is_file() else None

    def digest(self) -> str:
        """Return the sha256 over all files that are not hidden."""
        inside = ((file.relative_to(self.folder).as_posix(), file) for file in self.folder.rglob("*") if file.is_file())
        return _digest((name, digest_bytes(file)) for name, file in inside if not is_hidden(name))


@dataclass(frozen=True)
class ArchiveFiles:
    """A decrypted pack: bytes by path."""

    members: Mapping[str, bytes]

    def find(self, name: str) -> PackFile | None:
        """Return the file at that path."""
        plain = PurePosixPath(name)
        if plain.is_absolute() or ".." in plain.parts:
            raise PackError(f"{name!r} leads outside the pack's folder", next_step="copy the file into the pack")
        content = self.members.get(plain.as_posix())
        return None if content is None else PackFile(plain.as_posix(), functools.partial(bytes, content))

    def digest(self) -> str:
        """Return the sha256 over all files that are not hidden."""
        return _digest((name, hashlib.sha256(content).hexdigest()) for name, content in self.members.items())


def is_hidden(name: str) -> bool:
    """Whether the name of the file, or of a folder in its path, begins with a dot."""
    return any(part.startswith(".") for part in name.split("/") if part not in {".", ".."})


def read_identity(text: str, where: str) -> str:
    """Check that `text` holds age's secret keys, and return it; `where` names its source in errors.

    Raises:
        PackError: it holds none, or something else.

    """
    keys = _keys(text)
    if not keys or not all(key.startswith("AGE-SECRET-KEY-") for key in keys):
        raise PackError(
            f"{where} holds no age identity (lines that begin with AGE-SECRET-KEY-)",
            next_step="give the file that `age-keygen` wrote, or its content",
        )
    return text


def _keys(text: str) -> list[str]:
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _decrypted(content: bytes, name: str, identity: str | None) -> bytes:
    """Decrypt an age file, binary or armoured."""
    if not content.lstrip().startswith(_AGE):
        raise PackError(
            f"{name} is neither a pack's folder nor encrypted with age", next_step=f"make one: {_HOW} (docs/packs.md)"
        )
    try:
        import pyrage
    except ImportError as error:
        raise UnsupportedError(
            f"{name} is encrypted, and the library that opens it is not installed",
            next_step="pip install 'edgeproof[encrypted]'",
        ) from error
    if identity is None:
        raise PackError(
            f"{name} is encrypted, and there is no key for it",
            next_step="give the identity with --pack-key FILE, or in the environment variable EDGEPROOF_PACK_KEY",
        )
    try:
        identities = [pyrage.x25519.Identity.from_str(key) for key in _keys(identity)]
    except pyrage.IdentityError as error:
        raise PackError(
            f"the key for {name} is not an age identity of the kind X25519: {error}",
            next_step="give the file that `age-keygen` wrote; other kinds of keys are not supported",
        ) from error
    try:
        return bytes(pyrage.decrypt(content, identities))
    except pyrage.DecryptError as error:
        raise PackError(
            f"{name} cannot be decrypted: {error}. It is encrypted to another key, or damaged",
            next_step="check the key, and copy the file again",
        ) from error


def _members(content: bytes, name: str) -> dict[str, bytes]:
    """Read a tar archive of regular files and folders; anything else is refused, and nothing is written."""
    members: dict[str, bytes] = {}
    try:
        # "r:" refuses compression, so the content is never larger than the decrypted file.
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for count, member in enumerate(archive):
                where = f"{name}, {member.name[:120]!r}"
                if count >= MAX_MEMBERS:
                    raise PackError(f"{name} holds more than {MAX_MEMBERS} files", next_step=_AGAIN)
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse():
                    raise PackError(f"{where} is a link, a device or a file with holes", next_step=_AGAIN)
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in member.name:
                    raise PackError(f"{where} leads outside the pack", next_step=_AGAIN)
                if is_hidden(path.as_posix()):
                    continue
                if path.as_posix() in members:
                    raise PackError(f"{where} appears twice in the archive", next_step=_AGAIN)
                file = archive.extractfile(member)
                members[path.as_posix()] = found = b"" if file is None else file.read()
                if len(found) != member.size:
                    raise PackError(f"{where} has {len(found)} of its {member.size} bytes", next_step=_AGAIN)
    except (tarfile.TarError, ValueError, OSError, EOFError, OverflowError) as error:
        raise PackError(f"{name} was decrypted, but is not a tar archive: {error}", next_step=_AGAIN) from error
    return _without_top(members)


_AGAIN = f"create it from the pack's folder: {_HOW}"


def _without_top(members: dict[str, bytes]) -> dict[str, bytes]:
    """Strip the single top folder, if the pack was archived with it."""
    if "pack.toml" in members:
        return members
    tops = {PurePosixPath(path).parts[0] for path in members}
    if len(tops) != 1 or f"{min(tops)}/pack.toml" not in members:
        return members
    return {path.partition("/")[2]: content for path, content in members.items()}


def _digest(files: Iterator[tuple[str, str]] | Sequence[tuple[str, str]]) -> str:
    listing = "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(files))
    return hashlib.sha256(listing.encode(errors="surrogateescape")).hexdigest()
