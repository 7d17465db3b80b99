"""The backend "evidence": answers that a device gave to a job, in place of an engine.

Prompts are made here, as for every backend, and each request is looked up in the job by its content: what the job does
not ask, or the device did not answer, is an error. How a reply ends is decided here too, token by token.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from edgeproof.contracts.errors import ArtifactError, EvidenceError
from edgeproof.contracts.progress import no_beat
from edgeproof.runtime.batching.continuing import Continuation
from edgeproof.runtime.batching.requests import check_generations, check_scores
from edgeproof.runtime.evidence.described import Described, peak_memory
from edgeproof.runtime.evidence.job_file import read_job
from edgeproof.runtime.evidence.sealed import open_evidence
from edgeproof.runtime.evidence.vocabulary import VocabularyOnly
from edgeproof.runtime.probe.launch import sha256
from edgeproof.runtime.probe.score import read_score
from edgeproof.runtime.values import list_at, nonsense, token_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from edgeproof.contracts.backend import GenerateRequest, Generation, Score, ScoreRequest

AGAIN = "run the job again on the device"


class Replay(VocabularyOnly):
    """`Backend` over evidence.

    Args:
        artifact: the GGUF that the job is of.
        engine: the evidence.
        job: the job that it answers.
        lora: must be None.
        context_length: tokens that the longest request may have.
        threads: not used.
        beat: called as work goes on; may raise to stop it.

    Raises:
        ArtifactError: the device had another file than `artifact`.
        EvidenceError: the evidence is of another job, altered, or not whole.
        InputError: job or evidence cannot be read.

    """

    def __init__(
        self,
        artifact: Path,
        *,
        engine: str,
        job: str,
        lora: Path | None = None,
        context_length: int | None = None,
        threads: int | None = None,
        beat: Callable[[], None] = no_beat,
    ) -> None:
        super().__init__(artifact, lora=lora, context_length=context_length, threads=threads, beat=beat)
        given = read_job(Path(job))
        opened = open_evidence(Path(engine), given)
        theirs, here = str(opened.header.get("artifact_sha256")), sha256(artifact, beat)
        if theirs != here:
            raise ArtifactError(
                f"the device had another file: sha256 {theirs[:12]}… there, {here[:12]}… here",
                next_step="judge the file that the job was written for",
            )
        described = Described(opened.header, opened.summary, given.content["compute"])
        self._peak_memory = peak_memory(opened.header)
        self._full = opened.header["engine"]["name"] == "probe"
        self._answers = opened.answers
        self._scores: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
        self._generations: dict[tuple[object, ...], int] = {}
        for number, request in enumerate(given.requests):
            self._find(number, request, given.content["contexts"])
        self._info = self._info._replace(
            engine=described.engine,
            processor=described.processor,
            unscored=described.unscored,
            options={**described.options, "job": given.id},
        )

    def peak_memory(self) -> int | None:
        """Largest resident set of the program on the device, in bytes, as the evidence tells it; None if not."""
        return self._peak_memory

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Score]:
        """Return the device's score of each request."""
        check_scores(requests, self._info.context_length, self._info.vocabulary)
        for context, continuation in requests:
            answer = self._answer(self._scores.get((context, continuation)))
            yield read_score(answer, len(continuation), full=self._full)

    def generate(self, requests: Sequence[GenerateRequest]) -> Iterator[Generation]:
        """Return the device's continuation of each request."""
        check_generations(requests, self._info.context_length, self._info.vocabulary)
        for request in requests:
            yield self._continued(request, self._answer(self._generations.get(_key(request))))

    def _find(self, number: int, request: Mapping[str, Any], contexts: Sequence[Sequence[int]]) -> None:
        """Enter a request under its content; that of a second turn has the context that the device made."""
        asked = request.get("score") or request["generate"]
        answer = self._answers.get(number)
        if "context" in asked:
            context = tuple(contexts[asked["context"]])
        elif answer is None:
            return
        else:
            context = tuple(self._token(one) for one in list_at(answer.get("context"), "a context"))
        if "score" in request:
            key = (context, tuple(asked["continuation"]))
            if answer is not None or key not in self._scores:
                self._scores[key] = number
        else:
            drawn = tuple(asked["uniforms"])
            settings = (asked["max_tokens"], tuple(asked["stop"]), asked["temperature"], asked["special"], drawn)
            if answer is not None or (context, *settings) not in self._generations:
                self._generations[context, *settings] = number

    def _answer(self, number: int | None) -> Mapping[str, Any]:
        if number is None:
            raise EvidenceError(
                "the gate asks what the device was not asked: its prompt of a second turn is not made of its own first "
                "reply as a gate makes it, or the job is of another version",
                next_step="write the job again, and run it with the app of this version",
            )
        if number not in self._answers:
            raise EvidenceError(f"the evidence has no answer to request {number}", next_step=AGAIN)
        return self._answers[number]

    def _continued(self, request: GenerateRequest, answer: Mapping[str, Any]) -> Generation:
        going = Continuation(request, self._model.piece, self._model.is_end)
        tokens = [self._token(one) for one in list_at(answer.get("tokens"), "tokens")]
        if not any(map(going.accept, tokens)):
            raise nonsense("a generation", "ends without a reason")
        return going.generation

    def _token(self, value: object) -> int:
        return token_at(value, "a token", self._info.vocabulary)


def _key(request: GenerateRequest) -> tuple[object, ...]:
    drawn: tuple[float, ...] = ()
    if request.temperature > 0:
        drawn = tuple(map(float, np.random.Generator(np.random.PCG64(request.seed)).random(request.max_tokens)))
    return (request.context, request.max_tokens, request.stop, request.temperature, request.special, drawn)
