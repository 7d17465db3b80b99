"""Decoys of a probe: its own wrong answers, or the answers of probes of its kin."""

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
"""Maximum number of decoys: with the answer, ten candidates. Each costs as much as scoring the answer."""


def has_decoys(probe: Probe, surface: Surface) -> bool:
    """Whether decoys are scored: on raw surfaces, for probes with decoys.

    In a chat the reply's wording affects the score more than the candidate.
    """
    return probe.role != Role.RETAIN and surface.kind == SurfaceKind.RAW


def decoy_answers(pack: Pack) -> dict[str, tuple[str, ...]]:
    """Return up to `DECOYS` wrong answers by probe id; empty if there are none.

    Only the first probe of each forget and holdout cluster gets decoys, and all probes with their own; retain probes
    get none.

    A probe's own decoys exclude all others. Otherwise the decoys are a seeded sample of the other answers in its set,
    template and answer type, without duplicates and accepted answers. Texts get no such decoys: another passage is not
    a candidate for the continuation.
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
