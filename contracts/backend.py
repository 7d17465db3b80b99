"""The contract with whatever runs an artifact: llama.cpp, onnxruntime, a torch reference, a phone over adb.

```
tokens      t0 t1 t2 | t3 t4 t5          context | continuation
logprobs              l3 l4 l5           natural log, float32, shape [len(continuation)]
greedy                g3 g4 g5           was the token the argmax
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, Self, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray


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

    A stop string counts from the first character on that is not white space; white space before it is kept.
    `temperature` 0 is greedy (ties: the lowest id); above 0, plain sampling from softmax(logits / temperature), seeded.
    `special` writes special tokens out ("<|channel|>", "[/THINK]"), which else are no part of the text; the one that
    ends a generation never is.
    """

    context: tuple[int, ...]
    max_tokens: int
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    seed: int = 0
    special: bool = False


class Generation(NamedTuple):
    """The tokens that came and their text, stop string and end-of-generation token excluded.

    `finish` says why it ended: "eos", "stop" or "length".
    """

    tokens: tuple[int, ...]
    text: str
    finish: str


class Step(NamedTuple):
    """A reply under way, after `tokens` tokens of it.

    Attributes:
        text: what the reply says so far; where bytes of its last character are missing, it ends in U+FFFD.
        tokens: how many tokens have come; the step after the prompt has none.
        watched: for each watched continuation, log p(continuation | context and the reply so far), natural log.
        finish: "" while the reply goes on; of the last step "eos", "stop" or "length", and `text` as in `Generation`.

    """

    text: str
    tokens: int
    watched: tuple[float, ...]
    finish: str


class ModelInfo(NamedTuple):
    """What the engine says of the loaded artifact.

    Attributes:
        backend: "llama.cpp", "onnxruntime", "torch", …
        engine: version and commit of the engine.
        processor: the processor that computed, with the engine's feature flags.
        vocabulary: number of tokens.
        context_length: tokens that the loaded context can hold for one sequence.
        tokenizer_digest: sha256 over the vocabulary's pieces, merges, BOS and EOS; equal for all formats of one model.
        chat_template: the artifact's chat template (Jinja), None where it has none.
        bos: id of the token that a text starts with, None where the tokenizer adds none.
        options: settings that can change the numbers (threads, batch size, flash attention, …).
        eos: id of the token that the tokenizer names as the end of a text, None where it names none.
        prompt_digest: sha256 over chat templates, special tokens, token types and pre-tokenizer as this kind of file
            says them; empty where the backend cannot tell.
        unscored: why the engine gives no log-probabilities (a server without them), so that `score` is an
            `UnsupportedError`; empty where it gives them.

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
    """Runs one artifact. A context manager; native code lives in a child process that ends with it.

    Results come in request order. Requests that share a prefix share its computation. A crash, a hang, running out of
    memory or a NaN is a `BackendError` of that run. A request longer than `context_length` is an `InputError` that
    names its index and length, raised before anything is computed.
    """

    @property
    def info(self) -> ModelInfo:
        """What is loaded."""

    def tokenize(self, text: str, *, special: bool, parse_special: bool = False) -> tuple[int, ...]:
        """Token ids of `text`. `special` adds BOS/EOS as the artifact says; `parse_special` reads <|markers|> in it."""

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Text of `tokens`, special tokens left out; invalid UTF-8 becomes U+FFFD."""

    def render_chat(self, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool = True) -> str:
        """Render `messages` ({"role", "content"}) with the artifact's own template. No template: `InputError`."""

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
    """A backend that also gives a reply token by token."""

    def stream(self, request: GenerateRequest, watched: Sequence[tuple[int, ...]] = ()) -> Iterator[Step]:
        """Continue one request and yield a step after the prompt and after each token; the last one has `finish`.

        ```
        tokens      t0 t1 t2 | r0        r1        r2            context | reply
        steps                0         1         2         3     before r0, after r0, …
        watched              p(w|t…)   p(w|t… r0)  …             what else could come there
        ```
        The reply is the one that `generate` gives. Log-probabilities at the first step are those that `score` gives;
        later ones differ from them by rounding, since an engine reads a reply token by token. Closing the iterator ends
        the computation. A watched continuation without tokens is an `InputError`.
        """
