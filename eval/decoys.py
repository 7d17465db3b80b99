"""Which wrong answers stand beside a probe's true one: its own decoys, or the answers of its kin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.eval.probes import Match, SurfaceKind, seeded_sample
from edgeproof.eval.records import Role
from edgeproof.eval.words import words

if TYPE_CHECKING:
    from edgeproof.eval.probes import Pack, Probe, Surface

DECOYS = 19
"""The most decoys for a probe: with the answer, twenty candidates."""


def has_decoys(probe: Probe, surface: Surface) -> bool:
    """Tell whether decoys are scored: for forget and holdout probes, on raw surfaces.

    Retain probes have nothing to hide, and in a chat the reply's wording decides more than the candidate.
    """
    return probe.role != Role.RETAIN and surface.kind == SurfaceKind.RAW


def decoy_answers(pack: Pack) -> dict[str, tuple[str, ...]]:
    """Return up to `DECOYS` wrong answers for each forget and holdout probe, by its id; empty where there are none.

    A probe's own decoys come first and alone. Otherwise a seeded sample of the other answers in its set, template and
    answer type, each word for word once, without those that this probe accepts. Texts get no such decoys: another
    passage is no candidate for this one's continuation.
    """
    pools: dict[tuple[str, ...], dict[str, str]] = {}
    for probe in pack.probes:
        pools.setdefault(probe.kin, {}).setdefault(" ".join(words(probe.answer)), probe.answer)
    chosen: dict[str, tuple[str, ...]] = {}
    for probe in pack.probes:
        if probe.role == Role.RETAIN:
            continue
        accepted = {" ".join(words(text)) for text in probe.accepted}
        pool = {text: text for text in probe.decoys} if probe.decoys else pools[probe.kin]
        if probe.match == Match.VERBATIM and not probe.decoys:
            pool = {}
        candidates = {key: text for key, text in pool.items() if " ".join(words(text)) not in accepted}
        drawn = seeded_sample(f"decoys {probe.id}", candidates, DECOYS)
        chosen[probe.id] = tuple(candidates[key] for key in drawn)
    return chosen
