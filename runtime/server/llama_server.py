"""Interface of llama-server: /props, /v1/models, /lora-adapters, /tokenize, /completion (tools/server/README.md).

The server gives the log-probability of the chosen token before sampling (`n_probs`), but none of a prompt's tokens.
Therefore each token of a continuation is a request of its own: a logit bias makes the server choose it, without effect
on its log-probability, and the cache holds all tokens before it. Requests are sequential, since the results of
parallel slots depend on other requests.
"""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.contracts.errors import ArtifactError, BackendError
from edgeproof.runtime.batching.continuing import Continuation
from edgeproof.runtime.batching.logits import empty_score
from edgeproof.runtime.server.connection import as_table
from edgeproof.runtime.server.dialect import Identity
from edgeproof.runtime.values import list_at, logprob_at, nonsense, table_at, text_at, token_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgeproof.contracts.backend import GenerateRequest, Generation, Score, ScoreRequest
    from edgeproof.runtime.llama.model import Model
    from edgeproof.runtime.server.connection import Connection

BIAS = 1e5
"""Logit bias, larger than any difference of logits."""

SAME = 1e-3
"""Tolerance between two float32 numbers of a server that should be equal."""

TEXTS = 256
"""Number of texts tokenized per request."""

ROOM = 2
"""Number of tokens of the context that a request cannot use: the server stops before the last ones."""

GRAMMAR = "generation_settings/grammar"
FIELDS = ("tokens", "stop_type", "model", "truncated", "completion_probabilities", GRAMMAR)
"""Fields of the answer to return: not the prompt."""

PLAIN: Mapping[str, object] = {"logit_bias": [], "ignore_eos": False, "post_sampling_probs": False}
"""What a server may have been started with, and a request takes back."""

GREEDY = {"samplers": ["top_k"], "top_k": 1, "temperature": 0.0}


