"""Terminal output of what a model knows: a row for each set on each surface, then the clusters that are unknown."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from edgeproof.eval.report.console import cell, emit, line, new_table, open_console
from edgeproof.eval.report.sanitize import inert

if TYPE_CHECKING:
    from edgeproof.eval.knowledge.known import Cluster, Knowledge

NAMED = 40
"""Maximum number of clusters named of a set; the JSON has all."""


def render_knowledge(knowledge: Knowledge, *, file: TextIO | None = None) -> None:
    """Print what a model knows to `file`, default stderr."""
    file = sys.stderr if file is None else file
    console = open_console(file)
    line(console, f"{inert(knowledge.model.name)}, pack {inert(knowledge.pack)}: clusters whose answer comes out")
    console.print()
    table = new_table("set", "role", "surface", "known", "greedy", "extraction", "samples")
    for one in knowledge.asked:
        legs = ("–" if count is None else str(count) for count in (one.greedy, one.extraction, one.samples))
        shown = (one.set, one.role, one.surface, f"{one.known} of {one.clusters}", *legs)
        table.add_row(*map(cell, shown))
    console.print(table)
    console.print()
    sets: dict[str, list[Cluster]] = {}
    for cluster in knowledge.clusters:
        sets.setdefault(f"{cluster.set} ({cluster.role})", []).append(cluster)
    for name, clusters in sets.items():
        unknown = [inert(cluster.cluster, 40) for cluster in clusters if not cluster.surfaces]
        known = f"{len(clusters) - len(unknown)} of {len(clusters)} clusters on any surface"
        line(console, f"{inert(name)}: {known}" + (f"; not known: {_named(unknown)}" if unknown else ""))
    emit(console, file)


def _named(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
