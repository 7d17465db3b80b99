"""Pack: the probes, the surfaces on which they are asked, and one digest over both."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from edgeproof.eval.measurement import ProbeFacts, Role
from edgeproof.eval.packs.duplicates import clusters_asked_twice

if TYPE_CHECKING:
    from edgeproof.eval.packs.probes import Probe, Surface


@dataclass(frozen=True)
class Pack:
    """The content of a measurement. `description` and `licence` are informative and not part of `digest`.

    `salt` (hex) salts the digests of single probes (`report/disclosure.py`) and is part of `digest`, since the digest
    of a pack with few and guessable answers could otherwise be guessed. `thinking_tokens` limits the reasoning in a
    chat; None derives the limit from the artifact's chat template.
    """

    name: str
    description: str
    licence: str
    system_prompt: str | None
    surfaces: tuple[Surface, ...]
    probes: tuple[Probe, ...]
    salt: str | None = None
    thinking_tokens: int | None = None

    @cached_property
    def digest(self) -> str:
        """Sha256 (hex) over the canonical JSON of everything that a measurement depends on."""
        return hashlib.sha256(b"edgeproof pack 1\n" + self._canonical).hexdigest()

    @cached_property
    def secret(self) -> bytes:
        """32 bytes that only whoever has the probes can compute; `digest` does not give them away."""
        return hashlib.sha256(b"edgeproof pack secret 1\n" + self._canonical).digest()

    @cached_property
    def _canonical(self) -> bytes:
        content = asdict(self)
        del content["description"], content["licence"]
        for key in ("salt", "thinking_tokens"):
            if content[key] is None:
                del content[key]
        return json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()

    @cached_property
    def same(self) -> dict[tuple[Role, str], str]:
        """For clusters that duplicate another one, by role and name: the name under which they count."""
        return clusters_asked_twice(self.probes)

    def facts(self) -> tuple[ProbeFacts, ...]:
        """Properties of each probe that judging needs, in order, without texts; duplicate clusters are merged."""
        return tuple(
            ProbeFacts(
                p.id, p.role, self.same.get((p.role, p.cluster), p.cluster), trained=p.trained, critical=p.critical
            )
            for p in self.probes
        )

    def asked(self, role: Role) -> tuple[Surface, ...]:
        """Return the surfaces on which probes of `role` are asked, in the pack's order."""
        return tuple(surface for surface in self.surfaces if role in surface.roles)

    def surface_names(self) -> dict[str, tuple[str, ...]]:
        """Return the names of `asked`, by role, for the roles that have probes."""
        roles = {probe.role for probe in self.probes}
        return {role.value: tuple(surface.name for surface in self.asked(role)) for role in Role if role in roles}

    def kinds(self) -> dict[str, str]:
        """Return the kind of every asked surface, by its name."""
        names = {name for own in self.surface_names().values() for name in own}
        return {surface.name: surface.kind for surface in self.surfaces if surface.name in names}

    def asked_twice(self) -> dict[str, str]:
        """Return the clusters that duplicate another one, as "role/name", and the name under which they count."""
        return {f"{role}/{cluster}": name for (role, cluster), name in self.same.items()}

    def keys(self) -> tuple[tuple[str, str], ...]:
        """Return every (probe id, surface name) of a measurement, in order."""
        names = self.surface_names()
        return tuple((probe.id, name) for probe in self.probes for name in names[probe.role])
