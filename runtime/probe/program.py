"""The probe as a process: one JSON object a line in, one a line out. Every value that comes is checked."""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import ArtifactError, BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LAST_WORDS = 400
WAIT_SECONDS = 1.0
MAX_LINE = 2**24
EXIT_SECONDS = 5.0
AGAIN = "run again; report it if it comes back"


def no_reason(_status: int) -> str:
    """Know nothing of why a program ended."""
    return ""


class Program:
    """A running probe. `close` ends it.

    Args:
        command: the program, with what runs it (an emulator, `adb shell`) in front.
        patience: seconds that one line may take.
        beat: called while a line is waited for; may raise to stop.
        reason: told the exit status of a program that died; says why in words, or "".

    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        patience: float,
        beat: Callable[[], None],
        reason: Callable[[int], str] = no_reason,
    ) -> None:
        self._patience, self._beat, self._reason = patience, beat, reason
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        try:
            self._process = subprocess.Popen(
                list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log
            )
        except OSError as error:
            self._log.close()
            raise BackendError(
                f"cannot start the probe {command[0]}: {error.strerror}", next_step="build it, or check its path"
            ) from error

    def close(self) -> None:
        """End it; doing it twice does no harm."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None and not stream.closed:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue

    def ask(self, line: Mapping[str, object]) -> dict[str, object]:
        """Send one line and return the one that answers it."""
        self.send(line)
        return self.receive()

    def send(self, line: Mapping[str, object]) -> None:
        """Send one line."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(line, ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ConnectionError):
            self.receive()  # raises what it said before it ended
            raise self._died() from None

    def receive(self) -> dict[str, object]:
        """Wait for the next line.

        Raises:
            ArtifactError: the probe says that it cannot load the model.
            BackendError: it died, or gave no line in time, or one that is none; or it says what it could not do.

        """
        text = self._line()
        try:
            value = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise BackendError(f"the probe sent a line of {len(text)} bytes that is no JSON object", next_step=AGAIN)
        if "error" in value:
            what = str(value["error"])[:LAST_WORDS]
            kind = ArtifactError if "load the model" in what else BackendError
            raise kind(f"the probe: {what}", next_step="" if kind is ArtifactError else AGAIN)
        return value

    def _line(self) -> bytes:
        found: list[bytes] = []

        def read() -> None:
            assert self._process.stdout is not None
            found.append(self._process.stdout.readline(MAX_LINE))

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        waited = 0.0
        while reader.is_alive():
            reader.join(WAIT_SECONDS)
            self._beat()
            waited += WAIT_SECONDS
            if reader.is_alive() and waited >= self._patience:
                self.close()
                raise BackendError(f"the probe gave no answer within {self._patience:g} s", next_step=AGAIN)
        line = found[0] if found else b""
        if not line.endswith(b"\n"):
            raise self._died()
        return line

    def _died(self) -> BackendError:
        try:
            status = self._process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            return BackendError("the probe closed its output but goes on", next_step=AGAIN)
        self._log.seek(0)
        words = " | ".join(filter(None, self._log.read().decode("utf-8", "replace").split("\n")))[-LAST_WORDS:]
        why = self._reason(status) or f"it ended with {status}; its last words: {words or 'none'}"
        return BackendError(
            f"the probe ended in the middle of its work: {why}",
            next_step="mend that, and run the same command again: it goes on where it stopped",
        )


def _refuse(name: str) -> object:
    raise ValueError(name)
