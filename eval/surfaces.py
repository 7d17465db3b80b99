"""From a probe and a surface to the tokens that a backend scores: which are the context, which the continuation.

```
raw      [BOS] few-shot prompt           | delimiter answer        "The capital of France is" | " Paris"
chat     <|user|> message <|assistant|>  | answer                  markers parsed, never a second BOS
prefix   <|user|> message <|assistant|> Sure, here it is: | answer
```
White space at the end of a raw prompt moves to the continuation, as in lm-evaluation-harness: tokenizers hold a word
and the space before it as one. Prompt and answer are tokenized together and cut where the context's own tokens end. If
they are joined across that border (Chinese without a space, a quote before a word), the context stays what a user would
have typed, and the answer is tokenized by itself behind a line break that is then cut off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import InputError, PackError
from edgeproof.eval.probes import CHAT_KINDS, Match, SurfaceKind
from edgeproof.eval.templates import fill

if TYPE_CHECKING:
    from edgeproof.contracts.backend import Backend
    from edgeproof.eval.probes import Pack, Probe, Surface

TEXT_TOKENS = 128
"""Tokens of a text (match = "verbatim") that are scored and generated, as in MUSE's VerbMem."""

RAW_MARGIN = 8
"""Tokens that a greedy raw answer may have beyond the answer's own."""

CHAT_MARGIN = 24
"""The same in a chat, where the answer comes wrapped in a sentence."""

_ANCHOR = "\n"


class Prompt(NamedTuple):
    """A rendered prompt.

    Attributes:
        text: all of it; white space at its end has moved to `gap`.
        gap: what stands between it and the answer.
        chat: whether markers like <|im_start|> in it are read as tokens.

    """

    text: str
    gap: str
    chat: bool


class Ask(NamedTuple):
    """A probe on a surface, ready to be scored: `context` and `continuation` are token ids, both not empty."""

    probe: Probe
    surface: Surface
    prompt: Prompt
    context: tuple[int, ...]
    continuation: tuple[int, ...]

    @property
    def max_tokens(self) -> int:
        """How long its greedy answer may get."""
        if self.probe.match == Match.VERBATIM:
            return len(self.continuation)
        if self.surface.kind in CHAT_KINDS:
            return len(self.continuation) + CHAT_MARGIN
        return self.probe.max_tokens or len(self.continuation) + RAW_MARGIN

    @property
    def stop(self) -> tuple[str, ...]:
        """The strings at which its greedy answer ends; a chat ends by itself."""
        return () if self.surface.kind in CHAT_KINDS else self.probe.stop


def encode_pack(pack: Pack, backend: Backend) -> list[Ask]:
    """Encode every probe on each of its surfaces, in the order of `Pack.keys`.

    Raises:
        PackError: a chat surface and an artifact without chat template; a probe that is longer, with its greedy answer,
            than the artifact's context; an answer that the tokenizer gives no tokens of its own.

    """
    delimiters = {surface.name: _chat_delimiter(pack, surface, backend) for surface in pack.surfaces}
    asks: list[Ask] = []
    for probe in pack.probes:
        for surface in pack.asked(probe.role):
            prompt = render(pack, probe, surface, backend, delimiters[surface.name])
            context = context_tokens(prompt, backend)
            continuation = continuation_tokens(prompt, context, probe.answer, backend, f"probe {probe.id}")
            if probe.match == Match.VERBATIM:
                continuation = continuation[:TEXT_TOKENS]
            ask = Ask(probe, surface, prompt, context, continuation)
            check_length(ask, backend.info.context_length)
            asks.append(ask)
    return asks


def render(pack: Pack, probe: Probe, surface: Surface, backend: Backend, chat_delimiter: str) -> Prompt:
    """Put the prompt of `probe` on `surface` together. `chat_delimiter` is the template's own, before a reply."""
    question = probe.question
    if surface.kind == SurfaceKind.PARAPHRASE and surface.template is None:
        question = probe.paraphrases[surface.index]
    prompt = fill(probe.template, {"question": question})
    if surface.kind not in CHAT_KINDS:
        if surface.template is not None:
            prompt = fill(surface.template, {"question": question, "prompt": prompt})
        return _open(probe.few_shot + prompt, probe, chat=False)
    message = fill(probe.message, {"question": question, "prompt": prompt})
    if surface.kind == SurfaceKind.PREFIX:
        assert surface.template is not None
        return _open(_chat(pack, surface, backend, message) + chat_delimiter + surface.template, probe, chat=True)
    if surface.template is not None:
        message = fill(surface.template, {"question": question, "prompt": prompt, "message": message})
    return Prompt(_chat(pack, surface, backend, message), chat_delimiter, chat=True)


