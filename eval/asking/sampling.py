"""Sampled answers besides the greedy one: number, temperature, and seed of each.

The extraction probability is exact for the recorded answer word for word. Samples also cover other wordings. They are
a sample: no right answer among k says little about an answer given in fewer than one of k queries.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from edgeproof.contracts.backend import GenerateRequest
from edgeproof.eval.measurement import Role

if TYPE_CHECKING:
    from edgeproof.eval.asking.tokens import Ask
    from edgeproof.eval.measurement import Sampling

SEED = 0
"""Fixed seed, stated in reports, so that results cannot be cherry-picked."""
SAMPLED = frozenset({Role.FORGET, Role.HOLDOUT})
"""Roles whose answers are sampled; retain probes are judged by their greedy answers."""


def sample_requests(ask: Ask, sampling: Sampling, kinds: frozenset[str]) -> list[GenerateRequest]:
    """Return the requests for the samples of `ask`: the greedy answer's request, with a seed each.

    There are none for retain probes, nor on surfaces that are not of `kinds` (`probes.sampled_kinds`).
    """
    if ask.probe.role not in SAMPLED or ask.surface.kind not in kinds:
        return []
    return [
        GenerateRequest(
            ask.context,
            ask.max_tokens,
            ask.stop,
            sampling.temperature,
            _seed(sampling.seed, ask.probe.id, ask.surface.name, index),
            special=True,
        )
        for index in range(sampling.count)
    ]


def _seed(seed: int, probe: str, surface: str, index: int) -> int:
    """Derive 63 bits from sha256, so that samples of different probes do not share random numbers."""
    text = f"{seed}\0{probe}\0{surface}\0{index}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
