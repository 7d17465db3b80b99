"""HTTP backend: scores and generates through a server that has the GGUF loaded.

Prompts are tokenized and rendered with the artifact's own vocabulary; the server's tokens must agree. The report lists
what shows that the server runs this very file, and what cannot be shown.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.contracts.backend import GenerateRequest, Generation, ModelInfo, Score, ScoreRequest
from edgeproof.contracts.errors import ArtifactError, BackendError, UnsupportedError
from edgeproof.contracts.progress import no_beat
from edgeproof.runtime.batching.requests import check_generations, check_scores
from edgeproof.runtime.batching.windows import in_windows
from edgeproof.runtime.llama.finite_values import refuse_non_finite
from edgeproof.runtime.llama.model import Model
from edgeproof.runtime.opened import TokenizingBackend
from edgeproof.runtime.prompt_digest import gguf_prompt_digest
from edgeproof.runtime.server.connection import DEFAULT_PATIENCE, Connection, parse_address
from edgeproof.runtime.server.dialect import SENTENCE
from edgeproof.runtime.server.llama_server import LlamaServer
from edgeproof.runtime.server.openai import OpenAi
from edgeproof.runtime.server.served import own_score, proof
from edgeproof.runtime.tokenizer_digest import read_tokenizer, tokenizer_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from edgeproof.runtime.server.dialect import Dialect
    from numpy.typing import NDArray

DEFAULT_CONTEXT = 8192
"""Context length if the server gives none."""

SENTINEL_TOKENS = 4
"""Number of the sentence's tokens that are context."""

REPLY_TOKENS = 16
"""Number of generated tokens compared if there are no log-probabilities."""

UNMOVED = 0.05
"""Tolerance, in nat, between two results of one server for the sentence."""

DIALECTS: tuple[type[LlamaServer | OpenAi], ...] = (LlamaServer, OpenAi)
"""The interfaces, best first: each is asked whether it is one (`is_one`)."""


