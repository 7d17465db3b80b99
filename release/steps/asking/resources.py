"""Measures what an artifact takes: size, memory, speed of a reply. Only for policies with a budget."""

from __future__ import annotations

import secrets
import statistics
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from edgeproof.contracts.backend import GenerateRequest, WeighingBackend
from edgeproof.contracts.errors import BackendError
from edgeproof.eval.measurement import Resources

if TYPE_CHECKING:
    from edgeproof.contracts.backend import Backend
    from edgeproof.release.steps.files.digests import Whole

REPLY_TOKENS = 32
ROUNDS = 3
PROMPT_TOKENS = 32


def sizes(whole: Whole) -> Resources:
    """Say how large the files are."""
    return Resources(whole.bytes, whole.largest)


def measure_speed(engine: Backend, whole: Whole) -> Resources:
    """Time replies to prompts of PROMPT_TOKENS random tokens, one at a time: the medians of ROUNDS.

    The first token's time is that of a reply of one token. The speed is that of the others in a reply of REPLY_TOKENS;
    None where the model always ends its reply at once.
    """
    firsts, speeds = [], []
    for _ in range(ROUNDS):
        # Random, so that neither a cache nor the journal of an interrupted run has them.
        context = tuple(secrets.randbelow(engine.info.vocabulary) for _ in range(PROMPT_TOKENS))
        first, _ = _timed(engine, GenerateRequest(context, 1))
        all_of_it, count = _timed(engine, GenerateRequest(context[::-1], REPLY_TOKENS))
        firsts.append(first)
        if count > 1 and all_of_it > first:
            speeds.append((count - 1) / (all_of_it - first))
    return replace(
        sizes(whole),
        tokens_per_second=statistics.median(speeds) if speeds else None,
        first_token_seconds=statistics.median(firsts),
    )


def with_memory(resources: Resources, engine: Backend) -> Resources:
    """Add the peak memory of the process that has computed, where the backend tells it."""
    return replace(resources, peak_memory_bytes=engine.peak_memory() if isinstance(engine, WeighingBackend) else None)


def _timed(engine: Backend, request: GenerateRequest) -> tuple[float, int]:
    began = time.monotonic()
    generations = list(engine.generate([request]))
    seconds = time.monotonic() - began
    if len(generations) != 1:
        raise BackendError(f"the backend answered {len(generations)} of 1 request")
    return seconds, len(generations[0].tokens)
