"""Validation of requests before the computation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.contracts.backend import GenerateRequest, ScoreRequest


def check_scores(requests: Sequence[ScoreRequest], context_length: int, vocabulary: int) -> None:
    """Raise `InputError` for the first request that is empty, too long, or holds an unknown token."""
    for index, request in enumerate(requests):
        if not request.context or not request.continuation:
            raise InputError(f"score request {index}: context and continuation need at least one token each")
        _check_length(index, len(request.context) + len(request.continuation), context_length)
        _check_tokens(index, (*request.context, *request.continuation), vocabulary)


def check_generations(requests: Sequence[GenerateRequest], context_length: int, vocabulary: int) -> None:
    """Raise `InputError` for the first request that is empty, too long with its answer, or out of range."""
    for index, request in enumerate(requests):
        if not request.context or request.max_tokens < 1:
            raise InputError(f"generate request {index}: it needs a context and max_tokens of 1 or more")
        if request.temperature < 0:
            raise InputError(f"generate request {index}: the temperature is {request.temperature}, below 0")
        _check_length(index, len(request.context) + request.max_tokens, context_length)
        _check_tokens(index, request.context, vocabulary)


def check_stream(
    request: GenerateRequest, watched: Sequence[tuple[int, ...]], context_length: int, vocabulary: int
) -> None:
    """Raise `InputError` for a request that `check_generations` refuses, with the longest of `watched` appended."""
    check_generations([request], context_length, vocabulary)
    for index, tokens in enumerate(watched):
        if not tokens:
            raise InputError(f"watched continuation {index}: it has no tokens")
        _check_length(0, len(request.context) + request.max_tokens + len(tokens), context_length)
        _check_tokens(0, tokens, vocabulary)


def _check_length(index: int, length: int, context_length: int) -> None:
    if length > context_length:
        raise InputError(
            f"request {index} is {length:,} tokens long, the context holds {context_length:,}",
            next_step="shorten the probe, or raise the context length",
        )


def _check_tokens(index: int, tokens: tuple[int, ...], vocabulary: int) -> None:
    low, high = min(tokens), max(tokens)
    if low < 0 or high >= vocabulary:
        raise InputError(
            f"request {index} has the token {low if low < 0 else high}, the vocabulary ends at {vocabulary - 1:,}",
            next_step="tokenize with this artifact's tokenizer",
        )
