"""Protocol of the backends that run an artifact: llama.cpp, onnxruntime, a torch reference, a phone over adb.

```
tokens      t0 t1 t2 | t3 t4 t5          context | continuation
logprobs              l3 l4 l5           natural log, float32, shape [len(continuation)]
greedy                g3 g4 g5           whether the token is the argmax
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, Self, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray

NOT_PROVED = "served file, NOT PROVED"
"""Option of a backend behind a server: what could not be shown of the file that the server runs."""

DOUBTED = "served file, DOUBTED"
"""Option of such a backend whose numbers are too far from the file's own: how far. There is no PASS with it."""

RESUMED = "answers of an interrupted run"
"""Option of a backend that took up answers of a run that was stopped: how many."""

ELSEWHERE = "computed ELSEWHERE than asked"
"""Option of a backend whose device computed on something else than was asked for. There is no verdict with it."""

ROPE_FACTORS = "rope_factors"
"""Key of the options of a file with two sets of rope factors (longrope): the set that was used."""

LONG_ROPE = "long"
"""Its value where every request was computed with the long ones."""


class ScoreRequest(NamedTuple):
    """Score `continuation` after `context` (token ids; both not empty)."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]


class Score(NamedTuple):
    """Per continuation token, all of shape [len(continuation)].

    Attributes:
        logprobs: log p(token | everything before it), natural log, float32.
        greedy: whether the token is the argmax (ties: the lowest id wins).
        ranks: how many tokens are more probable, int32; 0 for the argmax; -1 where the engine does not tell (a server
            that names the argmax alone).
        mean: E_{z~p}[log p(z)], float32 (Min-K%++, arXiv 2404.02936, eq. 3); NaN where the engine does not tell.
        std: standard deviation of log p(z) under z ~ p, float32 (the same).

    """

    logprobs: NDArray[np.float32]
    greedy: NDArray[np.bool_]
    ranks: NDArray[np.int32]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]


class GenerateRequest(NamedTuple):
    """Continue `context` by up to `max_tokens` tokens, until an end-of-generation token or one of `stop`.

    Stop strings are searched from the first non-whitespace character on; leading whitespace is kept.
    `temperature` 0 is greedy (ties: the lowest id); above 0, plain sampling from softmax(logits / temperature), seeded.
    `special` writes special tokens out ("<|channel|>", "[/THINK]"), which the text otherwise omits; the token that ends
    a generation is always omitted.
    """

    context: tuple[int, ...]
    max_tokens: int
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    seed: int = 0
    special: bool = False


class Generation(NamedTuple):
    """The generated tokens and their text, stop string and end-of-generation token excluded.

    `finish` says why it ended: "eos", "stop" or "length".
    """

    tokens: tuple[int, ...]
    text: str
    finish: str


class Step(NamedTuple):
    """The state of a streamed reply after `tokens` tokens.

    Attributes:
        text: the reply so far; ends in U+FFFD while bytes of its last character are missing.
        tokens: number of generated tokens; 0 for the step after the prompt.
        watched: for each watched continuation, log p(continuation | context and the reply so far), natural log.
        finish: "" until the last step, then "eos", "stop" or "length", with `text` as in `Generation`.

    """

    text: str
    tokens: int
    watched: tuple[float, ...]
    finish: str


def chosen_by_size(original: int) -> str:
    """Return the value of ROPE_FACTORS where the size decides: the short ones up to `original` tokens."""
    return f"short in contexts of up to {original:,} tokens, long beyond"


class ModelInfo(NamedTuple):
    """The engine's description of the loaded artifact.

    Attributes:
        backend: "llama.cpp", "onnxruntime", "torch", …
        engine: version and commit of the engine.
        processor: the processor that runs the model, with the engine's feature flags.
        vocabulary: number of tokens.
        context_length: tokens that the loaded context can hold for one sequence.
        tokenizer_digest: sha256 over the vocabulary's pieces, merges, BOS and EOS; equal for all formats of one model.
        chat_template: the artifact's chat template (Jinja), None where it has none.
        bos: id of the token that starts a text, None where the tokenizer adds none.
        options: settings that can change the numbers (threads, batch size, flash attention, …).
        eos: id of the tokenizer's end-of-text token, None where it has none.
        prompt_digest: sha256 over chat templates, special tokens, token types and pre-tokenizer, as this file format
            stores them; empty where the backend cannot tell.
        unscored: why the engine gives no log-probabilities (a server without them), in which case `score` is an
            `UnsupportedError`; empty if it gives them.

    """

    backend: str
    engine: str
    processor: str
    vocabulary: int
    context_length: int
    tokenizer_digest: str
    chat_template: str | None
    bos: int | None
    options: Mapping[str, str]
    eos: int | None = None
    prompt_digest: str = ""
    unscored: str = ""


class Backend(Protocol):
    """Runs one artifact. A context manager; native code runs in a child process that ends with it.

    Results are in request order. Requests that share a prefix share its computation. A crash, a hang, running out of
    memory or a NaN is a `BackendError` of that run. A request longer than `context_length` is an `InputError` that
    names its index and length, raised before anything is computed.
    """

    @property
    def info(self) -> ModelInfo:
        """Description of the loaded artifact."""

    def tokenize(self, text: str, *, special: bool, parse_special: bool = False) -> tuple[int, ...]:
        """Token ids of `text`. `special` adds the artifact's BOS/EOS; `parse_special` parses <|markers|> in `text`."""

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Text of `tokens` without special tokens; invalid UTF-8 becomes U+FFFD."""

    def render_chat(self, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool = True) -> str:
        """Render `messages` ({"role", "content"}) with the artifact's own template; `InputError` if it has none."""

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Score]:
        """Score each request."""

    def generate(self, requests: Sequence[GenerateRequest]) -> Iterator[Generation]:
        """Continue each request."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@runtime_checkable
class StreamingBackend(Backend, Protocol):
    """A backend that also streams a reply token by token."""

    def stream(self, request: GenerateRequest, watched: Sequence[tuple[int, ...]] = ()) -> Iterator[Step]:
        """Continue one request and yield a step after the prompt and after each token; the last one has `finish`.

        ```
        tokens      t0 t1 t2 | r0        r1        r2            context | reply
        steps                0         1         2         3     before r0, after r0, …
        watched              p(w|t…)   p(w|t… r0)  …             alternatives at that position
        ```
        The reply equals that of `generate`. Log-probabilities at the first step equal those of `score`; later ones
        differ by rounding, since the engine decodes the reply token by token. Closing the iterator ends the
        computation. A watched continuation without tokens is an `InputError`.
        """


class Kept(NamedTuple):
    """Answers in a journal that was opened.

    Attributes:
        answers: number of answers of an interrupted run.
        ignored: why answers found there are not used; empty where there are none such.

    """

    answers: int
    ignored: str


@runtime_checkable
class KeepingBackend(Backend, Protocol):
    """A backend that can keep its answers in a file, so that a stopped run goes on where it was."""

    def keep(self, journal: Path, origin: str, secret: bytes) -> Kept:
        """Keep answers in `journal` from now on, and give those that it holds without computing them.

        Args:
            journal: the file; made where it is missing, private to its owner.
            origin: what gives the answers; those of another origin are dropped.
            secret: authenticates the answers: without it nobody can add any.

        Raises:
            OutputError: the file cannot be used.

        """


@runtime_checkable
class WeighingBackend(Backend, Protocol):
    """A backend that tells how much memory it has taken."""

    def peak_memory(self) -> int | None:
        """Largest resident set so far of the process that computes, in bytes; None where that does not tell.

        Mapped pages of the model are included.

        Raises:
            BackendError: the system does not tell.

        """


@runtime_checkable
class FinishingBackend(Backend, Protocol):
    """A backend that keeps answers, so that a killed run can go on."""

    def finish(self) -> None:
        """Forget the answers kept: the run is complete."""
