"""Hostile inputs: devices and folders in the place of files, templates that loop, names of a megabyte, code beside
weights. Each ends in a clear error, or in a right result, in bounded time and memory, and nothing of it is executed."""

from __future__ import annotations

import json
import os
import pickle
import socket
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import commands as c
import inputs as m
from forked import Limits, in_a_fork
from ground import FILES, GGUF, ONNX, Ground
from mutations import preload
from outcome import JUDGED, MEBIBYTE, REFUSED, RIGHT, Outcome, Usual, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMITS = Limits(processor=60, clock=120, memory=2**30)
USUAL = Usual(5, 256 * MEBIBYTE)
"""What a refusal may need: seconds and bytes, well above the valid cases."""
MEGABYTE = "n" * 2**20
LOOP = "{% for i in range(99999) %}"
TEMPLATES = {
    "nested loops": LOOP * 3 + "x" + "{% endfor %}" * 3,
    "recursion": "{% macro m(n) %}{{ m(n) }}{{ m(n) }}{% endmacro %}{{ m(1) }}",
    "growth": "{% set n = namespace(x='x') %}" + LOOP + "{% set n.x = n.x ~ n.x %}{% endfor %}",
    "a huge text": "{{ 'x' * 10**10 }}",
    "Python's internals": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "a command": "{{ cycler.__init__.__globals__.os.popen('touch executed').read() }}",
    "a file": "{% include '/etc/passwd' %}",
}

Case = tuple[str, int, "Callable[[Path], tuple[Outcome, str]]"]


class Executed:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch executed",)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the names of sockets are short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(here)


SPECIAL: dict[str, Callable[[Path], object]] = {
    "a socket": _socket,
    "/dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "a folder": lambda path: path.mkdir(),
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "an empty file": lambda path: path.touch(),
    "nothing": lambda _: None,
    "a named pipe": os.mkfifo,
}


def cases(ground: Ground, _work: Path, wanted: Callable[[str, int], bool]) -> Iterator[Case]:
    """Each special file in the place of each input, then what is made by hand."""
    preload()
    for made in m.inputs(ground):
        for number, what in enumerate(SPECIAL):
            if wanted(f"special files: {made.name}", number):
                yield f"special files: {made.name}", number, partial(_special, made, what)
    by_hand = {
        "templates": [partial(_template, ground, text, name) for name, text in TEMPLATES.items()],
        "names of a megabyte": [partial(_long_name, ground, which) for which in range(6)],
        "a million pieces": [partial(_pieces, ground, rows) for rows in (False, True)],
        "code": [partial(_code, ground, which) for which in range(4)],
        "paths out of the folder": [partial(_outside, ground, which) for which in range(4)],
    }
    for kind, runs in by_hand.items():
        for number, run in enumerate(runs):
            if wanted(kind, number):
                yield kind, number, run


def _ended(words: list[str], folder: Path, what: str) -> tuple[Outcome, str]:
    ending = in_a_fork(partial(c.call, words), folder, LIMITS)
    found = refusal(ending, USUAL, frozenset())
    if list(folder.rglob("executed")):
        return Outcome("wrote or ran something outside", "a command of the input was executed"), what
    return found or Outcome(JUDGED, f"{ending.code}: {ending.said.strip()[-200:]}"), what


def _special(made: m.Input, what: str, folder: Path) -> tuple[Outcome, str]:
    laid = made.lay(folder)
    SPECIAL[what](laid.file)
    outcome, _ = _ended(laid.command, folder, what)
    if outcome.name == JUDGED and not outcome.detail.startswith("0"):
        return outcome, what
    name = made.name.split(",")[0]
    if outcome.name == JUDGED and (name in MAY_BE_MISSING or (name, what) == ("policy", "an empty file")):
        return Outcome(RIGHT, outcome.detail), what
    if outcome.name == JUDGED:
        outcome = Outcome("wrong pass", f"{what} is taken for {made.name}: {outcome.detail}")
    return outcome, what


MAY_BE_MISSING = {
    "manifest", "chat_template.jinja", f"generation_config.json → {GGUF}", f"generation_config.json → {ONNX}",
    f"tokenizer_config.json → {GGUF}",
}  # fmt: skip
"""Files without which a command may succeed; what is no plain file counts as missing."""


def _changed(ground: Ground, folder: Path, name: str, content: bytes) -> list[str]:
    laid = m.from_base(ground, ground.base, name, GGUF, folder)
    laid.file.write_bytes(content)
    return laid.command


def _template(ground: Ground, text: str, name: str, folder: Path) -> tuple[Outcome, str]:
    return _ended(_changed(ground, folder, "chat_template.jinja", text.encode()), folder, name)


def _json(path: Path, **changes: object) -> bytes:
    return json.dumps(json.loads(path.read_bytes()) | changes).encode()


