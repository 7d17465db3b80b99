"""Sampled answers beside the greedy one: how many, how warm, and which random numbers each is drawn with.

The extraction probability says exactly how likely the recorded answer is to come out word for word. Samples see what it
cannot: the same thing said otherwise. They are a sample: none right of k says little of an answer that comes out in
fewer than one of k queries.
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
"""Fixed, so that nobody draws until the answers please; a report says it."""
SAMPLED = frozenset({Role.FORGET, Role.HOLDOUT})
"""Whose answers are sampled: of what had to be kept a right answer is wanted, and greedy."""


def sample_requests(ask: Ask, sampling: Sampling, kinds: frozenset[str]) -> list[GenerateRequest]:
    """Give the requests for the samples of `ask`: the greedy answer's, with a seed each.

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
    """Draw 63 bits from sha256: samples of different probes do not share their random numbers."""
    text = f"{seed}\0{probe}\0{surface}\0{index}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
