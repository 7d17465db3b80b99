"""Evidence of a verdict: the scores of artifact and baseline, by probe and surface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from edgeproof.eval.asking.kinds import ANSWERED_KINDS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from edgeproof.eval.measurement import ProbeFacts, ProbeScore, Role
    from edgeproof.eval.verdict.policy import Policy

Ask: TypeAlias = tuple[str, str]
"""Probe id and surface."""
Scores: TypeAlias = "Mapping[Ask, ProbeScore]"


@dataclass(frozen=True)
class Evidence:
    """Consistent scores.

    Attributes:
        facts: by probe id, in the pack's order.
        surfaces: judged surfaces by role.
        asked: all surfaces that the pack asks, by role.
        kinds: the kind of every surface, of `reference` too.
        artifact: by probe and surface, as are the three others.
        in_format: the base in the artifact's format.
        reference: the base in this format on default surfaces that the pack does not ask, forget probes only.
        ignorance: by probe and surface, for forget probes on surfaces of `RECOVERY_KINDS`.
        scored: whether the artifact's engine gave log-probabilities; without them `artifact` has replies alone.
        unsampled: measurements of the baseline without the samples that the policy asks for.
        doubled: forget clusters that stand for others too, which ask for the same thing.

    """

    facts: Mapping[str, ProbeFacts]
    surfaces: Mapping[Role, tuple[str, ...]]
    asked: Mapping[Role, tuple[str, ...]]
    kinds: Mapping[str, str]
    artifact: Scores
    merged: Scores
    base: Scores
    in_format: Scores
    reference: Scores
    ignorance: Mapping[Ask, float]
    policy: Policy
    unsampled: tuple[str, ...] = ()
    scored: bool = True
    doubled: frozenset[str] = frozenset()

    def asks(
        self,
        role: Role,
        *,
        critical: bool = False,
        untrained: bool = False,
        kinds: Collection[str] = ANSWERED_KINDS,
    ) -> list[tuple[ProbeFacts, str]]:
        """List probes of a role with each of their judged surfaces of `kinds`; only critical or untrained ones."""
        surfaces = self.judged(role, kinds)
        return [
            (fact, surface)
            for fact in self.facts.values()
            if fact.role == role and (fact.critical or not critical) and not (fact.trained and untrained)
            for surface in surfaces
        ]

    def judged(self, role: Role, kinds: Collection[str] = ANSWERED_KINDS) -> tuple[str, ...]:
        """Name the judged surfaces of a role whose kind is one of `kinds`."""
        return tuple(surface for surface in self.surfaces[role] if self.kinds[surface] in kinds)
