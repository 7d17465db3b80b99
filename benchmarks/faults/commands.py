"""The commands that system calls and signals are made to fail: what each reads, writes, and leaves when it succeeds."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import PurePath
from typing import TYPE_CHECKING, NamedTuple

from forked import Ending, Limits, in_a_fork
from ground import FILES, GGUF, ONNX, Ground, gate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Command(NamedTuple):
    """Its name, and its words for a case's folder, which it writes `out` in; `replaces` where old files are there."""

    name: str
    words: Callable[[Ground, Path], list[str]]
    replaces: bool = False


def _export(*forms: str, force: bool = False) -> Callable[[Ground, Path], list[str]]:
    def words(ground: Ground, folder: Path) -> list[str]:
        formats = [word for form in forms for word in ("--format", form)]
        inputs = ["--base", str(ground.base), "--adapter", str(ground.adapter), *formats]
        more = ["--threads", "1", "--quiet", *(["--force"] if force else [])]
        return [*inputs, "--out", str(folder / "out"), "--name", "it", *more]

    return words


def _baseline(ground: Ground, folder: Path) -> list[str]:
    inputs = ["--base", str(ground.base), "--adapter", str(ground.adapter), "--probes", str(ground.pack)]
    out = ["--out", str(folder / "out" / "baseline.json"), "--sign", str(ground.key)]
    return ["baseline", *inputs, "--format", GGUF, *out, "--threads", "1", "--quiet"]


def _gate(ground: Ground, folder: Path) -> list[str]:
    report = ["--report", str(folder / "out"), "--sign", str(ground.key)]
    return [*gate(ground, ground.released / FILES[GGUF]), *report]


def _gate_again(ground: Ground, folder: Path) -> list[str]:
    return [*_gate(ground, folder), "--force"]


def _verify(ground: Ground, _folder: Path) -> list[str]:
    where = ["--artifact", str(ground.released / FILES[GGUF]), "--probes", str(ground.pack)]
    judged = ["--baseline", str(ground.baseline), "--policy", str(ground.policy), "--key", str(ground.public)]
    return ["verify", str(ground.released / f"report-{FILES[GGUF]}"), *where, *judged]


def _unlearn(ground: Ground, folder: Path) -> list[str]:
    data = ["--forget", str(ground.pack / "forget.jsonl"), "--retain", str(ground.pack / "trained.jsonl")]
    recipe = [
        "--steps",
        "2",
        "--until-forget-nll",
        "never",
        "--batch-size",
        "4",
        "--rank",
        "2",
        "--surface",
        "raw",
        "--threads",
        "1",
    ]
    return ["unlearn", "--base", str(ground.base), *data, *recipe, "--out", str(folder / "out" / "adapter"), "--quiet"]


COMMANDS = (
    Command("export GGUF", _export(GGUF)),
    Command("export GGUF over old", _export(GGUF, force=True), replaces=True),
    Command("export ONNX", _export(ONNX)),
    Command("export both", _export(GGUF, ONNX)),
    Command("export both over old", _export(GGUF, ONNX, force=True), replaces=True),
    Command("baseline", _baseline),
    Command("gate", _gate),
    Command("gate over old", _gate_again, replaces=True),
    Command("verify", _verify),
)
UNLEARN = Command("unlearn", _unlearn)


def preload_torch() -> None:
    """Import what `unlearn` does, before the forks; after all other commands, which must do without."""
    import peft  # noqa: F401
    import torch
    import transformers  # noqa: F401

    torch.set_num_threads(1)


def call(words: list[str]) -> int:
    """Run a command as its program does, handlers of signals included."""
    from edgeproof.cli import main

    try:
        main(words)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 97


def ready(command: Command, ground: Ground, folder: Path, old: Path) -> list[str]:
    """Make the folder as it is before the command; return its words."""
    for name in ("out", "tmp", "home"):
        (folder / name).mkdir()
    if command.replaces:
        shutil.copytree(old / "out", folder / "out", dirs_exist_ok=True)
        for path in (folder / "out").rglob("*"):
            if path.suffix in {".gguf", ".data", ".html"}:
                path.write_bytes(path.read_bytes() + b"old")
    return command.words(ground, folder)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file that has a final name: no hidden ones."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    named = [path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    return {str(path.relative_to(folder)): path.read_bytes() for path in named}


def names(folder: Path) -> set[str]:
    """Every file and folder, hidden ones too."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def names_of(files: dict[str, bytes]) -> set[str]:
    """The names of files and of the folders that they are in."""
    return {str(part) for name in files for part in (PurePath(name), *PurePath(name).parents)}


def alike(command: Command, found: dict[str, bytes], whole: dict[str, bytes]) -> bool:
    """Whether these are the files that the command makes: exports to the byte, reports and adapters by their names."""
    if found.keys() != whole.keys():
        return False
    if command.name.startswith("export"):
        return all(found[name] == whole[name] for name in found if not name.endswith(".edge.json"))
    for name, content in found.items():
        if name.endswith(".json"):
            json.loads(content)
    return True


class Valid(NamedTuple):
    """What the command does when nothing fails: how it ended, how long it took, and what it left."""

    ending: Ending
    seconds: float
    whole: dict[str, bytes]
    folder: Path


def run_valid(command: Command, ground: Ground, folder: Path, before: Callable[[], object] = bool) -> Valid:
    """Run the command once in `folder`, and keep what it makes; where it replaces, old files are made first.

    `before` is called just before it runs.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if command.replaces:
        first = next(other for other in COMMANDS if other.name == command.name.removesuffix(" over old"))
        _old(first, ground, folder)
        words = command.words(ground, folder)
    else:
        words = ready(command, ground, folder, folder)
    before()
    began = time.monotonic()
    ending = in_a_fork(lambda: call(words), folder, Limits(processor=200))
    if ending.code:
        raise SystemExit(f"{command.name} ends with {ending.code} when nothing fails:\n{ending.said}")
    return Valid(ending, time.monotonic() - began, contents(folder / "out"), folder)


def _old(command: Command, ground: Ground, folder: Path) -> None:
    words = ready(command, ground, folder, folder)
    ending = in_a_fork(lambda: call(words), folder, Limits(processor=200))
    assert ending.code == 0, ending.said
