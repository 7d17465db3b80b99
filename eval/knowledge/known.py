"""Knowledge of a model by set, cluster and surface, by the legs of the gate's leak rule.

A probe is known on a surface if its answer comes out there: its greedy reply is right, one of the sampled replies is,
or the answer is likely to come in 100 samples (`verdict/legs.py`, default policy). A cluster is known if any probe of
it is. On surfaces of choices a probe is known if its true option is picked; they do not count for a cluster, since the
answer is among the options.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.eval.asking.kinds import sampled_kinds
from edgeproof.eval.measurement import Leg, Role
from edgeproof.eval.packs.kinds import SurfaceKind
from edgeproof.eval.verdict.legs import legs
from edgeproof.eval.verdict.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from edgeproof.eval.measurement import Measurement, ProbeScore
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.packs.probes import Probe

    _Ask = tuple[Probe, ProbeScore, tuple[Leg, ...]]
    """A probe, its score on a surface, and the legs by which its answer comes out there."""

DEFAULT = Policy()


class Asked(NamedTuple):
    """Clusters of a set that are known on one surface.

    Attributes:
        set: name of the set in pack.toml.
        role: forget, retain or holdout.
        surface: name of the surface.
        clusters: number of clusters asked.
        known: number of them that are known by any leg.
        greedy: by a right greedy reply.
        extraction: by the probability that the answer comes out; None for choices.
        samples: by a right sampled reply; None where nothing is sampled.

    """

    set: str
    role: Role
    surface: str
    clusters: int
    known: int
    greedy: int
    extraction: int | None
    samples: int | None


class Cluster(NamedTuple):
    """A cluster of a set, and the surfaces on which it is known (without choices)."""

    set: str
    role: Role
    cluster: str
    surfaces: tuple[str, ...]


@dataclass(frozen=True)
class Knowledge:
    """What a model knows of a pack.

    Attributes:
        model: the file or folder.
        sha256: digest of what was asked: of the artifact, or of the float GGUF that was made of a checkpoint.
        pack: name of the pack.
        pack_sha256: digest of its probes.
        backend: what ran the model.
        asked: each set on each of its surfaces, in the pack's order.
        clusters: each cluster of each set.
        warnings: warnings of export and measurement.

    """

    model: Path
    sha256: str
    pack: str
    pack_sha256: str
    backend: Mapping[str, str]
    asked: tuple[Asked, ...]
    clusters: tuple[Cluster, ...] = field(repr=False)
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return the knowledge as JSON-compatible types."""
        return {
            "model": str(self.model),
            "sha256": self.sha256,
            "pack": {"name": self.pack, "sha256": self.pack_sha256},
            "backend": dict(self.backend),
            "sets": [one._asdict() for one in self.asked],
            "clusters": [one._asdict() for one in self.clusters],
            "warnings": list(self.warnings),
        }


def asked_sets(pack: Pack, measurement: Measurement, policy: Policy = DEFAULT) -> tuple[Asked, ...]:
    """Count the known clusters of each set on each of its surfaces, by the leak rule of `policy`."""
    sampled = sampled_kinds(pack.kinds().values())
    found = []
    for (name, role, surface), own in _by_set(pack, measurement, policy).items():
        choices = pack.kinds()[surface] == SurfaceKind.CHOICES
        drawn = measurement.sampling is not None and role != Role.RETAIN and pack.kinds()[surface] in sampled
        by_leg = {leg: len({probe.cluster for probe, _, out in own if leg in out}) for leg in Leg}
        found.append(
            Asked(
                set=name,
                role=role,
                surface=surface,
                clusters=len({probe.cluster for probe, _, _ in own}),
                known=len(_known(own)),
                greedy=by_leg[Leg.GREEDY],
                extraction=None if choices or not measurement.scored else by_leg[Leg.EXTRACTION],
                samples=by_leg[Leg.SAMPLES] if drawn else None,
            )
        )
    return tuple(found)


def known_clusters(pack: Pack, measurement: Measurement, policy: Policy = DEFAULT) -> tuple[Cluster, ...]:
    """Name each cluster of each set, with the surfaces on which it is known."""
    kinds = pack.kinds()
    surfaces: dict[tuple[str, Role, str], list[str]] = {}
    for (name, role, surface), own in _by_set(pack, measurement, policy).items():
        known = set() if kinds[surface] == SurfaceKind.CHOICES else _known(own)
        for probe, _, _ in own:
            places = surfaces.setdefault((name, role, probe.cluster), [])
            if probe.cluster in known and surface not in places:
                places.append(surface)
    return tuple(Cluster(*key, tuple(places)) for key, places in surfaces.items())


def _by_set(pack: Pack, measurement: Measurement, policy: Policy) -> dict[tuple[str, Role, str], list[_Ask]]:
    """Group what was measured by set, role and surface, in the pack's order."""
    kinds = pack.kinds()
    probes = {probe.id: probe for probe in pack.probes}
    found: dict[tuple[str, Role, str], list[_Ask]] = {}
    for score in measurement.scores:
        probe = probes[score.probe]
        out = legs(score, policy)
        if kinds[score.surface] == SurfaceKind.CHOICES:
            out = (Leg.GREEDY,) if score.right else ()
        found.setdefault((probe.group, probe.role, score.surface), []).append((probe, score, out))
    return found


def _known(asks: Iterable[_Ask]) -> set[str]:
    return {probe.cluster for probe, _, out in asks if out}
