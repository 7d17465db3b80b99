"""The hunt for faults: mutated inputs, failing system calls, signals, odd surroundings, hostile models, a soak.

    python benchmarks/faults/hunt.py --work DIR [--share 0.02] [--seed 1] [--part mutations …] [--minutes N]

Runs a share of all cases, chosen by the seed and the case's name, and goes on where it stopped: DIR/outcomes.jsonl gets
a line a case, and DIR/defects what each defect said. Prints the counts of these parts; exits with 1 where one of their
cases found a defect.
docs/reliability.md gives the counts so far.
"""

from __future__ import annotations

import os

# One thread each, before anything is imported: a fork has no threads but its own.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
os.environ |= {"ORT_DISABLE_TELEMETRY": "1", "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1"}

import argparse
import hashlib
import importlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import counting
import ground as g
from outcome import DEFECTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ground import Ground

PARTS = ("readers", "mutations", "errors", "signals", "surroundings", "hostile", "soak")
"""Modules of this folder. Each has `cases(ground, work, wanted)`, which yields (kind, number, run) of the cases for
which `wanted(kind, number)` holds: `run(folder)` returns an outcome and what was done."""


def chosen(name: str, seed: int, share: float) -> bool:
    """Whether a case belongs to the share."""
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8], "big") < share * 2**64


def done(path: Path) -> Iterator[dict[str, Any]]:
    """The lines so far; the last may be half written."""
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.endswith("}"):
                yield json.loads(line)


def replay(ground: Ground, work: Path, case: str) -> None:
    """Run one case again, and print all that it said; its folder stays in `work`."""
    part = case.partition("/")[0]
    folder = work / "replayed"
    for kind, number, run in importlib.import_module(part).cases(
        ground, work, lambda *its: case == "{}/{}/{}".format(part, *its)
    ):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        print(run(folder), f"{part}/{kind}/{number}", (folder / "said").read_text(), sep="\n")


def hunt(
    ground: Ground, work: Path, parts: Sequence[str], *, kinds: str, share: float, seed: int, until: float
) -> None:
    """Run the cases that are chosen and not done yet."""
    lines = work / "outcomes.jsonl"
    known, sources = {line["case"] for line in done(lines)}, revision()
    with lines.open("a", encoding="utf-8") as file:
        for part in parts:

            def wanted(kind: str, number: int, part: str = part) -> bool:
                name = f"{part}/{kind}/{number}"
                return kinds in kind and name not in known and chosen(name, seed, share)

            for kind, number, run in importlib.import_module(part).cases(ground, work, wanted):
                if time.monotonic() > until:
                    return
                folder = work / "case"
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                began = time.process_time() + time_of_children()
                ran = run(folder)
                seconds = time.process_time() + time_of_children() - began
                found = ran if isinstance(ran, list) else [(number, *ran)]
                for each, outcome, what in found:
                    name = f"{part}/{kind}/{each}"
                    row = {"case": name, "outcome": outcome.name, "detail": outcome.detail, "what": what, "seed": seed}
                    row |= {"seconds": round(seconds / len(found), 3), "sources": sources}
                    file.write(json.dumps(row) + "\n")
                    if outcome.name in DEFECTS:
                        keep(folder, work / "defects" / name.replace("/", "_"))
                        print(f"{name}: {outcome.name}: {what} → {outcome.detail}", flush=True)
                file.flush()


def revision() -> str:
    """The commit of these sources, and whether files were changed since."""
    git = ("git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--match", "no-tag")
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()


def keep(folder: Path, where: Path) -> None:
    """Keep what a case said."""
    where.mkdir(parents=True, exist_ok=True)
    for said in folder.glob("said*"):
        shutil.copyfile(said, where / said.name)


def time_of_children() -> float:
    """Seconds of processor time of all forks so far."""
    times = os.times()
    return times.children_user + times.children_system


def with_shim(work: Path) -> None:
    """Start this program again with shim.c loaded, where a C compiler is at hand."""
    if os.environ.get("LD_PRELOAD") or shutil.which("cc") is None:
        return
    library = work / "shim.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-O1", "-o", library, Path(__file__).with_name("shim.c"), "-ldl"], check=True
    )
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "LD_PRELOAD": str(library)})  # noqa: S606 (itself)


def main() -> int:
    """Run, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--world", type=Path, help="a folder that tests/world.py has filled; made by default")
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--part", action="append", choices=PARTS)
    parser.add_argument("--kind", default="", help="only kinds with this text, as the counts name them")
    parser.add_argument("--minutes", type=float, default=10**6)
    parser.add_argument("--no-onnx", action="store_true", help="gate no ONNX: the baseline of --world holds none")
    parser.add_argument("--table", action="store_true", help="run nothing, print what docs/reliability.md has")
    parser.add_argument("--case", help="run this case alone, and print what it said")
    given = parser.parse_args()
    work = given.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    if given.table:
        print(counting.table(counting.by_kind(done(work / "outcomes.jsonl"))))
        return 0
    with_shim(work)
    ground = g.prepare(work / "ground", given.world, onnx=not given.no_onnx)
    if given.case:
        replay(ground, work, given.case)
        return 0
    until = time.monotonic() + given.minutes * 60
    parts = given.part or PARTS
    hunt(ground, work, parts, kinds=given.kind, share=given.share, seed=given.seed, until=until)
    kinds = counting.by_kind(row for row in done(work / "outcomes.jsonl") if row["case"].partition("/")[0] in parts)
    print(counting.listing(kinds))
    return 1 if counting.defects(kinds) else 0


if __name__ == "__main__":
    sys.exit(main())
