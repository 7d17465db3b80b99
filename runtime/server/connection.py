"""JSON over one HTTP connection: time and size limits, no redirects, no proxies.

Errors never quote requests or answers, since both contain probes.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from edgeproof.contracts.errors import BackendError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_BODY = 2**28
"""Maximum size of an answer, in bytes: the log-probabilities of a whole vocabulary of 256,000 tokens are 25 MB."""

PART = 2**16
DEFAULT_PATIENCE = 240.0
"""Time limit of one answer, in seconds; less than the parent's limit, so that this error is raised first."""


class Address(NamedTuple):
    """A server: "http" or "https", host, port, and a prefix of all paths ("" or "/prefix")."""

    scheme: str
    host: str
    port: int
    prefix: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.prefix}"


def parse_address(url: str) -> Address:
    """Parse a server's URL.

    Raises:
        UsageError: it is not an http(s) URL, or has a user, a password, a query or a fragment.

    """
    refused = UsageError(
        "the server's URL must be like http://192.168.1.20:8080: scheme, host, port and nothing secret",
        next_step="give it behind --backend http",
    )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise refused from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise refused
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise refused
    prefix = parts.path.rstrip("/")
    return Address(parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80), prefix)


class Reply(NamedTuple):
    """An answer: the status, and the JSON value; None without a body, or if the status is not 200."""

    status: int
    value: object


class Connection:
    """Connection to one server, for one request at a time.

    Args:
        address: the server.
        patience: time limit of an answer, from the first byte sent to the last one read, in seconds.
        beat: called when parts of an answer arrive; may raise to stop.

    """

    def __init__(self, address: Address, *, patience: float, beat: Callable[[], None]) -> None:
        self.address, self._patience, self._beat = address, patience, beat
        self._deadline = 0.0
        self._used = False
        # Neither follows a redirect nor looks for a proxy in the environment: probes go to this host and no other.
        if address.scheme == "https":
            context = ssl.create_default_context()
            self._http: http.client.HTTPConnection = http.client.HTTPSConnection(
                address.host, address.port, context=context
            )
        else:
            self._http = http.client.HTTPConnection(address.host, address.port)

    def close(self) -> None:
        """Close the connection; repeated calls have no effect, and the next request opens another."""
        self._http.close()
        self._used = False

    def get(self, path: str) -> Reply:
        """Get `path`; any status other than a redirect is returned."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: Mapping[str, object]) -> Reply:
        """Post `body` to `path`; any status other than a redirect is returned."""
        return self._ask("POST", path, json.dumps(body, ensure_ascii=True, allow_nan=False).encode("ascii"))

    def answer(self, path: str, body: Mapping[str, object]) -> dict[str, object]:
        """Post `body` to `path` and return the JSON object of the answer.

        Raises:
            BackendError: as for all requests; or the status is not 200, or the answer is not a JSON object.

        """
        reply = self.post(path, body)
        if reply.status != http.client.OK:
            raise self._refused(path, reply)
        return as_table(reply.value, f"{path} of {self.address}")

    def _refused(self, path: str, reply: Reply) -> BackendError:
        steps = {
            401: "start it without an API key for the time of the gate",
            403: "start it without an API key for the time of the gate",
            404: "give the URL of the server itself, without the path of an interface",
            503: "wait until it has loaded its model",
        }
        return BackendError(
            f"{self.address} answered {path} with status {reply.status} ({_reason(reply.status)})",
            next_step=steps.get(reply.status, "read the server's own log"),
        )

    def _ask(self, method: str, path: str, body: bytes | None) -> Reply:
        self._deadline = time.monotonic() + self._patience
        try:
            try:
                return self._once(method, path, body)
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                if not self._used:
                    raise
                # A server may close a connection that waits for the next request; asking twice changes nothing there.
                self.close()
                return self._once(method, path, body)
        except TimeoutError:
            raise self._failed(
                path, f"gave no whole answer within {self._patience:g} s", "look whether it still computes"
            ) from None
        except ConnectionRefusedError:
            raise self._failed(path, "is not there: nothing listens on that port", "start the server") from None
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, http.client.IncompleteRead):
            raise self._failed(path, "closed the connection before its answer was whole", "read its log") from None
        except http.client.HTTPException as error:
            raise self._failed(
                path, f"does not speak HTTP ({type(error).__name__})", "give the URL of a completion server"
            ) from None
        except OSError as error:
            raise self._failed(
                path, f"cannot be reached: {error.strerror or type(error).__name__}", "check host, port and network"
            ) from None
        except BaseException:
            self.close()  # stopped within an answer: the rest of it must not be taken for the next one
            raise

    def _failed(self, path: str, what: str, next_step: str) -> BackendError:
        self.close()
        return BackendError(f"{self.address} {what} (asked for {path})", next_step=next_step)

    def _once(self, method: str, path: str, body: bytes | None) -> Reply:
        self._limit()
        headers = {"Accept": "application/json"} | ({} if body is None else {"Content-Type": "application/json"})
        self._http.request(method, self.address.prefix + path, body, headers)
        response = self._http.getresponse()
        self._used = True
        if http.client.MULTIPLE_CHOICES <= response.status < http.client.BAD_REQUEST:
            target = urlsplit(response.getheader("Location") or "")
            raise self._failed(
                path,
                f"sends on to {target.scheme}://{target.netloc}" if target.netloc else "redirects",
                "give the URL of the server itself: probes are sent nowhere else",
            )
        content = self._read(response, path)
        if response.status != http.client.OK:
            return Reply(response.status, None)
        kind = (response.getheader("Content-Type") or "nothing named").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise self._failed(
                path, f"answered with {kind[:40]!r}, not with JSON", "give the URL of a completion server"
            )
        return Reply(response.status, self._parsed(content, path))

    def _read(self, response: http.client.HTTPResponse, path: str) -> bytes:
        """Read the body in parts, so that the time limit also holds for a slow trickle."""
        parts, size = [], 0
        while True:
            self._limit()
            part = response.read1(PART)
            if not part:
                break
            parts.append(part)
            size += len(part)
            if size > MAX_BODY:
                raise self._failed(path, f"sent more than {MAX_BODY:,} bytes", "give the URL of a completion server")
            self._beat()
        if response.length:  # what Content-Length said is still to come
            raise http.client.IncompleteRead(b"", response.length)
        response.read()  # nothing: it lets go of the connection
        return b"".join(parts)

    def _limit(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._http.timeout = left
        if self._http.sock is not None:
            self._http.sock.settimeout(left)

    def _parsed(self, content: bytes, path: str) -> object:
        def refuse(name: str) -> object:
            raise ValueError(name)

        try:
            return json.loads(content, parse_constant=refuse)
        except (ValueError, RecursionError) as error:
            what = "with NaN or an infinite number" if str(error) in _CONSTANTS else "with JSON that cannot be read"
            raise self._failed(path, f"answered {what} ({len(content):,} bytes)", "read the server's log") from None


_CONSTANTS = {"NaN", "Infinity", "-Infinity"}


def as_table(value: object, where: str) -> dict[str, object]:
    """Return `value` if it is a JSON object; else raise a `BackendError` that names `where`."""
    if not isinstance(value, dict):
        raise BackendError(f"{where} gave no JSON object", next_step="give the URL of a completion server")
    return value


def _reason(status: int) -> str:
    return http.client.responses.get(status, "no known status")
