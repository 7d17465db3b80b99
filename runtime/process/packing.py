"""Encoding of requests and results as flat arrays, between parent and child."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from edgeproof.contracts.backend import GenerateRequest, Generation, ModelInfo, Score, ScoreRequest, Step
from edgeproof.runtime.process.wire import Message

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray


def pack_score_requests(requests: Sequence[ScoreRequest]) -> Message:
    """Encode as arrays: lengths of contexts, lengths of continuations, all tokens."""
    contexts, continuations = [one.context for one in requests], [one.continuation for one in requests]
    arrays = (_lengths(contexts), _lengths(continuations), _joined(contexts), _joined(continuations))
    return Message("score", {}, arrays)


def unpack_score_requests(message: Message) -> list[ScoreRequest]:
    """Undo `pack_score_requests`."""
    contexts, continuations, context_tokens, continuation_tokens = message.arrays
    return [
        ScoreRequest(context, continuation)
        for context, continuation in zip(
            _cut(context_tokens, contexts), _cut(continuation_tokens, continuations), strict=True
        )
    ]


_SENT = (np.float32, np.bool_, np.int32, np.float32, np.float32)
"""Types in which the fields of `Score` travel."""


def pack_scores(scores: Sequence[Score]) -> Message:
    """Encode as arrays: lengths, then the five fields of `Score`, each concatenated over all scores.

    A backend may give lists of Python's numbers.
    """
    lengths = np.array([len(score.logprobs) for score in scores], np.int32)
    columns = (np.concatenate(column) for column in zip(*scores, strict=True))
    return Message("scores", {}, (lengths, *(column.astype(kind) for column, kind in zip(columns, _SENT, strict=True))))


def unpack_scores(message: Message) -> Iterable[Score]:
    """Undo `pack_scores`."""
    lengths, *columns = message.arrays
    ends = np.cumsum(lengths)[:-1]
    for parts in zip(*(np.split(column, ends) for column in columns), strict=True):
        yield Score(*parts)


def pack_generate_requests(requests: Sequence[GenerateRequest]) -> Message:
    """Encode all except the contexts as fields; as arrays: lengths of the contexts, all tokens."""
    contexts = [one.context for one in requests]
    return Message("generate", {"rest": [_rest(one) for one in requests]}, (_lengths(contexts), _joined(contexts)))


def unpack_generate_requests(message: Message) -> list[GenerateRequest]:
    """Undo `pack_generate_requests`."""
    rest = message.fields["rest"]
    assert isinstance(rest, list)
    lengths, tokens = message.arrays
    return [_request(context, own) for context, own in zip(_cut(tokens, lengths), rest, strict=True)]


def _rest(request: GenerateRequest) -> list[object]:
    """All but the context, as JSON has it."""
    return [request.max_tokens, list(request.stop), request.temperature, request.seed, request.special]


def _request(context: tuple[int, ...], rest: Sequence[Any]) -> GenerateRequest:
    """Undo `_rest`."""
    max_tokens, stop, temperature, seed, special = rest
    return GenerateRequest(context, max_tokens, tuple(stop), temperature, seed, special)


def pack_generations(generations: Sequence[Generation]) -> Message:
    """Encode texts and reasons as fields; as arrays: lengths, all tokens."""
    rest = [[one.text, one.finish] for one in generations]
    tokens = [one.tokens for one in generations]
    return Message("generations", {"rest": rest}, (_lengths(tokens), _joined(tokens)))


def unpack_generations(message: Message) -> Iterable[Generation]:
    """Undo `pack_generations`."""
    rest = message.fields["rest"]
    assert isinstance(rest, list)
    lengths, tokens = message.arrays
    for own, (text, finish) in zip(_cut(tokens, lengths), rest, strict=True):
        yield Generation(own, text, finish)


def pack_stream_request(request: GenerateRequest, watched: Sequence[tuple[int, ...]]) -> Message:
    """Encode all except the context as fields; as arrays: context, lengths of watched continuations, their tokens."""
    return Message(
        "stream", {"rest": _rest(request)}, (_joined([request.context]), _lengths(watched), _joined(watched))
    )


def unpack_stream_request(message: Message) -> tuple[GenerateRequest, tuple[tuple[int, ...], ...]]:
    """Undo `pack_stream_request`."""
    rest = message.fields["rest"]
    assert isinstance(rest, list)
    context, lengths, tokens = message.arrays
    return _request(tuple(context.tolist()), rest), tuple(_cut(tokens, lengths))


def pack_steps(steps: Sequence[Step]) -> Message:
    """Encode everything as fields."""
    return Message("steps", {"steps": [[*step] for step in steps]})


def unpack_steps(message: Message) -> Iterable[Step]:
    """Undo `pack_steps`."""
    steps = message.fields["steps"]
    assert isinstance(steps, list)
    for text, tokens, watched, finish in steps:
        yield Step(text, tokens, tuple(watched), finish)


def pack_info(info: ModelInfo) -> Message:
    """Encode everything as fields."""
    return Message("info", {**info._asdict(), "options": dict(info.options)})


def unpack_info(message: Message) -> ModelInfo:
    """Undo `pack_info`."""
    return ModelInfo(**message.fields)  # type: ignore[arg-type]


def _lengths(rows: Sequence[Sequence[int]]) -> NDArray[np.int32]:
    return np.array([len(row) for row in rows], np.int32)


def _joined(rows: Sequence[Sequence[int]]) -> NDArray[np.int32]:
    return np.array([token for row in rows for token in row], np.int32)


def _cut(tokens: NDArray[np.generic], lengths: NDArray[np.generic]) -> Iterable[tuple[int, ...]]:
    values = tokens.tolist()
    at = 0
    for length in lengths.tolist():
        yield tuple(values[at : at + length])
        at += length
