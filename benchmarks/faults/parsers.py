"""The parsers that this project wrote, each as a function of bytes, for coverage-guided fuzzing and its corpus.

Each takes any bytes, and returns or raises an `EdgeproofError`; anything else is a defect.
"""

from __future__ import annotations

import io
from functools import partial
from typing import TYPE_CHECKING, Any

from edgeproof.contracts.backend import Score
from edgeproof.contracts.chat import template_accepts
from edgeproof.contracts.errors import ArtifactError
from edgeproof.contracts.gguf_header import read_header
from edgeproof.contracts.progress import no_beat
from edgeproof.eval.baselines.file import load_baselines
from edgeproof.eval.packs.reader import load_pack
from edgeproof.eval.report.read import has_its_digest, read_report
from edgeproof.eval.verdict.policy import read_policy
from edgeproof.export.adapter.config import read_config
from edgeproof.export.artifact.manifest import read_provenance
from edgeproof.export.base.checkpoint import open_checkpoint
from edgeproof.export.tokenizer.definition import read_definition
from edgeproof.export.tokenizer.metadata import tokenizer_metadata
from edgeproof.runtime.probe.program import Program
from edgeproof.runtime.probe.score import read_score
from edgeproof.runtime.process import packing, wire
from edgeproof.runtime.server.connection import Connection, as_table, parse_address

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PACK = """schema = 1
name = "p"
licence = "CC0"
[[set]]
role = "forget"
file = "forget.jsonl"
format = "jsonl"
"""
PROBE = b'{"id": "p1", "cluster": "c1", "question": "The answer is", "answer": "x"}\n'
CHAT = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"})
MOST_MESSAGES = 100


def _header(folder: Path, data: bytes) -> None:
    read_header(_file(folder, "x.gguf", data), ArtifactError)


def _template(_folder: Path, data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    template_accepts(text, CHAT, bos_token="<s>", eos_token="</s>")  # noqa: S106 (no password)


def _tokenizer(folder: Path, data: bytes) -> None:
    _file(folder, "tokenizer.json", data)
    read_definition(folder)
    tokenizer_metadata(folder, {"vocab_size": 1000})


def _checkpoint(folder: Path, data: bytes) -> None:
    """config.json, a line break, a safetensors file."""
    config, _, weights = data.partition(b"\n")
    _file(folder, "config.json", config)
    _file(folder, "model.safetensors", weights)
    checkpoint = open_checkpoint(folder)
    for name, tensor in checkpoint.tensors.items():
        checkpoint.rows(name, 0, tensor.rows)


def _pack(folder: Path, data: bytes) -> None:
    _file(folder, "pack.toml", data)
    _file(folder, "forget.jsonl", PROBE)
    load_pack(folder)


def _probes(folder: Path, data: bytes) -> None:
    _file(folder, "pack.toml", PACK.encode())
    _file(folder, "forget.jsonl", data)
    load_pack(folder)


def _report(folder: Path, data: bytes) -> None:
    content, _ = read_report(_file(folder, "report.json", data))
    has_its_digest(content)


def _manifest(folder: Path, data: bytes) -> None:
    _file(folder, "x.gguf.edge.json", data)
    read_provenance(folder / "x.gguf", "0" * 64)


def _adapter(folder: Path, data: bytes) -> None:
    _file(folder, "adapter_config.json", data)
    read_config(folder)


def _messages(_folder: Path, data: bytes) -> None:
    """What a child process sends."""
    stream, left = io.BytesIO(data), MOST_MESSAGES
    while left and (message := wire.receive(stream)) is not None:
        left -= 1
        if message.kind == "scores":
            _unpacked(partial(packing.unpack_scores, message))


def _unpacked(unpack: Callable[[], Any]) -> None:
    """Arrays that do not fit each other are the child's own, and no input."""
    try:
        assert all(isinstance(score, Score) for score in unpack())
    except (ValueError, TypeError):
        return


class _Said(Program):
    """A probe program that said one line."""

    def __init__(self, line: bytes) -> None:
        self._said = line

    def _line(self) -> bytes:
        return self._said


def _probe_line(_folder: Path, data: bytes) -> None:
    read_score(_Said(data + b"\n").receive(), 3)


class _Socket:
    """A connected socket whose other side has sent `data`, and reads everything."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: object, **__: object) -> io.BufferedReader:
        return io.BufferedReader(io.BytesIO(self._data))  # type: ignore[arg-type]

    def _taken(self, *_: object) -> None:
        """Take it."""

    sendall = settimeout = close = shutdown = _taken


def _reply(_folder: Path, data: bytes) -> None:
    """What a server sends, its status and headers too."""
    connection = Connection(parse_address("http://127.0.0.1:9"), patience=5, beat=no_beat)
    connection._http.connect = lambda: setattr(connection._http, "sock", _Socket(data))  # type: ignore[method-assign]  # noqa: SLF001
    try:
        reply = connection.post("/completion", {"prompt": "x"})
        if reply.status == 200:
            read_score(as_table(reply.value, "it"), 3, full=False)
    finally:
        connection._http.sock = None  # noqa: SLF001
        connection.close()


PARSERS: dict[str, Callable[[Path, bytes], None]] = {
    "adapter": _adapter,
    "baseline": lambda folder, data: load_baselines(_file(folder, "baseline.json", data)) and None,
    "checkpoint": _checkpoint,
    "gguf": _header,
    "manifest": _manifest,
    "messages": _messages,
    "pack": _pack,
    "policy": lambda folder, data: read_policy(_file(folder, "policy.toml", data)) and None,
    "probe-line": _probe_line,
    "probes": _probes,
    "reply": _reply,
    "report": _report,
    "template": _template,
    "tokenizer": _tokenizer,
}
"""By name, which is also that of the folder with its corpus."""


def _file(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).write_bytes(data)
    return folder / name