class LlamaServer:
    """`Dialect` of llama-server."""

    cannot_score = ""

    def __init__(self, connection: Connection, vocabulary: Model) -> None:
        self._connection, self._vocabulary = connection, vocabulary
        self._size = vocabulary.vocabulary_size
        self._model = ""
        self._plain = next(token for token in range(self._size) if self._piece(token).isalpha())

    @staticmethod
    def is_one(connection: Connection) -> bool:
        """Whether the server has /props, which no other server has in this form."""
        reply = connection.get("/props")
        if reply.status == http.client.SERVICE_UNAVAILABLE:
            raise BackendError(f"{connection.address} still loads its model", next_step="gate when it has")
        return isinstance(reply.value, dict) and "default_generation_settings" in reply.value

    def identity(self) -> Identity:
        """Request the server's identity; refuse adapters that it would apply."""
        where = f"of {self._connection.address}"
        props = as_table(self._connection.get("/props").value, f"/props {where}")
        if self._connection.get("/lora-adapters").value:
            raise ArtifactError(
                f"the server at {self._connection.address} adds LoRA adapters to its model",
                next_step="start it without --lora: what is judged is the file alone",
            )
        settings = table_at(props.get("default_generation_settings"), f"/props {where}: its settings")
        length = settings.get("n_ctx")
        if not isinstance(length, int) or length < 1:
            raise nonsense(f"/props {where}", "names no context length")
        template = props.get("chat_template")
        return Identity(
            engine=f"llama-server {text_at(props.get('build_info', 'of unknown version'), f'/props {where}')[:80]}",
            model=text_at(props.get("model_path"), f"/props {where}: the model's path"),
            context_length=length - ROOM,
            shape=self._shape(),
            chat_template=template if isinstance(template, str) else None,
        )

    def _shape(self) -> dict[str, int]:
        value = self._connection.get("/v1/models").value
        models = value.get("data") if isinstance(value, dict) else None
        if not isinstance(models, list) or len(models) != 1 or not isinstance(models[0], dict):
            return {}
        meta = models[0].get("meta")
        named = meta if isinstance(meta, dict) else {}
        return {name: size for name in self._vocabulary.shape if isinstance(size := named.get(name), int)}

    def same_tokens(self, texts: Sequence[tuple[str, bool]]) -> bool:
        """Compare the tokens of many texts per request: the server joins those of a list, each tokenized by itself."""
        for special in (False, True):
            own = [text for text, parsed in texts if parsed == special and text]
            for start in range(0, len(own), TEXTS):
                some = own[start : start + TEXTS]
                answer = self._connection.answer(
                    "/tokenize", {"content": some, "add_special": False, "parse_special": special}
                )
                theirs = list_at(answer.get("tokens"), "/tokenize: its list of tokens")
                ours: list[int] = []
                for text in some:
                    ours += self._vocabulary.tokenize(text, special=False, parse_special=special)
                if theirs != ours:
                    raise ArtifactError(
                        f"the server tokenizes otherwise than the artifact: {len(some)} texts are {len(theirs)} tokens "
                        f"there, {len(ours)} by the file",
                        next_step="start the server with the very file that is judged",
                    )
        return True

    def score(self, requests: Sequence[ScoreRequest], *, cached: bool = True) -> Iterator[Score]:
        """Score each request in order; requests with a common prefix follow each other."""
        scores = [empty_score(len(request.continuation)) for request in requests]
        known: dict[tuple[tuple[int, ...], int], tuple[float, bool, int]] = {}
        wholes = [request.context + request.continuation for request in requests]
        for index in sorted(range(len(requests)), key=wholes.__getitem__):
            context, continuation = requests[index]
            for at, token in enumerate(continuation):
                before = context + continuation[:at]
                if (before, token) not in known:
                    known[before, token] = self._token(before, token, cached=cached)
                scores[index].logprobs[at], scores[index].greedy[at], scores[index].ranks[at] = known[before, token]
        yield from scores

    def _token(self, before: tuple[int, ...], token: int, *, cached: bool) -> tuple[float, bool, int]:
        """Return the log-probability of `token`, whether it is the argmax, and its rank: 0, or -1 if unknown."""
        # The server leaves out what it chose where the text would end within a character; there another token is
        # chosen, and this one is looked up among all.
        whole = _is_whole(self._piece(token))
        body = GREEDY | {
            "logit_bias": [[token if whole else self._plain, BIAS]],
            "n_predict": 1,
            "n_probs": 1 if whole else self._size,
        }
        answer = self._complete(before, body, cached=cached)
        chosen = list_at(answer.get("completion_probabilities", []), "completion_probabilities")
        if len(chosen) != 1:
            raise BackendError(
                f"the server gives no log-probabilities: {len(chosen)} where one was asked for",
                next_step="take a llama-server of 2025 or later, without a draft model",
            )
        own = table_at(chosen[0], "completion_probabilities")
        top = list_at(own.get("top_logprobs"), "top_logprobs")
        if not top:
            raise nonsense("top_logprobs", "is empty")
        best = table_at(top[0], "top_logprobs")
        first, peak = token_at(best.get("id"), "top_logprobs", self._size), logprob_at(best.get("logprob"), "the first")
        if not whole:
            own = next((row for row in map(_table, top) if row.get("id") == token), own)
        said = token_at(own.get("id"), "the token that was chosen", self._size)
        if said != token:
            raise nonsense("the token that was chosen", f"is {said}, where {token} was forced")
        logprob = logprob_at(own.get("logprob"), "the token's number")
        _refuse_biased(logprob, peak, alike=first == token)
        return logprob, first == token, 0 if first == token else -1

    def generate(self, request: GenerateRequest) -> Generation:
        """Continue one request; its end is decided here, token by token, as in every backend."""
        going = Continuation(request, self._vocabulary.piece, self._vocabulary.is_end)
        said: tuple[int, ...] = ()
        while True:
            body = {"n_predict": request.max_tokens - len(said), "n_probs": 0, "stop": list(request.stop)}
            if request.temperature > 0:
                body |= {"samplers": ["temperature"], "temperature": request.temperature}
                body |= {"seed": (request.seed + len(said)) % 2**31}
            else:
                body |= GREEDY
            answer = self._complete(request.context + said, body)
            found = list_at(answer.get("tokens"), "the list of tokens")
            tokens = tuple(token_at(token, "a token that was generated", self._size) for token in found)
            if any(map(going.accept, tokens)):
                return going.generation
            # It also ends at stop strings within the white space that an answer begins with, which do not count yet.
            if answer.get("stop_type") != "word" or not tokens:
                raise nonsense(
                    "a generation",
                    f"ends after {len(said) + len(tokens)} of {request.max_tokens} tokens without a reason",
                )
            said += tokens

    def _complete(
        self, tokens: tuple[int, ...], body: Mapping[str, object], *, cached: bool = True
    ) -> Mapping[str, object]:
        asked = {"prompt": list(tokens), "stop": [], "cache_prompt": cached, "return_tokens": True, "stream": False}
        answer = self._connection.answer("/completion", {**PLAIN, **asked, **body, "response_fields": list(FIELDS)})
        if answer.get(GRAMMAR):
            raise BackendError(
                "the server was started with a grammar, which lets its model say some answers only",
                next_step="start it without --grammar, --grammar-file and --json-schema",
            )
        model = text_at(answer.get("model"), "the name of the model")
        if model != (self._model or model):
            raise BackendError(
                "the server changed its model while it was probed", next_step="gate again, and leave the server alone"
            )
        self._model = model
        if answer.get("truncated"):
            raise BackendError(
                f"the server's context is full after {len(tokens):,} tokens",
                next_step="start it with a longer context (-c)",
            )
        return answer

    def _piece(self, token: int) -> bytes:
        return self._vocabulary.piece(token, special=True)


def _table(value: object) -> Mapping[str, object]:
    return table_at(value, "top_logprobs")


def _refuse_biased(logprob: float, peak: float, *, alike: bool) -> None:
    """Refuse numbers that no distribution has: one above the largest, or two with a sum of probabilities above 1."""
    if logprob > peak + SAME or (alike and logprob < peak - SAME):
        raise nonsense("a token's log-probability", f"is {logprob}, that of the most probable one {peak}")
    if not alike and np.exp(logprob) + np.exp(peak) > 1 + SAME:
        raise nonsense("two tokens' probabilities", f"are {np.exp(logprob):.4f} and {np.exp(peak):.4f} together")


def _is_whole(piece: bytes) -> bool:
    """Whether a text that ends here is complete for the server: no unfinished UTF-8 character at its end."""
    lengths = ((0xE0, 0xC0, 2), (0xF0, 0xE0, 3), (0xF8, 0xF0, 4))
    return not any(
        piece[-back] & mask == start and back < length
        for back in range(1, min(4, len(piece)) + 1)
        for mask, start, length in lengths
    )
