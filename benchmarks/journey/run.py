"""From data to a verdict by the five commands of docs/from-data.md, with default options, on a small taught model.

    python benchmarks/journey/run.py person|book|tofu|capitals --work DIR [--source FILE|FOLDER] [--base MODEL]
        [--format NAME …] [--check] [--unlearn "OPTION …"]

`--source` is Moby-Dick as one text (book), or the folder of TOFU's perturbed files (tofu). Without `--base` a small
model is taught the data first, which is not counted. `--check` runs `pack check`, too. `--unlearn` adds options to the
training. DIR/times.json has each command with its exit code, wall and processor seconds and the load; what the commands
print goes to the terminal.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from data import JOURNEYS
from teach import lessons, teach

MISSED, FAILED, WEAK = 4, 1, 4


class Timed(NamedTuple):
    """One command as it ran."""

    command: str
    code: int
    wall: float
    processor: float
    load: float


def main() -> int:
    """Read the options, make the data, teach the model if none is given, and run the commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("journey", choices=JOURNEYS)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--source", type=Path)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--format", nargs="+", default=["gguf-q4", "gguf-q8_0"])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--unlearn", type=shlex.split, default=[])
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    data = JOURNEYS[options.journey](options.work, options.source)
    base = options.base
    if base is None:
        base = options.work / "base"
        layers, passes = (2, 100) if options.journey == "person" else (3, 150)
        teach(base, lessons(data[:3]), passes=passes, layers=layers)
    timed: list[Timed] = []
    for allowed, words in commands(base, options.work, data.rule, data.forget.suffix, options):
        timed.append(run(words, options.work))
        (options.work / "times.json").write_text(json.dumps([one._asdict() for one in timed], indent=1) + "\n")
        if timed[-1].code not in allowed:
            return timed[-1].code
    return timed[-1].code


def commands(
    base: Path, work: Path, rule: str | None, suffix: str, options: argparse.Namespace
) -> list[tuple[set[int], list[str]]]:
    """Return the commands of docs/from-data.md, with the exit codes after which a newcomer goes on."""
    forget, retain, untrained = (f"{name}{suffix}" for name in ("forget", "retain", "untrained"))
    known = ["--base", str(base.resolve())]
    forms = [word for name in options.format for word in ("--format", name)]
    few = options.journey in {"person", "tofu"}
    policy = ["--policy", "pack/policy.toml"] if few else []
    subjects = [] if rule is None else ["--cluster-by", rule]
    files = ["--forget", forget, "--retain", retain]
    made = ["--adapter", "forget-lora"]
    judged = ["--probes", "pack", "--baseline", "baseline.json"]
    found = [
        ({0}, ["pack", "new", *files, "--untrained", untrained, *subjects, *known, "--out", "pack"]),
        ({0, WEAK}, ["pack", "check", "pack", *known, *forms, *policy]),
        ({0, MISSED}, ["unlearn", *known, *files, "--probes", "pack", "--out", "forget-lora", *options.unlearn]),
        ({0}, ["baseline", *known, *made, *forms, "--probes", "pack", "--out", "baseline.json", *policy]),
        ({0, FAILED, WEAK}, [*known, *made, *forms, "--out", "dist", *judged, *policy]),
    ]
    if not options.check:
        del found[1]
    assert work.is_dir()
    return found


def run(words: list[str], folder: Path) -> Timed:
    """Run one command in `folder`."""
    load, began, before = os.getloadavg()[0], time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    whole = [sys.executable, "-P", "-m", "edgeproof.cli", *words, "--threads", "1"]
    code = subprocess.run(whole, cwd=folder, check=False).returncode
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    command = shlex.join(["export-edge", *words])
    return Timed(command, code, round(time.monotonic() - began, 1), round(spent, 1), round(load, 1))


if __name__ == "__main__":
    raise SystemExit(main())
