"""OpenAI's completion interface: /v1/models and /v1/completions, as in llama-cpp-python, vLLM and others.

Prompts are sent as texts, so a token sequence can be scored only if its text tokenizes to it. `echo` with `logprobs`
gives the log-probability of each token of a prompt. Not every server has it, and some assign the numbers to the wrong
tokens (llama-cpp-python 0.3.36 is off by one if the model has no BOS). Before scoring, the echoed numbers of a prompt
are therefore compared with those of the same tokens when generated.
"""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING

from edgeproof.contracts.backend import Generation, ScoreRequest
from edgeproof.contracts.errors import ArtifactError, BackendError
from edgeproof.runtime.batching.logits import empty_score
from edgeproof.runtime.server.dialect import SENTENCE, Identity
from edgeproof.runtime.values import list_at, logprob_at, nonsense, table_at, text_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgeproof.contracts.backend import GenerateRequest, Score
    from edgeproof.runtime.llama.model import Model
    from edgeproof.runtime.server.connection import Connection, Reply

TEXTS = 64
"""Maximum number of texts compared at a time, one request each."""

SAME = 0.1
"""Tolerance, in nat, between two computations of one token (other batch sizes, other kernels)."""

PLACES = 3
"""Number of compared tokens of a prompt."""

# Penalties under both names: llama-cpp-python has the first, vLLM the second, with a default from the model's own
# generation_config.json. Each ignores the name that it does not know.
PLAIN: Mapping[str, object] = {
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "repeat_penalty": 1.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "stream": False,
}