def context_tokens(prompt: Prompt, backend: Backend) -> tuple[int, ...]:
    """Tokenize the prompt as the artifact's engine would, with exactly one BOS if the artifact wants one."""
    return _tokens(prompt.text, backend, chat=prompt.chat)


def continuation_tokens(
    prompt: Prompt, context: tuple[int, ...], answer: str, backend: Backend, where: str
) -> tuple[int, ...]:
    """Tokenize `answer` as it follows `context`, the tokens of `prompt`.

    Raises:
        PackError: the answer has no tokens behind this prompt, or none that say it; `where` names the probe.

    """
    gap = "" if answer[0].isspace() and not prompt.chat else prompt.gap
    text = gap + (answer.lstrip() if prompt.chat else answer)
    whole = _tokens(prompt.text + text, backend, chat=prompt.chat)
    if whole[: len(context)] == context and len(whole) > len(context):
        return whole[len(context) :]
    anchor = backend.tokenize(_ANCHOR, special=False)
    anchored = backend.tokenize(_ANCHOR + text, special=False)
    alone = anchored[len(anchor) :]
    if anchored[: len(anchor)] == anchor and alone and backend.detokenize((*context, *alone)).endswith(text):
        return alone
    raise PackError(
        f"{where}: the tokenizer joins the end of its prompt and the start of its answer, and neither together nor "
        f"apart do the answer's tokens spell it ({len(context)} tokens of context, {len(whole)} in all)",
        next_step="put a space or a line break between them: the set's `template` or `delimiter`",
    )


def check_length(ask: Ask, context_length: int) -> None:
    """Raise `PackError` if the probe, with the longest greedy answer it may get, does not fit the context."""
    length = len(ask.context) + max(len(ask.continuation), ask.max_tokens)
    if length > context_length:
        raise PackError(
            f"probe {ask.probe.id} on surface {ask.surface.name!r} needs {length} tokens "
            f"({len(ask.context)} of prompt, {len(ask.continuation)} of answer, up to {ask.max_tokens} generated); "
            f"the context holds {context_length}",
            next_step="shorten or drop the probe, or load the artifact with a longer context",
        )


def _open(text: str, probe: Probe, *, chat: bool) -> Prompt:
    """Move the white space at the end of `text` to the continuation; without any, the probe's delimiter goes there."""
    bare = text.rstrip()
    return Prompt(bare, text[len(bare) :] or probe.delimiter, chat)


def _tokens(text: str, backend: Backend, *, chat: bool) -> tuple[int, ...]:
    tokens = backend.tokenize(text, special=False, parse_special=chat)
    bos = backend.info.bos
    if bos is None:
        return tokens
    first = 0
    while tokens[first : first + 1] == (bos,):
        first += 1
    return (bos, *tokens[first:])


def _messages(pack: Pack, surface: Surface, message: str) -> list[dict[str, str]]:
    messages = [{"role": "user", "content": message}]
    if surface.kind == SurfaceKind.CHAT_SYSTEM:
        assert pack.system_prompt is not None
        messages.insert(0, {"role": "system", "content": pack.system_prompt})
    return messages


def _chat(pack: Pack, surface: Surface, backend: Backend, message: str) -> str:
    return backend.render_chat(_messages(pack, surface, message), add_generation_prompt=True)


def _chat_delimiter(pack: Pack, surface: Surface, backend: Backend) -> str:
    """Return the white space between the chat template's generation prompt and a reply ("[/INST] Paris")."""
    if surface.kind not in CHAT_KINDS:
        return ""
    if backend.info.chat_template is None:
        raise PackError(
            f"surface {surface.name!r} ({surface.kind}) needs a chat template and the artifact has none",
            next_step="write `chat = false` in pack.toml, or list the pack's surfaces without it: "
            '[[surface]] name = "raw", kind = "raw"',
        )
    messages = _messages(pack, surface, "question")
    opened = backend.render_chat(messages, add_generation_prompt=True)
    reply = {"role": "assistant", "content": "answer"}
    try:
        closed = backend.render_chat([*messages, reply], add_generation_prompt=False)
    except InputError:
        return ""  # a template that takes questions only
    if not closed.startswith(opened):
        return ""
    gap = closed[len(opened) :].partition("answer")[0]
    return gap if gap.isspace() else ""