class HttpServer(TokenizingBackend):
    """`Backend` through an HTTP server.

    Args:
        artifact: a local copy of the GGUF that the server has loaded.
        url: the server's URL.
        lora: must be None: adapters on a server cannot be checked from here.
        context_length: maximum tokens of a request; default: the server's.
        threads: threads for the one sentence that compares file and server.
        patience: time limit of one answer, in seconds.
        beat: called during the work; may raise to stop it.

    Raises:
        ArtifactError: not a GGUF, or the server has another model.
        UnsupportedError: `lora` is given, or the artifact is a folder.
        BackendError: nothing answers, or the answers make no sense.

    """

    def __init__(
        self,
        artifact: Path,
        *,
        url: str,
        lora: Path | None = None,
        context_length: int | None = None,
        threads: int | None = None,
        patience: float = DEFAULT_PATIENCE,
        beat: Callable[[], None] = no_beat,
    ) -> None:
        if lora is not None:
            raise UnsupportedError(
                "a server's adapters cannot be seen from here", next_step="merge the adapter, or gate with llama.cpp"
            )
        if artifact.is_dir():
            raise UnsupportedError(f"{artifact} is a folder; the http backend takes a GGUF", next_step="give a GGUF")
        tokenizer = read_tokenizer(artifact)
        refuse_non_finite(artifact, beat)
        self._unchecked: dict[tuple[str, bool], None] = {}
        self._checked: set[tuple[str, bool]] = set()
        self._connection = Connection(parse_address(url), patience=patience, beat=beat)
        self._model = self._vocabulary = Model(artifact, None, beat, vocabulary_only=True)
        try:
            self._dialect = self._found()
            self._identity = self._dialect.identity()
            _refuse_other_shape(self._model.shape, self._identity.shape)
            tokens = self._model.tokenize(SENTENCE, special=True, parse_special=False)
            self._sentence = ScoreRequest(tokens[:SENTINEL_TOKENS], tokens[SENTINEL_TOKENS:])
            tokenized = self._dialect.same_tokens([(SENTENCE, False)])
            unscored = self._dialect.cannot_score
            self._said = self._sentinel()
            served = proof(
                artifact,
                self._identity,
                shape=self._model.shape,
                chat_template=self._model.chat_template,
                tokenized=tokenized,
                said=self._said,
                expected=None if unscored else own_score(artifact, self._sentence, threads, beat),
            )
        except BaseException:
            self.close()
            raise
        bos = self._model.bos if self._model.adds_bos else None
        self._info = ModelInfo(
            backend="llama.cpp",  # whose numbers these compare with: the baseline's
            engine=self._identity.engine,
            processor=f"the server's at {self._connection.address}, which does not tell it",
            vocabulary=self._model.vocabulary_size,
            context_length=context_length or self._identity.context_length or DEFAULT_CONTEXT,
            tokenizer_digest=tokenizer_digest(tokenizer, first=bos),
            chat_template=self._model.chat_template,
            bos=bos,
            options={
                "through": f"http, {self._connection.address}",
                **served,
                "lora": "none",
            },
            eos=self._model.eos,
            prompt_digest=gguf_prompt_digest(artifact),
            unscored=unscored,
        )

    def close(self) -> None:
        """Close the connection and free the vocabulary."""
        self._connection.close()
        self._model.close()

    def tokenize(self, text: str, *, special: bool, parse_special: bool = False) -> tuple[int, ...]:
        """Token ids of `text` by the artifact's vocabulary; compared with the server's before the next request."""
        if (text, parse_special) not in self._checked:
            self._unchecked[text, parse_special] = None
        return super().tokenize(text, special=special, parse_special=parse_special)

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Score]:
        """Score each request. Ranks other than 0 are -1, means and deviations NaN: the server does not give them.

        Raises:
            UnsupportedError: the server gives no log-probabilities.

        """
        if self._info.unscored:
            raise UnsupportedError(
                f"the server at {self._connection.address} gives no log-probabilities of given answers: "
                f"{self._info.unscored}",
                next_step="use llama-server; llama-cpp-python's server gives them with --logits_all true",
            )
        check_scores(requests, self._info.context_length, self._info.vocabulary)
        self._compare_tokens()
        yield from in_windows(requests, self._dialect.score)
        self._refuse_change()

    def generate(self, requests: Sequence[GenerateRequest]) -> Iterator[Generation]:
        """Continue each request."""
        check_generations(requests, self._info.context_length, self._info.vocabulary)
        self._compare_tokens()
        yield from map(self._dialect.generate, requests)
        self._refuse_change()

    def _found(self) -> Dialect:
        for dialect in DIALECTS:
            if dialect.is_one(self._connection):
                return dialect(self._connection, self._model)
        raise BackendError(
            f"{self._connection.address} is no server with llama-server's or OpenAI's completion interface",
            next_step="give the URL of the server itself, without the path of an interface",
        )

    def _sentinel(self) -> NDArray[np.float32]:
        """Return the sentence's log-probabilities; if the server gives none, the tokens that it generates next."""
        if self._dialect.cannot_score:
            request = GenerateRequest(self._sentence.context + self._sentence.continuation, REPLY_TOKENS)
            return np.array(self._dialect.generate(request).tokens, np.float32)
        (score,) = self._dialect.score([self._sentence], cached=False)
        return score.logprobs

    def _compare_tokens(self) -> None:
        self._dialect.same_tokens(list(self._unchecked))
        self._checked.update(self._unchecked)
        self._unchecked.clear()

    def _refuse_change(self) -> None:
        """Raise if the server's identity or its result for the sentence has changed."""
        identity = self._dialect.identity()
        said, before = self._sentinel(), self._said
        moved = float(np.abs(said - before).max(initial=0.0)) if len(said) == len(before) else math.inf
        if identity != self._identity or moved > UNMOVED:
            differing = [
                name for name, then, now in zip(identity._fields, self._identity, identity, strict=True) if then != now
            ]
            answers = "its answers are others" if self._info.unscored else f"its answers moved by {moved:.3f} nat"
            what = f"it names another {', '.join(differing)}" if differing else answers
            raise BackendError(
                f"the server changed its model while it was probed: {what}",
                next_step="gate again, and leave the server alone until it ends",
            )


def _refuse_other_shape(ours: Mapping[str, int], theirs: Mapping[str, int]) -> None:
    differing = [f"{name} {size:,} there, {ours[name]:,} in the artifact" for name, size in theirs.items()
                 if size != ours[name]]  # fmt: skip
    if differing:
        raise ArtifactError(
            f"the server has another model loaded than the artifact: {'; '.join(differing)}",
            next_step="start the server with the very file that is judged",
        )
