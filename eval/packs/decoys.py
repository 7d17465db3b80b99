"""Which wrong answers stand beside a probe's true one: its own decoys, or the answers of its kin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.eval.matching.words import words
from edgeproof.eval.measurement import Role
from edgeproof.eval.packs.kinds import SurfaceKind
from edgeproof.eval.packs.probes import Match, seeded_sample

if TYPE_CHECKING:
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.packs.probes import Probe, Surface

DECOYS = 9
"""The most decoys for a probe: with the answer, ten candidates. Each costs as much as the answer's own score."""


def has_decoys(probe: Probe, surface: Surface) -> bool:
    """Tell whether decoys are scored: on raw surfaces, for probes that have some.

    In a chat the reply's wording decides more than the candidate.
    """
    return probe.role != Role.RETAIN and surface.kind == SurfaceKind.RAW


def decoy_answers(pack: Pack) -> dict[str, tuple[str, ...]]:
    """Return up to `DECOYS` wrong answers by probe id; empty where there are none.

    They are for the first probe of each forget and holdout cluster, and for all that bring their own. Retain probes
    have nothing to hide.

    A probe's own decoys come first and alone. Otherwise a seeded sample of the other answers in its set, template and
    answer type, each word for word once, without those that this probe accepts. Texts get no such decoys: another
    passage is no candidate for this one's continuation.
    """
    pools: dict[tuple[str, ...], dict[str, str]] = {}
    for probe in pack.probes:
        pools.setdefault(probe.kin, {}).setdefault(" ".join(words(probe.answer)), probe.answer)
    chosen: dict[str, tuple[str, ...]] = {}
    seen: set[tuple[str, str]] = set()
    for probe in pack.probes:
        if probe.role == Role.RETAIN:
            continue
        first = (probe.role, probe.cluster) not in seen
        seen.add((probe.role, probe.cluster))
        if not (first or probe.decoys):
            chosen[probe.id] = ()
            continue
        accepted = {" ".join(words(text)) for text in probe.accepted}
        pool = {text: text for text in probe.decoys} if probe.decoys else pools[probe.kin]
        if probe.match == Match.VERBATIM and not probe.decoys:
            pool = {}
        candidates = {key: text for key, text in pool.items() if " ".join(words(text)) not in accepted}
        drawn = seeded_sample(f"decoys {probe.id}", candidates, DECOYS)
        chosen[probe.id] = tuple(candidates[key] for key in drawn)
    return chosen
