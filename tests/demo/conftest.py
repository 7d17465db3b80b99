"""A demo of tiny files in a process of its own, and a browser that hears of every request and every console line."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import edgeproof
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Files(NamedTuple):
    """What ships in two formats, the original, and what the gate said of the first."""

    shipped: tuple[Path, Path]
    original: Path
    report: Path


@pytest.fixture(scope="session")
def files(world, tmp_path_factory) -> Files:
    out = tmp_path_factory.mktemp("demo")
    formats = ["gguf-q8_0", "gguf-q4_0"]
    edgeproof.export(base=world.base, adapter=world.adapter, format=formats, out=out / "shipped", threads=1)
    edgeproof.export(base=world.base, format="gguf-q8_0", out=out / "original", threads=1)
    q8, q4 = out / "shipped" / "tiny-qwen3-unlearned-Q8_0.gguf", out / "shipped" / "tiny-qwen3-unlearned-Q4_0.gguf"
    report = out / "report" / q8.stem
    edgeproof.gate(q8, probes=world.pack, baseline=world.baseline, report=report, threads=1)
    return Files((q8, q4), out / "original" / "tiny-qwen3-Q8_0.gguf", report.parent)


LASTING = (
    "import sys\n"
    "from edgeproof.cli import main\n"
    "from edgeproof.demo import sessions\n"
    "sessions.BYE_SECONDS = sessions.SILENT_SECONDS = float('inf')\n"
    "main(sys.argv[1:])\n"
)
"""The command without its clock: a browser may take as long as it likes between two pages, and to load one again."""


class Demo:
    """`export-edge demo` in a process of its own; it outlives its last page, unless `ends_with_pages`."""

    def __init__(self, arguments: list[str], *, ends_with_pages: bool = False, **environment: str) -> None:
        program = ["-m", "edgeproof.cli"] if ends_with_pages else ["-c", LASTING]
        command = [sys.executable, "-P", *program, "demo", *arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment})
        self.said: list[str] = []
        self.address = ""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            found = re.search(r"http://\S+/", line)
            if found is not None:
                self.address = found[0]
            if "Ctrl-C" in line:
                break

    def ended(self) -> tuple[int, str]:
        """The exit code, and all that was said on stderr."""
        _, rest = self.process.communicate()
        return self.process.returncode, "".join(self.said) + rest

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def children(self) -> list[int]:
        """The processes that the demo has started, read from /proc: small machines have no `ps`."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                parent = int(path.read_bytes().rpartition(b")")[2].split()[1])
                found += [int(path.parent.name)] if parent == self.process.pid else []
        return found

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """One request to the demo, path behind the token."""
        where = urlsplit(self.address)
        connection = HTTPConnection(where.netloc)
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        connection.request(method, where.path + path, content)
        answer = connection.getresponse()
        with contextlib.closing(connection):
            return answer.status, answer.read()

    def events(self, **question: object) -> list[dict[str, object]]:
        """All that comes of a question."""
        status, content = self.ask("POST", "ask", question)
        assert status == 200
        return [json.loads(line) for line in content.splitlines()]


@pytest.fixture(scope="session")
def arguments(world, files) -> list[str]:
    probes = ["--probes", str(world.pack), "--baseline", str(world.baseline), "--threads", "1", "--no-browser"]
    return [*map(str, files.shipped), "--original", str(files.original), *probes]


@pytest.fixture(scope="module")
def demo(arguments, files) -> Iterator[Demo]:
    one = Demo([*arguments, "--report", str(files.report)])
    yield one
    one.interrupt()
    one.ended()


@pytest.fixture
def start() -> Iterator[Callable[[list[str]], Demo]]:
    """`start(arguments)`: a demo of a test's own, which ends after its pages."""
    started = []

    def begin(arguments: list[str]) -> Demo:
        started.append(Demo(arguments))
        return started[-1]

    yield begin
    for one in started:
        one.interrupt()
        one.ended()


def until(page, expression: str) -> None:
    """Wait until `expression` is true. The page's own policy forbids what playwright's `wait_for_function` does."""
    while not page.evaluate(expression):
        page.wait_for_timeout(20)


@pytest.fixture
def visit(chromium, start):  # noqa: ARG001 (pages are closed before their demo ends)
    """`visit(address)`: a page of its own; at the end nothing was said on the console or asked of another host."""
    opened = []

    def open_page(address: str, **options):
        context = chromium.new_context(**options)
        context.set_default_timeout(0)  # pytest's own limit ends what hangs
        page = context.new_page()
        said, asked = [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        opened.append((address, context, said, asked))
        page.goto(address)
        until(page, "document.querySelector('#question').value !== ''")
        return page

    yield open_page
    for address, context, said, asked in opened:
        context.close()
        assert said == []
        assert {urlsplit(url).netloc for url in asked} == {urlsplit(address).netloc}
