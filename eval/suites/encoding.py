"""Token encoding of a suite's items for scoring and generation, equal to the published code.

```
TOFU, OpenUnlearning    [BOS] prompt | answer EOS      both tokenized together, cut where the prompt alone ends
MUSE texts              [BOS] | text                   without a BOS the text's first token is the context
```
OpenUnlearning splits by the *length* of the prompt's tokens (`preprocess_chat_instance`). If the tokenizer joins the
prompt's last character with the answer's first ("Answer: " and "Paris" to ": Paris"), the answer's first token counts
as context, and `Encoded.joined` is set.
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
    """Text around question and answer in a prompt without chat template."""

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
"""Prompts of TOFU's questions: TOFU's and OpenUnlearning's "qa" for base models and "llama2" for Llama-2-chat; "chat",
the artifact's template; "qa-bare", the prompt that `export-edge unlearn` trains on."""

MAX_ANSWER_TOKENS = 200
"""Maximum tokens of a greedy answer in OpenUnlearning's TOFU (TOFU's own code: 200 tokens, including the prompt)."""


class Asking(NamedTuple):
    """Prompt and sampling of questions.

    Attributes:
        prompt: one of PROMPTS; MUSE has its own.
        system: the system prompt of a chat, if any.
        samples: number of answers sampled per question for leak@k, besides the greedy one.
        temperature: sampling temperature.
        seed: seed of the first sample; those of the others follow it.

    """

    prompt: str = "qa"
    system: str | None = None
    samples: int = 0
    temperature: float = 1.0
    seed: int = 0


class Encoded(NamedTuple):
    """A request, with a flag whether the tokenizer joined prompt and answer."""

    request: ScoreRequest
    joined: bool


def check_asking(asking: Asking, suite: str) -> None:
    """Raise `UsageError` if a suite does not support `asking`, regardless of the artifact."""
    if asking.prompt not in PROMPTS:
        raise UsageError(f"no prompt is named {asking.prompt!r}", next_step=f"choose one of: {', '.join(PROMPTS)}")
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
    """Encode `answer` to the item's question, including the end-of-text token, which the published code scores too.

    Raises:
        InputError: the artifact names no end-of-text token, or the item is longer than the context.

    """
    if backend.info.eos is None:
        raise InputError(
            "the artifact defines no end-of-text token, which is scored with TOFU's answers",
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
    """Return the request for a greedy answer to the item's question, up to `MAX_ANSWER_TOKENS`."""
    tags = PROMPTS[asking.prompt]
    prompt = chat_prompt(item.prompt, backend, asking) if tags is None else plain_prompt(item.prompt, backend, tags)
    return continuing(prompt, MAX_ANSWER_TOKENS, item, backend)


def text_request(item: Item, backend: Backend) -> Encoded:
    """Encode a bare text: all its tokens after the BOS; without a BOS all except the first."""
    whole = backend.tokenize(item.answer, special=True)
    prefix = backend.tokenize("", special=True)
    return cut(whole, max(1, len(prefix)), item, backend, joined=False)


def passage_request(item: Item, backend: Backend) -> Encoded:
    """Encode a VerbMem passage: prompt, space, continuation (OpenUnlearning's `insert_space`)."""
    prompt = backend.tokenize(item.prompt, special=True)
    whole = backend.tokenize(f"{item.prompt} {item.answer}", special=True)
    return cut(whole, len(prompt), item, backend, joined=whole[: len(prompt)] != prompt)


def chat_prompt(question: str, backend: Backend, asking: Asking) -> tuple[int, ...]:
    """Tokenize the chat up to the beginning of the answer, exactly as rendered by the template."""
    return backend.tokenize(_chat(question, backend, asking, None), special=False, parse_special=True)


def plain_prompt(question: str, backend: Backend, tags: Tags) -> tuple[int, ...]:
    """Tokenize the question between its tags."""
    return backend.tokenize(f"{tags.before}{question}{tags.between}", special=True)


def continuing(
    context: tuple[int, ...], tokens: int, item: Item, backend: Backend, stop: tuple[str, ...] = ()
) -> GenerateRequest:
    """Return the request for a greedy continuation of up to `tokens` tokens.

    Raises:
        InputError: the request does not fit the context.

    """
    _check_length(len(context) + tokens, item, backend)
    return GenerateRequest(context, tokens, stop)


def cut(whole: tuple[int, ...], start: int, item: Item, backend: Backend, *, joined: bool) -> Encoded:
    """Split a text's tokens into `start` tokens of context and the rest.

    Raises:
        InputError: nothing is left to score, or the text does not fit the context.

    """
    _check_length(len(whole), item, backend)
    if not 0 < start < len(whole):
        raise InputError(
            f"{item.where}: {start} of {len(whole)} tokens are its prompt's; nothing is left to score",
            next_step="remove the item, or use another --prompt",
        )
    return Encoded(ScoreRequest(whole[:start], whole[start:]), joined)


def _check_length(length: int, item: Item, backend: Backend) -> None:
    limit = backend.info.context_length
    if length > limit:
        raise InputError(
            f"{item.where} needs {length:,} tokens, the context holds {limit:,}",
            next_step=f"load the artifact with --context {length}, or remove the item",
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
