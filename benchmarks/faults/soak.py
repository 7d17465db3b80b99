"""A soak: a thousand exports and gates in one process; memory, open files, processes and temporary files stay flat."""

from __future__ import annotations

import json
import shutil
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from forked import Limits, in_a_fork
from ground import FILES, GGUF, ONNX, Ground
from mutations import preload
from outcome import MEBIBYTE, RIGHT, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUNDS = 1000
POINTS = 10
"""States that are noted, at even distances; caches are full at the first."""
GROWTH = 2 * MEBIBYTE
"""Memory that the rounds after the first point may add: fragments, and what 1,000 rounds must not exceed either."""

Case = tuple[str, int, "Callable[[Path], tuple[Outcome, str]]"]


def cases(ground: Ground, _work: Path, wanted: Callable[[str, int], bool]) -> Iterator[Case]:
    """A case for exports and one for gates: each takes minutes."""
    preload()
    for kind, work in {"exports": _export, "gates": _gate}.items():
        if wanted(kind, ROUNDS):
            yield kind, ROUNDS, partial(_soak, ground, work, ROUNDS)


def _export(ground: Ground, folder: Path) -> None:
    import edgeproof

    out = folder / "out"
    edgeproof.export(base=ground.base, adapter=ground.adapter, format=[GGUF, ONNX], out=out, threads=1)
    shutil.rmtree(out)


def _gate(ground: Ground, folder: Path) -> None:
    import edgeproof

    result = edgeproof.gate(
        ground.released / FILES[GGUF],
        probes=ground.pack,
        baseline=ground.baseline,
        policy=ground.policy,
        report=folder / "report",
        threads=1,
    )
    assert result.verdict == "PASS", result.summary
    shutil.rmtree(folder / "report")


def _soak(ground: Ground, work: Callable[[Ground, Path], None], rounds: int, folder: Path) -> tuple[Outcome, str]:
    limits = Limits(processor=3600, clock=6 * 3600)
    ending = in_a_fork(partial(_rounds, ground, work, rounds, folder), folder, limits)
    if ending.code:
        return Outcome("crash", f"{ending.code}: {ending.said[-300:]}"), ""
    states = json.loads((folder / "states").read_text())
    warm, last = states[0], states[-1]
    memory = ", ".join(f"{state['memory'] / MEBIBYTE:.1f}" for state in states)
    said = f"MiB after each {rounds // POINTS} rounds: {memory}; at last {last}"
    if last["memory"] - warm["memory"] > GROWTH:
        return Outcome("too much memory", said), ""
    grown = [key for key in ("files", "threads", "children", "temporary") if last[key] > warm[key]]
    return Outcome("left something", f"{grown}: {said}") if grown else Outcome(RIGHT, said), ""


def _rounds(ground: Ground, work: Callable[[Ground, Path], None], rounds: int, folder: Path) -> int:
    states = []
    for number in range(1, rounds + 1):
        work(ground, folder)
        if number % (rounds // POINTS) == 0:
            states.append(_state(folder))
            (folder / "states").write_text(json.dumps(states))
    return 0


def _state(folder: Path) -> dict[str, int]:
    import gc

    gc.collect()
    status = Path("/proc/self/status").read_text(encoding="ascii")
    children = [file.read_text().split() for file in Path("/proc/self/task").glob("*/children")]
    return {
        "memory": int(status.partition("RssAnon:")[2].split()[0]) * 1024,  # without pages of libraries
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
        "children": sum(map(len, children)),
        "temporary": len(list((folder / "tmp").iterdir())),
    }