def _long_name(ground: Ground, which: int, folder: Path) -> tuple[Outcome, str]:
    """A megabyte in the place of a name."""
    weights = (ground.base / "model.safetensors").read_bytes()
    header = json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])
    header[MEGABYTE] = header.pop(next(name for name in header if name != "__metadata__"))
    text = json.dumps(header).encode()
    data = weights[8 + int.from_bytes(weights[:8], "little") :]
    jsonl = (ground.pack / "forget.jsonl").read_text().splitlines()
    row = json.loads(jsonl[0])
    index = json.dumps({"weight_map": {"lm_head.weight": MEGABYTE}})
    if which == 0:
        words = _changed(ground, folder, "model.safetensors", len(text).to_bytes(8, "little") + text + data)
    elif which == 1:
        words = _changed(ground, folder, "config.json", _json(ground.base / "config.json", model_type=MEGABYTE))
    elif which == 2:
        laid = m.from_base(ground, ground.sharded, "model.safetensors.index.json", GGUF, folder)
        laid.file.write_text(index)
        words = laid.command
    elif which == 3:
        laid = m.from_adapter(ground, "adapter_config.json", folder)
        laid.file.write_bytes(_json(ground.adapter / "adapter_config.json", target_modules=[MEGABYTE]))
        words = laid.command
    else:
        laid = m.criterion(ground, ground.released, "forget.jsonl", (), folder)
        changes = {"id": MEGABYTE} if which == 4 else {"question": MEGABYTE}
        laid.file.write_text("\n".join([json.dumps(row | changes), *jsonl[1:]]))
        words = laid.command
    return _ended(words, folder, ("tensor", "model_type", "shard", "module", "probe", "question")[which])


def _pieces(ground: Ground, rows: bool, folder: Path) -> tuple[Outcome, str]:  # noqa: FBT001
    """A tokenizer of a million tokens for a model of some hundred, and a config that claims as many."""
    content = json.loads((ground.base / "tokenizer.json").read_bytes())
    vocabulary = content["model"]["vocab"]
    vocabulary |= {f"<{number}>": number for number in range(len(vocabulary), 10**6)}
    words = _changed(ground, folder, "tokenizer.json", json.dumps(content).encode())
    if rows:
        config = folder / "in" / ground.base.name / "config.json"
        config.write_bytes(_json(ground.base / "config.json", vocab_size=10**6))
    return _ended(words, folder, "and as many rows claimed" if rows else "")


def _code(ground: Ground, which: int, folder: Path) -> tuple[Outcome, str]:
    """Code in the folder of a model or an adapter."""
    code = b"import os; os.system('touch executed')"
    automatic = {"auto_map": {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}}
    if which == 0:
        words = _changed(ground, folder, "config.json", _json(ground.base / "config.json", **automatic))
    elif which == 1:
        words = _changed(
            ground, folder, "tokenizer_config.json", _json(ground.base / "tokenizer_config.json", **automatic)
        )
    elif which == 2:
        words = _changed(ground, folder, "model.safetensors", pickle.dumps(Executed()))
        (folder / "in" / ground.base.name / "model.safetensors").rename(
            folder / "in" / ground.base.name / "pytorch_model.bin"
        )
    else:
        laid = m.from_adapter(ground, "adapter_model.safetensors", folder)
        laid.file.with_suffix(".bin").write_bytes(pickle.dumps(Executed()))
        words = laid.command
    for place in (folder / "in", folder / "in" / ground.base.name, folder):
        if place.is_dir():
            (place / "code.py").write_bytes(code)
            (place / "sitecustomize.py").write_bytes(code)
    return _ended(words, folder, ("auto_map", "auto_map of the tokenizer", "a pickle", "a pickled adapter")[which])


def _outside(ground: Ground, which: int, folder: Path) -> tuple[Outcome, str]:
    """Names of files that lead out of the folder that holds them."""
    secret = folder / "secret"
    secret.write_bytes((ground.base / "model.safetensors").read_bytes())
    if which == 0:
        laid = m.from_base(ground, ground.sharded, "model.safetensors.index.json", GGUF, folder)
        content = json.loads((ground.sharded / "model.safetensors.index.json").read_bytes())
        laid.file.write_text(json.dumps(content | {"weight_map": dict.fromkeys(content["weight_map"], "../../secret")}))
    elif which == 1:
        laid = m.artifact_of(ground, ground.released, "genai_config.json", folder)
        content = json.loads((ground.released / FILES[ONNX] / "genai_config.json").read_bytes())
        content["model"]["decoder"]["filename"] = "../secret"
        laid.file.write_text(json.dumps(content))
    elif which == 2:
        import onnx

        laid = m.artifact_of(ground, ground.released, "model.onnx", folder)
        graph = onnx.load(str(ground.released / FILES[ONNX] / "model.onnx"), load_external_data=False)
        for tensor in graph.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = "../secret"
        laid.file.write_bytes(graph.SerializeToString())
    else:
        laid = m.criterion(ground, ground.released, "pack.toml", (), folder)
        text = (ground.pack / "pack.toml").read_text()
        laid.file.write_text(text.replace('"forget.jsonl"', '"../../secret"'))
    outcome, what = _ended(laid.command, folder, ("a shard", "genai_config", "external data", "a pack's file")[which])
    if outcome.name != REFUSED and outcome.detail.startswith("0"):
        return Outcome("wrong pass", outcome.detail), what
    return outcome, what
