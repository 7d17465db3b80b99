"""From items to the tokens that a backend scores or continues, as the published code makes them.

```
TOFU, OpenUnlearning    [BOS] prompt | answer EOS      both tokenized together, cut where the prompt alone ends
MUSE texts              [BOS] | text                   without a BOS the text's first token is the context
```
Cutting by the *length* of the prompt's tokens is OpenUnlearning's way (`preprocess_chat_instance`). Where the tokenizer
joins the prompt's last character with the answer's first ("Answer: " and "Paris" to ": Paris"), the answer's first
token counts as context; `Encoded.joined` says so.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.backend import GenerateRequest, ScoreRequest
from edgeproof.contracts.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeproof.contracts.backend import Backend
    from edgeproof.eval.suites.files import Item


class Tags(NamedTuple):
    """What stands around question and answer in a prompt without chat template."""

    before: str
    between: str
    gap: str = ""


PROMPTS: Mapping[str, Tags | None] = MappingProxyType(
    {
        "qa": Tags("Question: ", "\nAnswer: "),
        "qa-bare": Tags("Question: ", "\nAnswer:", " "),
        "llama2": Tags("[INST] ", " [/INST]"),
        "chat": None,
    }
)
"""How TOFU's questions are put. "qa" is TOFU's and OpenUnlearning's for base models, "llama2" for Llama-2-chat; "chat"
is the artifact's template; "qa-bare" is what `export-edge unlearn` trains on."""

MAX_ANSWER_TOKENS = 200
"""Length of a greedy answer in OpenUnlearning's TOFU (TOFU's own code: 200 tokens, the prompt included)."""


class Asking(NamedTuple):
    """How questions are put and answered.

    Attributes:
        prompt: one of PROMPTS; MUSE has its own.
        system: the system prompt of a chat, if any.
        samples: answers that are sampled of each question for leak@k, beside the greedy one; 0 for none.
        temperature: at which they are sampled.
        seed: of the first; the others' follow it.

    """

    prompt: str = "qa"
    system: str | None = None
    samples: int = 0
    temperature: float = 1.0
    seed: int = 0


class Encoded(NamedTuple):
    """A request, and whether the tokenizer joined prompt and answer."""

    request: ScoreRequest
    joined: bool


def check_asking(asking: Asking, suite: str) -> None:
    """Raise `UsageError` if a suite cannot be asked so, whatever the artifact."""
    if asking.prompt not in PROMPTS:
        raise UsageError(f"no prompt is called {asking.prompt!r}", next_step=f"choose one of: {', '.join(PROMPTS)}")
    if suite == "MUSE" and (asking.prompt, asking.system) != (Asking().prompt, None):
        raise UsageError("MUSE has prompts of its own", next_step="leave --prompt and --system out")
    if asking.system is not None and asking.prompt != "chat":
        raise UsageError("a system prompt belongs to a chat", next_step="add --prompt chat, or leave --system out")
    if asking.samples < 0 or not (math.isfinite(asking.temperature) and asking.temperature > 0):
        raise UsageError(
            f"{asking.samples} answers at temperature {asking.temperature} cannot be sampled",
            next_step="--samples must be 0 or more, --temperature above 0",
        )


def answer_request(item: Item, answer: str, backend: Backend, asking: Asking) -> Encoded:
    """Encode `answer` to the item's question, the end-of-text token included, which the published code scores too.

    Raises:
        InputError: the artifact names no end-of-text token, or the item is longer than the context.

    """
    if backend.info.eos is None:
        raise InputError(
            "the artifact names no end-of-text token, which TOFU's answers are scored with",
            next_step="export it with its tokenizer's eos_token",
        )
    tags = PROMPTS[asking.prompt]
    if tags is None:
        closed = _chat(item.prompt, backend, asking, answer)
        prompt, whole = (
            chat_prompt(item.prompt, backend, asking),
            backend.tokenize(closed, special=False, parse_special=True),
        )
    else:
        prompt = plain_prompt(item.prompt, backend, tags)
        text = f"{tags.before}{item.prompt}{tags.between}{tags.gap}{answer}"
        whole = backend.tokenize(text, special=True)
    if whole[-1] != backend.info.eos:
        whole = (*whole, backend.info.eos)
    return cut(whole, len(prompt), item, backend, joined=whole[: len(prompt)] != prompt)


