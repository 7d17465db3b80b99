"""lm-evaluation-harness's three request types on a backend, equal to its `hf` model.

```
loglikelihood           context | continuation     tokenized together, white space moved, cut where the context's end
loglikelihood_rolling   prefix | all of a text      windows that overlap by one token if the context is too short
generate_until          context | …                until a stop string, an end token or the token limit
```
Checked against lm_eval 0.4.13 (`TemplateLM._encode_pair`, `HFLM`). The prefix before an empty context is the BOS if the
artifact adds one, else the end-of-text token; `hf` takes a BOS that the tokenizer names but never adds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.backend import GenerateRequest, ScoreRequest
from edgeproof.contracts.errors import BackendError, InputError, UnsupportedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.contracts.backend import Backend, Score

MAX_TOKENS = 256
"""Default maximum tokens of an answer, as in `hf`."""

_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_NEUTRAL: Mapping[str, object] = {"top_p": 1.0, "top_k": 0, "num_beams": 1, "repetition_penalty": 1.0, "min_p": 0.0}


class Likelihood(NamedTuple):
    """Natural log of the continuation's probability, and whether greedy decoding gives it."""

    logprob: float
    greedy: bool


def prefix_token(backend: Backend, given: int | None = None) -> int:
    """Return the prefix token of a text without context: the given token, else the BOS, else the end of text.

    Raises:
        UsageError: the artifact defines neither, or the given token is not in its vocabulary.

    """
    info = backend.info
    token = given if given is not None else info.bos if info.bos is not None else info.eos
    if token is None or not 0 <= token < info.vocabulary:
        raise UsageError(
            f"there is no prefix token for an empty context ({token}, vocabulary of {info.vocabulary})",
            next_step="give one in the model's arguments: prefix_token_id=N",
        )
    return token


def encode_pair(backend: Backend, context: str, continuation: str, prefix: int) -> ScoreRequest:
    """Tokenize a context with its continuation; a context that is too long is truncated at the beginning.

    Raises:
        InputError: the continuation has no token of its own, or alone fills the context.

    """
    if context == "":
        tokens = backend.tokenize(continuation, special=False, parse_special=True)
        if tokens[:1] != (prefix,):
            tokens = (prefix, *tokens)
        start = 1
    else:
        bare = context.rstrip()
        tokens = backend.tokenize(context + continuation, special=True, parse_special=True)
        start = len(backend.tokenize(bare, special=True, parse_special=True))
    before, after = tokens[:start], tokens[start:]
    room = backend.info.context_length - len(after)
    if not after or not before or room < 1:
        raise InputError(
            f"a continuation of {len(continuation)} characters has {len(after)} tokens of its own after a context of "
            f"{len(before)}; the artifact's context holds {backend.info.context_length}",
            next_step="remove the task's document, or load the artifact with a longer context (context_length=N)",
        )
    return ScoreRequest(before[-room:], after)


def loglikelihoods(backend: Backend, pairs: Sequence[tuple[str, str]], prefix: int) -> list[Likelihood]:
    """Score each continuation after its context, in one backend call and without repeating pairs.

    Raises:
        InputError: as for `encode_pair`.
        BackendError: the engine failed, stopped early, or returned an invalid number.

    """
    requests = [encode_pair(backend, context, continuation, prefix) for context, continuation in pairs]
    found = _scores(backend, requests)
    return [Likelihood(_sum(found[request]), all(found[request].greedy.tolist())) for request in requests]


def rolling_windows(tokens: tuple[int, ...], prefix: int, context_length: int) -> list[ScoreRequest]:
    """Split a text into windows that predict each token once, each with the maximum context before it."""
    size = context_length - 1
    if not tokens:
        return []
    windows = [ScoreRequest((prefix,), tokens[:size])]
    for start in range(size, len(tokens), size):
        end = min(start + size, len(tokens))
        windows.append(ScoreRequest(tokens[end - size - 1 : start], tokens[start:end]))
    return windows


def rolling_loglikelihoods(backend: Backend, texts: Sequence[str], prefix: int) -> list[float]:
    """Return the log-probability of each whole text; 0 for an empty one.

    Raises:
        BackendError: the engine failed, stopped early, or returned an invalid number.

    """
    windows = [
        rolling_windows(backend.tokenize(text, special=True, parse_special=True), prefix, backend.info.context_length)
        for text in texts
    ]
    found = _scores(backend, [window for row in windows for window in row])
    return [math.fsum(_sum(found[window]) for window in row) for row in windows]


def generate_request(backend: Backend, context: str, options: Mapping[str, object], seed: int) -> GenerateRequest:
    """Build a request from a task's generation options; a context that is too long is truncated at the beginning.

    Raises:
        UnsupportedError: an unsupported option (top_p, beams, …).
        InputError: the answer alone fills the context, or an option is not a number.

    """
    given = dict(options)
    until = given.pop("until", [])
    stop = tuple(map(str, until if isinstance(until, list) else [until]))
    lengths = [given.pop(name) for name in _LENGTHS if name in given]
    sample, temperature = given.pop("do_sample", None), given.pop("temperature", 0.0)
    for name, value in given.items():
        if value is not None and value != _NEUTRAL.get(name):
            raise UnsupportedError(
                f"the generation option {name}={value!r} is not supported",
                next_step="remove it: edgeproof samples from softmax(logits / temperature) or takes the argmax",
            )
    try:
        tokens = int(str(next((length for length in lengths if length is not None), MAX_TOKENS)))
        heat = 0.0 if sample is False else float(str(temperature))
    except ValueError as error:
        raise InputError(f"a generation option is not a number: {error}", next_step="fix the task") from error
    room = backend.info.context_length - tokens
    if room < 1 or tokens < 1:
        raise InputError(
            f"an answer of {tokens} tokens leaves no room in a context of {backend.info.context_length}",
            next_step="set max_gen_toks lower, or context_length higher",
        )
    encoded = backend.tokenize(context, special=True, parse_special=True)
    return GenerateRequest(encoded[-room:], tokens, tuple(filter(None, stop)), heat, seed)


def generations(backend: Backend, requests: Sequence[GenerateRequest]) -> list[str]:
    """Return the text of each answer, in one backend call.

    Raises:
        BackendError: the engine failed or stopped early.

    """
    texts = [generation.text for generation in backend.generate(requests)] if requests else []
    if len(texts) != len(requests):
        raise BackendError(f"the backend returned {len(texts)} answers for {len(requests)} requests")
    return texts


def _scores(backend: Backend, requests: Sequence[ScoreRequest]) -> dict[ScoreRequest, Score]:
    unique = list(dict.fromkeys(requests))
    found = list(backend.score(unique)) if unique else []
    if len(found) != len(unique):
        raise BackendError(f"the backend returned {len(found)} scores for {len(unique)} requests")
    return dict(zip(unique, found, strict=True))


def _sum(score: Score) -> float:
    total = math.fsum(score.logprobs.tolist())
    if not math.isfinite(total):
        raise BackendError(
            f"a log-probability is {total}",
            next_step="the artifact's weights or the engine are broken: run it by hand on any prompt",
        )
    return total
