"""Serves the page until it is closed or interrupted, and opens the browser."""

from __future__ import annotations

import errno
import secrets
import socket
import sys
import threading
import webbrowser
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import InputError
from edgeproof.demo.asking.models import shown_names
from edgeproof.demo.serving.application import application
from edgeproof.demo.serving.server import Server
from edgeproof.eval.report.sanitize import inert

if TYPE_CHECKING:
    from edgeproof.demo.show import Show

LOOPBACK = "127.0.0.1"
NAMES = (LOOPBACK, "localhost", "[::1]")
"""Names of this machine's own address."""
LONGEST_WARNING = 2000
"""Characters shown of a warning: it names the pack's strings, and is longer than one of them."""


def serve(show: Show, *, host: str = LOOPBACK, port: int = 0, browser: bool = True) -> None:
    """Serve until the last page is closed; `KeyboardInterrupt` where a signal ends it. All processes end with it.

    Args:
        show: what to show.
        host: the address to listen on.
        port: 0 takes a free one.
        browser: open the page.

    Raises:
        InputError: the port is taken, or the address is none of this machine's.

    """
    listening = _listen(host, port)
    token = secrets.token_urlsafe(18)
    here = listening.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{LOOPBACK if host == '0.0.0.0' else shown}:{here}/{token}/"  # noqa: S104 (told apart, not bound)
    _say(show, address, host)
    if browser:
        threading.Thread(target=_open, args=(address,), daemon=True).start()
    server = Server(application(show, token=token, hosts=NAMES if host in NAMES else ("*",)), show)
    try:
        show.warm()
        server.run(sockets=[listening])
    finally:
        show.close()
    if server.interrupted:
        raise KeyboardInterrupt
    sys.stderr.write("The page was closed: the demo has ended.\n")


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        taken = error.errno == errno.EADDRINUSE
        raise InputError(
            f"cannot serve on {host}, port {port}: {'the port is taken' if taken else error.strerror}",
            next_step="choose another --port, or leave it out: then a free one is taken"
            if taken
            else "choose another --host or --port",
        ) from error
    return listening


def _say(show: Show, address: str, host: str) -> None:
    sys.stderr.writelines(f"Warning: {inert(warning, LONGEST_WARNING)}\n" for warning in show.warnings)
    who = "this machine only" if host in NAMES else "everybody who can reach this machine and has the address"
    names, pack = ", ".join(inert(name) for name in shown_names(show.models).values()), inert(show.pack.name)
    sys.stderr.write(
        f"The demo of {names}:\n\n  {address}\n\n"
        f"Served to {who}.\n"
        f"The page shows questions and answers of the pack '{pack}'; none of them is written to disk.\n"
        "It ends when the page is closed, or with Ctrl-C.\n"
    )
    sys.stderr.flush()


def _open(address: str) -> None:
    try:
        opened = webbrowser.open(address)
    except webbrowser.Error:
        opened = False
    if not opened:
        sys.stderr.write("No browser could be opened here: open the address above yourself.\n")
        sys.stderr.flush()
