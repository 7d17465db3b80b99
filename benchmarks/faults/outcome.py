"""What became of a case, and what is a defect."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from forked import Ending

MEBIBYTE = 2**20
LONGEST = 20_000
"""Characters of a message: more floods a log."""
ANSWERS = "home/edgeproof/answers/"
"""Where a command keeps its answers until it succeeds."""
REFUSED, RIGHT, READ, JUDGED = "refused", "right", "read", "judged by what it says"
DEFECTS = (
    "internal error", "crash", "hang", "too much memory", "wrote or ran something outside", "left something",
    "no next step", "flood", "told a secret", "wrong pass", "unseen change", "wrong exit code", "input changed",
    "orphan", "not recovered", "half written",
)  # fmt: skip


class Outcome(NamedTuple):
    """One of REFUSED, RIGHT, JUDGED or DEFECTS, and the words that explain it."""

    name: str
    detail: str = ""


class Usual(NamedTuple):
    """What the valid case needs: seconds and bytes."""

    seconds: float
    grown: int


def refusal(ending: Ending, usual: Usual, secrets: frozenset[str]) -> Outcome | None:
    """What is wrong, or right, with an ending that is no success; None for a success."""
    said = ending.said
    tail = " | ".join(said.strip().splitlines()[-3:])[-300:]
    if ending.hung or ending.seconds > 10 * usual.seconds + 10:
        return Outcome("hang", f"{ending.seconds:.1f} s; {tail}")
    if ending.code < 0 or ending.code in {98, 99}:
        return Outcome("crash", f"{ending.code}; {tail}")
    if "internal error" in said or "Traceback" in said:
        trace = [line for line in said.splitlines() if re.match(r"(  File .*edgeproof|\w+(\.\w+)*: )", line)]
        return Outcome("internal error", " | ".join(trace[-3:])[-300:])
    if ending.grown > 2 * usual.grown + 32 * MEBIBYTE or "out of memory" in said:
        return Outcome("too much memory", f"{ending.grown // MEBIBYTE} MiB, usually {usual.grown // MEBIBYTE}; {tail}")
    if ending.strayed:
        return Outcome("wrote or ran something outside", "; ".join(ending.strayed[:3])[:300])
    if len(said) > LONGEST:
        return Outcome("flood", f"{len(said):,} characters; {tail}")
    if told := secrets & set(re.findall(r"\b[a-z]{4}\b", said)):
        return Outcome("told a secret", f"{sorted(told)[:3]}; {tail}")
    if ending.code in {0, 1, 4}:
        return None
    if ending.code != 3:
        return Outcome("wrong exit code", f"{ending.code}; {tail}")
    if "→" not in said:
        return Outcome("no next step", tail)
    return Outcome(REFUSED, tail)


def left_behind(folder: Path, keep: frozenset[str]) -> Outcome | None:
    """A defect where `folder` holds other things than `keep`, the names that a refused command may leave.

    Answers may stay too, for the next run (docs/evidence.md), where nobody else can read them.
    """
    left = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.name not in keep and not path.is_dir()]
    left = [name for name in left if not (name.startswith(ANSWERS) and not (folder / name).stat().st_mode & 0o077)]
    left += [str(path.relative_to(folder)) for path in folder.rglob(".*") if path.is_dir()]
    return Outcome("left something", ", ".join(sorted(left)[:5])) if left else None
