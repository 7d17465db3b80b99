"""Solved examples before a question: from retain probes, or from other forget clusters.

In-context relearning gives a model examples of the forgotten knowledge, or similar ones, and asks for the rest (arXiv
2603.00823). Few-shot prompts are also the strongest plain way to ask a small model for a fact.

```
Q: What is the capital of Canada?      an example: kept (few-shot), or forgotten and revealed (siblings)
A: Ottawa

Q: What is the capital of France?      the probe
A:
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.errors import PackError
from edgeproof.eval.matching.words import words
from edgeproof.eval.measurement import Role
from edgeproof.eval.packs.kinds import SurfaceKind
from edgeproof.eval.packs.probes import Match, seeded_order
from edgeproof.eval.packs.templates import fill

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edgeproof.eval.packs.probes import Probe, Surface

TEMPLATE = "Q: {message}\nA:"
"""How a question is put where the surface has no template of its own; a line break and the next question follow."""

SHOTS = 4
LONGEST = 60
"""Maximum length of an example's answer, in words."""


class Examples:
    """Draws the examples for each probe of a pack; where possible the same for all, so that prompts share a prefix."""

    def __init__(self, probes: Iterable[Probe]) -> None:
        usable = [probe for probe in probes if len(words(probe.answer)) <= LONGEST and not probe.few_shot]
        self._pools: dict[str, list[Probe]] = {
            SurfaceKind.FEW_SHOT: [probe for probe in usable if probe.role == Role.RETAIN],
            SurfaceKind.SIBLINGS: [probe for probe in usable if probe.role == Role.FORGET],
        }
        self._drawn: dict[tuple[str, ...], list[Probe]] = {}

    def prompt(self, probe: Probe, surface: Surface) -> str:
        """Return the examples and the question.

        Raises:
            PackError: the pack has too few probes for the examples.

        """
        shown = self.shown(probe, surface)
        if len(shown) < surface.shots:
            whose = "retain" if surface.kind == SurfaceKind.FEW_SHOT else "other forget"
            raise PackError(
                f"surface {surface.name!r} shows {surface.shots} solved examples before probe {probe.id}, but the pack "
                f"has {len(shown)} suitable {whose} probes",
                next_step="add probes of other clusters, lower `shots`, or leave the surface out",
            )
        solved = [f"{question(other, surface)} {other.answer}\n\n" for other in shown]
        return "".join(solved) + question(probe, surface)

    def shown(self, probe: Probe, surface: Surface) -> list[Probe]:
        """Return up to `shots` examples for `probe`, of other clusters and with other answers, most similar first."""
        accepted = {" ".join(words(text)) for text in probe.accepted}
        shown: list[Probe] = []
        for other in self._order(probe, surface.kind):
            answer = " ".join(words(other.answer))
            if other.cluster == probe.cluster or any(f" {own} " in f" {answer} " for own in accepted):
                continue
            shown.append(other)
            if len(shown) == surface.shots:
                break
        return shown

    def _order(self, probe: Probe, kind: str) -> list[Probe]:
        key = (kind, probe.template, probe.message, probe.answer_type, probe.match)
        if key not in self._drawn:
            self._drawn[key] = _likest(probe, self._pools[kind])
        return self._drawn[key]


def question(probe: Probe, surface: Surface) -> str:
    """Put the question of `probe` by the surface's template."""
    prompt = fill(probe.template, {"question": probe.question})
    message = fill(probe.message, {"question": probe.question, "prompt": prompt})
    return fill(surface.template or TEMPLATE, {"question": probe.question, "prompt": prompt, "message": message})


def _likest(probe: Probe, pool: Sequence[Probe]) -> list[Probe]:
    """Order `pool`, one probe per cluster: those with the form of `probe` first; in each group in a seeded order."""
    first = {other.cluster: other for other in reversed(pool) if other.match in {Match.ANSWER, probe.match}}
    # Within a cluster, prefer the probe with the same wording.
    for other in reversed(pool):
        if _likeness(probe, other) > _likeness(probe, first.get(other.cluster, other)):
            first[other.cluster] = other
    by_id = {other.id: other for other in first.values()}
    shuffled = [by_id[key] for key in seeded_order("examples", by_id)]
    return sorted(shuffled, key=lambda other: -_likeness(probe, other))


def _likeness(probe: Probe, other: Probe) -> int:
    return (
        4 * (other.message == probe.message and "{question}" in probe.message)
        + 2 * (other.answer_type == probe.answer_type)
        + (other.match == probe.match)
    )