def question_request(item: Item, backend: Backend, asking: Asking) -> GenerateRequest:
    """Ask the item's question, greedily, up to `MAX_ANSWER_TOKENS`."""
    tags = PROMPTS[asking.prompt]
    prompt = chat_prompt(item.prompt, backend, asking) if tags is None else plain_prompt(item.prompt, backend, tags)
    return continuing(prompt, MAX_ANSWER_TOKENS, item, backend)


def text_request(item: Item, backend: Backend) -> Encoded:
    """Encode a bare text: all its tokens after the BOS; without a BOS all but the first."""
    whole = backend.tokenize(item.answer, special=True)
    prefix = backend.tokenize("", special=True)
    return cut(whole, max(1, len(prefix)), item, backend, joined=False)


def passage_request(item: Item, backend: Backend) -> Encoded:
    """Encode a VerbMem passage: prompt, a space, the text after it (OpenUnlearning's `insert_space`)."""
    prompt = backend.tokenize(item.prompt, special=True)
    whole = backend.tokenize(f"{item.prompt} {item.answer}", special=True)
    return cut(whole, len(prompt), item, backend, joined=whole[: len(prompt)] != prompt)


def chat_prompt(question: str, backend: Backend, asking: Asking) -> tuple[int, ...]:
    """Tokenize the chat up to where the answer begins; nothing is added to what the template writes."""
    return backend.tokenize(_chat(question, backend, asking, None), special=False, parse_special=True)


def plain_prompt(question: str, backend: Backend, tags: Tags) -> tuple[int, ...]:
    """Tokenize the question between its tags."""
    return backend.tokenize(f"{tags.before}{question}{tags.between}", special=True)


def continuing(
    context: tuple[int, ...], tokens: int, item: Item, backend: Backend, stop: tuple[str, ...] = ()
) -> GenerateRequest:
    """Ask for a greedy continuation of up to `tokens` tokens.

    Raises:
        InputError: it does not fit the context.

    """
    _check_length(len(context) + tokens, item, backend)
    return GenerateRequest(context, tokens, stop)


def cut(whole: tuple[int, ...], start: int, item: Item, backend: Backend, *, joined: bool) -> Encoded:
    """Divide a text's tokens into `start` tokens of context and the rest.

    Raises:
        InputError: nothing is left to score, or it does not fit the context.

    """
    _check_length(len(whole), item, backend)
    if not 0 < start < len(whole):
        raise InputError(
            f"{item.where}: of {len(whole)} tokens {start} are its prompt's; nothing is left to score",
            next_step="take the item out, or ask with another --prompt",
        )
    return Encoded(ScoreRequest(whole[:start], whole[start:]), joined)


def _check_length(length: int, item: Item, backend: Backend) -> None:
    limit = backend.info.context_length
    if length > limit:
        raise InputError(
            f"{item.where} needs {length:,} tokens, the context holds {limit:,}",
            next_step=f"load the artifact with --context {length}, or take the item out",
        )


def _chat(question: str, backend: Backend, asking: Asking, answer: str | None) -> str:
    if backend.info.chat_template is None:
        raise InputError("the artifact has no chat template", next_step="ask with --prompt qa")
    messages = [{"role": "user", "content": question}]
    if asking.system is not None:
        messages.insert(0, {"role": "system", "content": asking.system})
    if answer is not None:
        messages.append({"role": "assistant", "content": answer})
    return backend.render_chat(messages, add_generation_prompt=answer is None)
