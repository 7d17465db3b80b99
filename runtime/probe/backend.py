"""The probe backend: scores and generates with android_demo/probe, and proves that it has the very file.

The probe hashes the file that it loads, where it runs: a digest that is not the artifact's is an error. Prompts are
tokenized here, by the artifact's own vocabulary. How an answer ends is decided here too, token by token, as for every
backend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from edgeproof.contracts.errors import UnsupportedError
from edgeproof.contracts.progress import no_beat
from edgeproof.runtime.batching.continuing import Continuation
from edgeproof.runtime.batching.requests import check_generations, check_scores
from edgeproof.runtime.llama.finite_values import refuse_non_finite
from edgeproof.runtime.llama.model import Model
from edgeproof.runtime.opened import TokenizingBackend
from edgeproof.runtime.probe.described import described, measured_speed
from edgeproof.runtime.probe.launch import sha256
from edgeproof.runtime.probe.program import Program
from edgeproof.runtime.probe.score import read_score
from edgeproof.runtime.tokenizer_digest import read_tokenizer
from edgeproof.runtime.values import count_at, list_at, nonsense, table_at, token_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from edgeproof.contracts.backend import GenerateRequest, Generation, Score, ScoreRequest
    from edgeproof.runtime.probe.launch import Launch

DEFAULT_PATIENCE = 240.0
WAVE = 8
"""Generations that the probe has side by side."""


def refuse_unsupported(artifact: Path, lora: Path | None) -> None:
    """Refuse all but one GGUF file."""
    if lora is not None or artifact.is_dir():
        raise UnsupportedError("the probe runs one GGUF file", next_step="merge the adapter, or export a GGUF")


class Probe(TokenizingBackend):
    """`Backend` through the probe program.

    Args:
        artifact: a GGUF.
        launch: how the program is started.
        context_length: tokens that the longest request may have.
        threads: threads that compute; by default the processor's, at most 4.
        patience: seconds that one answer may take.
        beat: called as work goes on; may raise to stop it.

    Raises:
        ArtifactError: no GGUF, or the probe has another file.
        BackendError: the probe cannot be started, died or hung, or computes on something else than a CPU.

    """

    def __init__(
        self,
        artifact: Path,
        launch: Launch,
        *,
        context_length: int | None = None,
        threads: int | None = None,
        patience: float = DEFAULT_PATIENCE,
        beat: Callable[[], None] = no_beat,
    ) -> None:
        tokenizer = read_tokenizer(artifact)
        refuse_non_finite(artifact, beat)
        self._model = self._vocabulary = Model(artifact, None, beat, vocabulary_only=True)
        self._program = Program(launch.command, patience=patience, beat=beat, reason=launch.reason)
        try:
            origin = f"{launch.processor}; {launch.options.get('probe', '')}"
            opening = {"model": launch.model, "origin": origin, "threads": threads or 0}
            journal = {"journal": launch.journal} if launch.journal else {}
            info = table_at(self._program.ask({"open": opening | journal}).get("info"), "the probe's info")
            self._info = described(
                info,
                artifact=artifact,
                digest=sha256(artifact, beat),
                tokenizer=tokenizer,
                model=self._model,
                launch=launch,
                context_length=context_length,
                speed=measured_speed(self._program, self._model.vocabulary_size),
            )
        except BaseException:
            self.close()
            raise

    def peak_memory(self) -> int:
        """Largest resident set so far of the probe program, in bytes."""
        usage = table_at(self._program.ask({"usage": True}).get("usage"), "the probe's usage")
        return count_at(usage.get("peak_rss"), "the probe's peak memory")

    def finish(self) -> None:
        """Tell the probe that the run is complete: no other run takes its answers up."""
        self._program.ask({"finish": True})

    def close(self) -> None:
        """End the program and free the vocabulary."""
        self._program.close()
        self._model.close()

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Score]:
        """Score each request."""
        check_scores(requests, self._info.context_length, self._info.vocabulary)
        for index, (context, continuation) in enumerate(requests):
            answer = self._program.ask({"id": index, "score": {"context": context, "continuation": continuation}})
            if answer.get("id") != index:
                raise nonsense("a score", "belongs to another request")
            yield read_score(answer, len(continuation))

    def generate(self, requests: Sequence[GenerateRequest]) -> Iterator[Generation]:
        """Continue each request, WAVE of them side by side."""
        check_generations(requests, self._info.context_length, self._info.vocabulary)
        for start in range(0, len(requests), WAVE):
            wave = requests[start : start + WAVE]
            going = [Continuation(request, self._model.piece, self._model.is_end) for request in wave]
            while any(one.result is None for one in going):
                self._advance(wave, going)
            yield from (one.generation for one in going)

    def _advance(self, wave: Sequence[GenerateRequest], going: Sequence[Continuation]) -> None:
        """Let the probe continue those that go on; it may stop too early, never too late."""
        asked = [index for index, one in enumerate(going) if one.result is None]
        for index in asked:
            request, said = wave[index], going[index].tokens
            draws = np.random.Generator(np.random.PCG64(request.seed)).random(request.max_tokens)
            fields = {
                "context": (*request.context, *said),
                "max_tokens": request.max_tokens - len(said),
                "stop": request.stop,
                "temperature": request.temperature,
                "uniforms": draws[len(said) :].tolist() if request.temperature > 0 else [],
                "special": request.special,
            }
            self._program.send({"id": index, "generate": fields})
        self._program.send({"flush": True})
        for index in asked:
            answer = self._program.receive()
            if answer.get("id") != index:
                raise nonsense("a generation", "belongs to another request")
            tokens = [
                token_at(token, "a token", self._info.vocabulary) for token in list_at(answer.get("tokens"), "tokens")
            ]
            if not tokens or (not any(map(going[index].accept, tokens)) and answer.get("finish") != "stop"):
                raise nonsense("a generation", "ends without a reason")