class OpenAi:
    """`Dialect` of OpenAI's completion interface."""

    def __init__(self, connection: Connection, vocabulary: Model) -> None:
        self._connection, self._vocabulary = connection, vocabulary
        self._model = self.identity().model
        self._tokenizes = True
        self._reason: str | None = None

    @staticmethod
    def is_one(connection: Connection) -> bool:
        """Whether the server has /v1/models."""
        reply = connection.get("/v1/models")
        return isinstance(reply.value, dict) and isinstance(reply.value.get("data"), list)

    @property
    def cannot_score(self) -> str:
        """Reason why the server gives no log-probabilities of given answers; empty if it does."""
        if self._reason is None:
            self._reason = self._calibrated()
        return self._reason

    def identity(self) -> Identity:
        """Request the server's identity; it must serve a single model."""
        reply = table_at(self._connection.get("/v1/models").value, "/v1/models")
        models = list_at(reply.get("data"), "/v1/models")
        if len(models) != 1:
            raise BackendError(
                f"the server at {self._connection.address} has {len(models)} models",
                next_step="start it with the one that is judged",
            )
        model = text_at(table_at(models[0], "/v1/models").get("id"), "/v1/models: the model's name")
        return Identity("a server with OpenAI's completion interface", model, None, {}, None)

    def same_tokens(self, texts: Sequence[tuple[str, bool]]) -> bool:
        """Compare the tokens of some texts if the server has /extras/tokenize (llama-cpp-python)."""
        # The server puts BOS in front of every text, one that begins with it included.
        own = [text for text, _ in texts if text and not text.startswith(self._vocabulary.named_text("bos") or "\0")]
        some = own[:: max(1, len(own) // TEXTS)]
        for text in some if self._tokenizes else ():
            reply = self._connection.post("/extras/tokenize", {"input": text})
            if reply.status != http.client.OK:
                self._tokenizes = False
                break
            theirs = list_at(table_at(reply.value, "/extras/tokenize").get("tokens"), "/extras/tokenize")
            ours = self._vocabulary.tokenize(text, special=True, parse_special=True)
            if theirs != list(ours):
                raise ArtifactError(
                    f"the server tokenizes otherwise than the artifact: a text of {len(text)} characters is "
                    f"{len(theirs)} tokens there, {len(ours)} by the file",
                    next_step="start the server with the very file that is judged",
                )
        return self._tokenizes

    def score(self, requests: Sequence[ScoreRequest], *, cached: bool = True) -> Iterator[Score]:  # noqa: ARG002 (it has no such choice)
        """Score each request in order."""
        for request in requests:
            score = empty_score(len(request.continuation))
            logprobs, peaks = self._echoed(request)
            score.logprobs[:] = logprobs
            score.greedy[:] = [own == peak for own, peak in zip(logprobs, peaks, strict=True)]
            score.ranks[score.greedy] = 0
            yield score

    def generate(self, request: GenerateRequest) -> Generation:
        """Continue one request; stop strings are matched here, since servers strip white space before them."""
        body = {"max_tokens": request.max_tokens, "temperature": request.temperature, "seed": request.seed % 2**31}
        answer = self._asked(request.context, body)
        choice = _choice(answer)
        text, finish = text_at(choice.get("text"), "the text of a choice"), "eos"
        if choice.get("finish_reason") == "length":
            finish = "length"
        elif choice.get("finish_reason") != "stop":
            raise nonsense("a generation", "ends without a reason")
        begin = len(text) - len(text.lstrip())
        found = [at for at in (text.find(stop, begin) for stop in filter(None, request.stop)) if at >= 0]
        if found:
            text, finish = text[: min(found)], "stop"
        tokens = self._vocabulary.tokenize(text, special=False, parse_special=False)
        if finish == "length":
            readable = text.replace("\ufffd", "")  # three tokens, where half a character was one
            counted = len(self._vocabulary.tokenize(readable, special=False, parse_special=False))
            _refuse_cut(answer.get("usage"), counted, request.max_tokens)
        return Generation(tokens, text, finish)

    def _echoed(self, request: ScoreRequest) -> tuple[list[float], list[float]]:
        """Return the log-probability of each token of the continuation, and the largest one at its position."""
        tokens = request.context + request.continuation
        choice = _choice(self._asked(tokens, {"max_tokens": 1, "temperature": 0.0, "echo": True, "logprobs": 1}))
        told = table_at(choice.get("logprobs"), "the log-probabilities")
        columns = [list_at(told.get(name), name) for name in ("tokens", "token_logprobs", "top_logprobs")]
        expected = len(tokens) - self._has_bos(tokens)
        if {len(column) for column in columns} - {expected, expected + 1} or len(set(map(len, columns))) != 1:
            raise nonsense("an echo", f"has {len(columns[0])} tokens, where {expected} were sent")
        rows = list(zip(*columns, strict=True))[expected - len(request.continuation) : expected]
        for token, (text, _, _) in zip(request.continuation, rows, strict=True):
            piece = self._vocabulary.piece(token, special=False).decode("utf-8", "ignore")
            if text_at(text, "a token of an echo").strip() != piece.strip():
                raise nonsense("an echo", "holds another token than the one that was sent")
        logprobs = [logprob_at(value, "token_logprobs") for _, value, _ in rows]
        # Texts are all that names the most probable token, and tokens of invalid UTF-8 have the same one, none: they
        # never count as the most probable.
        return logprobs, [_peak(top) if text else 0.0 for text, _, top in rows]

    def _calibrated(self) -> str:
        """Compare an echo with the numbers of the same tokens when generated; return the defect, empty if none."""
        tokens = self._vocabulary.tokenize(SENTENCE, special=True, parse_special=True)
        reply = self._post(tokens, {"max_tokens": 1, "temperature": 0.0, "echo": True, "logprobs": 1})
        if reply.status != http.client.OK:
            return f"it refuses to echo a prompt with log-probabilities (status {reply.status})"
        if not _choice(reply.value).get("logprobs"):
            return "it gives no log-probabilities of a prompt"
        compared = 0
        for at in range(4, len(tokens)):
            if self._text(tokens[:at]) is None:
                continue
            peak = self._echoed(ScoreRequest(tokens[:at], tokens[at:]))[1][0]
            choice = _choice(self._asked(tokens[:at], {"max_tokens": 1, "temperature": 0.0, "logprobs": 1}))
            told = choice.get("logprobs")
            if not isinstance(told, dict):
                return "it gives no log-probabilities of what it generates, to hold those of a prompt against"
            next_one = list_at(told.get("top_logprobs"), "top_logprobs")
            if not next_one or abs(_peak(next_one[0]) - peak) > SAME:
                return "the log-probabilities of a prompt stand beside other tokens than they are of"
            compared += 1
            if compared == PLACES:
                return ""
        return "no place of a prompt can be compared with what is generated there"

    def _asked(self, tokens: tuple[int, ...], body: Mapping[str, object]) -> Mapping[str, object]:
        reply = self._post(tokens, body)
        if reply.status != http.client.OK:
            raise BackendError(
                f"{self._connection.address} answered /v1/completions with status {reply.status}",
                next_step="read the server's own log",
            )
        answer = table_at(reply.value, "/v1/completions")
        model = answer.get("model")
        if model != self._model:
            raise BackendError(
                "the server changed its model while it was probed", next_step="gate again, and leave the server alone"
            )
        return answer

    def _post(self, tokens: tuple[int, ...], body: Mapping[str, object]) -> Reply:
        text = self._text(tokens)
        if text is None:
            raise BackendError(
                f"a request of {len(tokens)} tokens cannot be asked of this server: it takes texts, and theirs "
                "tokenizes otherwise",
                next_step="use llama-server, which takes tokens",
            )
        return self._connection.post("/v1/completions", {**PLAIN, **body, "model": self._model, "prompt": text})

    def _text(self, tokens: tuple[int, ...]) -> str | None:
        """Return the text that the server tokenizes to `tokens`; None if there is none."""
        own = tokens[self._has_bos(tokens) :]
        try:
            text = b"".join(self._vocabulary.piece(token, special=True) for token in own).decode("utf-8")
        except UnicodeDecodeError:
            return None
        for one in (text, text.removeprefix(" ")):
            if self._vocabulary.tokenize(one, special=True, parse_special=True) == tokens:
                return one
        return None

    def _has_bos(self, tokens: tuple[int, ...]) -> int:
        """Return 1 if the first token is the BOS that the server adds, else 0."""
        return int(self._vocabulary.adds_bos and tokens[:1] == (self._vocabulary.bos,))


def _refuse_cut(usage: object, counted: int, asked: int) -> None:
    """Raise if a reply that ended by its length has fewer tokens than asked: by the server's count, else by ours."""
    told = usage.get("completion_tokens") if isinstance(usage, dict) else None
    length, whose = (told, "its own") if isinstance(told, int) else (counted, "the artifact's tokenizer's")
    if length < asked:
        raise BackendError(
            f"the server cuts replies short: {length} of {asked} tokens by {whose} count",
            next_step="start it without a limit of its own on the length of replies, and with a context that is long "
            "enough; it must tell usage.completion_tokens",
        )


def _choice(value: object) -> Mapping[str, object]:
    choices = list_at(table_at(value, "/v1/completions").get("choices"), "choices")
    if len(choices) != 1:
        raise nonsense("choices", f"has {len(choices)} where one was asked for")
    return table_at(choices[0], "a choice")


def _peak(top: object) -> float:
    values = table_at(top, "top_logprobs").values()
    if not values:
        raise nonsense("top_logprobs", "is empty")
    return max(logprob_at(value, "top_logprobs") for value in values)
