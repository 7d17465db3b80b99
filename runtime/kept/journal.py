"""Journal of answers: an authenticated, append-only file that only the same run can read back.

```
edgeproof answers 2 ORIGIN        what gives the answers: sha256 of artifact, pack, engine, … (the caller's)
KEY ANSWER MAC                    one line an answer
```
KEY is HMAC-SHA256(secret, request), so that the file names no prompt. ANSWER is base64 of numbers and tokens, which are
texts in other words, XOR SHAKE-256(secret, ORIGIN · KEY): one origin gives a request one answer, so that no part of
that stream hides two. MAC is HMAC-SHA256(secret, ORIGIN · KEY · ANSWER). Without the secret, lines can be removed, but
none can be read or made.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import stat
import threading
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import OutputError
from edgeproof.contracts.locks import is_at, try_lock

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "edgeproof answers 2 "
ANY_HEAD = b"edgeproof answers "
PRIVATE = 0o600


def is_journal(path: Path) -> bool:
    """Whether the file at `path` is a journal, of this version or an earlier one; `OSError` if it cannot be read."""
    with path.open("rb") as file:
        return stat.S_ISREG(os.fstat(file.fileno()).st_mode) and file.read(len(ANY_HEAD)) == ANY_HEAD


class HeldError(OutputError):
    """Another process has the journal open."""


class Journal:
    """The answers of one model, in a file that its owner alone can read. Thread-safe.

    Args:
        path: the file, made where it is missing; its folder exists.
        origin: what gives the answers; a journal of another origin is emptied.
        secret: authenticates the lines.

    Attributes:
        taken_up: number of answers found.
        ignored: why answers found in the file were dropped; empty where none were.

    Raises:
        HeldError: another run has it.
        OutputError: the file cannot be opened or written, or is not private.

    """

    def __init__(self, path: Path, origin: str, secret: bytes) -> None:
        self._path, self._origin, self._secret = path, origin, secret
        self._lock = threading.Lock()
        self._answers: dict[str, bytes] = {}
        self.ignored = ""
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0), PRIVATE)
        except OSError as error:
            raise self._failed("opened", error) from error
        try:
            self._refuse_shared()
            self._read()
        except OSError as error:
            self.close()
            raise self._failed("read", error) from error
        except BaseException:
            self.close()
            raise
        self.taken_up = len(self._answers)

    def find(self, request: bytes) -> bytes | None:
        """Return the answer to a request; None where there is none."""
        with self._lock:
            return self._answers.get(self._key(request))

    def keep(self, request: bytes, answer: bytes) -> None:
        """Append an answer, once."""
        key = self._key(request)
        with self._lock:
            if key in self._answers:
                return
            self._answers[key] = answer
            hidden = base64.b64encode(self._hidden(key, answer)).decode()
            try:
                self._write(f"{key} {hidden} {self._mac(key, hidden)}\n")
            except OSError as error:
                raise self._failed("written", error) from error

    def close(self) -> None:
        """Close the file, which stays; repeated calls have no effect."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _read(self) -> None:
        """Read the answers; cut off a last line that is torn, and everything where any other line does not fit."""
        content = b""
        while part := os.read(self._file, 1 << 20):
            content += part
        whole = content[: content.rfind(b"\n") + 1]
        first, *lines = whole.decode("ascii", "replace").split("\n")[:-1] or [""]
        if whole and first != HEAD + self._origin:
            self.ignored = "they are of another run"
        for number, line in enumerate(() if self.ignored else lines, start=2):
            key, _, rest = line.partition(" ")
            answer, _, mac = rest.partition(" ")
            if not hmac.compare_digest(mac.encode(), self._mac(key, answer).encode()):
                self.ignored = f"line {number} of {len(lines) + 1} was not written by such a run"
                break
            self._answers[key] = self._hidden(key, base64.b64decode(answer))
        if self.ignored:
            self._answers.clear()
            whole = b""
        os.ftruncate(self._file, len(whole))
        if not whole:
            self._write(f"{HEAD}{self._origin}\n")

    def _refuse_shared(self) -> None:
        found = os.fstat(self._file)
        own = not hasattr(os, "geteuid") or found.st_uid == os.geteuid()
        if not own or not stat.S_ISREG(found.st_mode) or stat.S_IMODE(found.st_mode) & 0o077:
            raise OutputError(
                f"{self._path} would keep answers, and is not this user's private file "
                f"(owner {found.st_uid}, mode {stat.S_IMODE(found.st_mode):o})",
                next_step=f"remove it: rm {self._path}",
            )
        if try_lock(self._file) is False or not is_at(self._file, self._path):
            raise HeldError(f"another run keeps its answers in {self._path}")

    def _write(self, line: str) -> None:
        data = line.encode("ascii")
        while data:
            data = data[os.write(self._file, data) :]

    def _key(self, request: bytes) -> str:
        return hmac.new(self._secret, b"request\0" + request, hashlib.sha256).hexdigest()

    def _mac(self, key: str, answer: str) -> str:
        text = f"answer\0{self._origin}\0{key}\0{answer}".encode()
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()

    def _hidden(self, key: str, answer: bytes) -> bytes:
        """Hide an answer, or show a hidden one."""
        stream = hashlib.shake_256(self._secret + f"\0answer\0{self._origin}\0{key}".encode()).digest(len(answer))
        return bytes(one ^ other for one, other in zip(answer, stream, strict=True))

    def _failed(self, done: str, error: OSError) -> OutputError:
        return OutputError(
            f"the answers kept in {self._path} cannot be {done}: {error.strerror or error}",
            next_step="free the disk, or name another folder for them: EDGEPROOF_ANSWERS=DIR",
        )
