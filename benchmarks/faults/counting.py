"""Counts of the cases that ran, by kind for a terminal and by part for docs/reliability.md."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from outcome import DEFECTS, JUDGED, READ, REFUSED, RIGHT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Kinds = dict[tuple[str, str], list["Mapping[str, Any]"]]


def by_kind(lines: Iterable[Mapping[str, Any]]) -> Kinds:
    """The lines of each part and kind."""
    kinds: Kinds = {}
    for line in lines:
        part, _, kind = line["case"].rpartition("/")[0].partition("/")
        kinds.setdefault((part, kind), []).append(line)
    return kinds


def defects(kinds: Kinds) -> int:
    """How many cases found a defect."""
    return sum(line["outcome"] in DEFECTS for lines in kinds.values() for line in lines)


def listing(kinds: Kinds) -> str:
    """A line a kind, then a line a part: cases, seconds of processor time, outcomes."""
    parts: Kinds = {}
    for (part, _), lines in kinds.items():
        parts.setdefault(("all", part), []).extend(lines)
    rows = [f"{'':44} {'cases':>6} {'seconds':>8}"]
    for (part, kind), lines in {**kinds, **parts}.items():
        name = f"all {kind}" if part == "all" else f"{part}: {kind}"
        found = Counter(line["outcome"] for line in lines)
        outcomes = ", ".join(f"{n} {o}" for o, n in found.most_common())
        rows.append(f"{name[:44]:44} {len(lines):6} {_seconds(lines):8.0f}  {outcomes}")
    return "\n".join(rows)


def table(kinds: Kinds) -> str:
    """A Markdown row a part; in `signals` and `errors` a row a command, before the colon of their kinds."""
    groups: dict[str, Kinds] = {}
    for (part, kind), lines in kinds.items():
        name = f"`{part}`, {kind.partition(':')[0]}" if part in {"signals", "errors"} else f"`{part}`"
        groups.setdefault(name, {})[part, kind] = lines
    heads = ("part", "kinds", "cases", "of each kind", "refused", "right", "judged", "defects", "processor time")
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, group in sorted(groups.items()):
        lines = [line for each in group.values() for line in each]
        found = Counter(line["outcome"] for line in lines)
        numbers = sorted(len(each) for each in group.values())
        each = f"{numbers[0]:,}" if numbers[0] == numbers[-1] else f"{numbers[0]:,} to {numbers[-1]:,}"
        well = (found[REFUSED], found[RIGHT] + found[READ], found[JUDGED])
        cells = [name, len(group), f"{len(lines):,}", each, *(f"{count:,}" for count in well)]
        rows.append(f"| {' | '.join(map(str, [*cells, defects(group), f'{_seconds(lines):,.0f} s']))} |")
    sources = Counter(line.get("sources", "unknown") for each in kinds.values() for line in each)
    rows += ["", "Sources: " + ", ".join(f"{name} ({count:,} cases)" for name, count in sources.most_common())]
    return "\n".join(rows)


def _seconds(lines: list[Mapping[str, Any]]) -> float:
    return float(sum(line["seconds"] for line in lines))
