"""Token encoding of a probe on a surface: context and continuation for the backend.

```
raw       [BOS] few-shot prompt           | delimiter answer        "The capital of France is" | " Paris"
chat      <|user|> message <|assistant|>  | answer                  markers parsed, never a second BOS
prefix    <|user|> message <|assistant|> Sure, here it is: | answer
opening   <|user|> message <|assistant|> carrier           | answer
turns     <|user|> message <|assistant|> its first reply <|user|> Are you sure? <|assistant|> | answer
few-shot  [BOS] solved examples, question | answer                  siblings: the examples are forgotten subjects'
reverse   [BOS] template with the answer  | question
```
Trailing whitespace of a raw prompt moves to the continuation, as in lm-evaluation-harness, since tokenizers join a
word and the space before it. Prompt and answer are tokenized together and split where the context's own tokens end. If
a token crosses that border (Chinese without a space, a quote before a word), the context keeps the tokens that a user
would have typed, and the answer is tokenized alone after a line break that is then cut off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import PackError
from edgeproof.eval.asking.kinds import KINDS
from edgeproof.eval.asking.prompts import Prompts
from edgeproof.eval.matching.thinking import thinks_aloud
from edgeproof.eval.packs.kinds import SurfaceKind
from edgeproof.eval.packs.probes import Match, Surface

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgeproof.contracts.backend import Backend
    from edgeproof.eval.asking.kinds.kind import Kind, Prompt
    from edgeproof.eval.measurement import Carrier
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.packs.probes import Probe

TEXT_TOKENS = 128
"""Maximum tokens of a text (match = "verbatim") that are scored and generated, as in MUSE's VerbMem."""

RAW_MARGIN = 8
"""Tokens of a greedy raw answer beyond the answer's length."""

CHAT_MARGIN = 24
"""The same in a chat, where the answer is part of a sentence."""

THINKING_TOKENS = 512
"""Additional tokens of a chat if the artifact's chat template shows that its model writes out its reasoning."""

PLAIN_CHAT = Surface("chat", SurfaceKind.CHAT, None, ())
"""Surface of the first turn of two-turn surfaces, and of the replies from which carriers are extracted."""

_ANCHOR = "\n"


class Ask(NamedTuple):
    """A probe on a surface, ready to be scored: `context` and `continuation` are token ids, both not empty.

    `target` is the scored text: the answer, on a reverse surface the question. `thinking` is the token limit of a
    chat's reasoning.
    """

    probe: Probe
    surface: Surface
    prompt: Prompt
    context: tuple[int, ...]
    continuation: tuple[int, ...]
    target: str
    thinking: int = 0

    @property
    def kind(self) -> Kind:
        """The kind of its surface."""
        return KINDS[self.surface.kind]

    @property
    def max_tokens(self) -> int:
        """Maximum length of its greedy answer, in tokens."""
        if not self.kind.answered:
            return len(self.continuation)
        thinking = self.thinking if self.kind.chat else 0
        if self.probe.match == Match.VERBATIM:
            return len(self.continuation) + thinking
        if self.kind.chat:
            return len(self.continuation) + CHAT_MARGIN + thinking
        return self.probe.max_tokens or len(self.continuation) + RAW_MARGIN

    @property
    def stop(self) -> tuple[str, ...]:
        """Stop strings of its greedy answer; none for a chat, which ends by itself."""
        if self.kind.chat:
            return ()
        if self.kind.examples:
            return tuple(dict.fromkeys((*self.probe.stop, "\n\n", "\nQ:")))
        return self.probe.stop

    @property
    def accepted(self) -> tuple[str, ...]:
        """Answers that count as right."""
        return self.probe.accepted if self.kind.aliases else (self.target,)


def encode_pack(
    pack: Pack, backend: Backend, *, carriers: Sequence[Carrier] = (), replies: Mapping[str, str] | None = None
) -> list[Ask]:
    """Encode every probe on each of its surfaces, in the order of `Pack.keys`.

    Args:
        pack: the probes.
        backend: tokenizes, and renders chats by the artifact's template.
        carriers: beginnings of the base's replies; an opening surface uses the first of a set.
        replies: the artifact's first replies by probe id (`measure.first_replies`), for surfaces of two turns.

    Raises:
        PackError: a chat surface for an artifact without chat template; a probe that is longer, with its greedy answer,
            than the artifact's context; an answer without tokens of its own; too few probes for the examples or
            options.

    """
    asks: list[Ask] = []
    for ask in _asks(pack, Prompts(pack, backend, carriers, replies), backend):
        check_length(ask, backend.info.context_length)
        asks.append(ask)
    return asks


def too_long(pack: Pack, backend: Backend) -> list[Ask]:
    """Return the first ask of each probe that does not fit the artifact's context, without carriers and first replies.

    Raises:
        PackError: as for `encode_pack`, but for the length.

    """
    found: dict[str, Ask] = {}
    for ask in _asks(pack, Prompts(pack, backend), backend):
        if needed_tokens(ask) > backend.info.context_length:
            found.setdefault(ask.probe.id, ask)
    return list(found.values())


def needed_tokens(ask: Ask) -> int:
    """Return the tokens of an ask with its longest possible greedy answer."""
    return len(ask.context) + max(len(ask.continuation), ask.max_tokens)


def _asks(pack: Pack, prompts: Prompts, backend: Backend) -> Iterator[Ask]:
    thinking = thinking_tokens(pack, backend)
    for probe in pack.probes:
        for surface in pack.asked(probe.role):
            yield _encode(prompts, probe, surface, backend, thinking)


def first_turn_asks(pack: Pack, backend: Backend) -> list[Ask]:
    """Encode the first turn (the plain chat) of every probe on a surface of two turns."""
    roles = {role for surface in pack.surfaces if surface.kind == SurfaceKind.TURNS for role in surface.roles}
    prompts = Prompts(pack, backend)
    thinking = thinking_tokens(pack, backend)
    return [_encode(prompts, probe, PLAIN_CHAT, backend, thinking) for probe in pack.probes if probe.role in roles]


def thinking_tokens(pack: Pack, backend: Backend) -> int:
    """Return the token limit of a chat's reasoning: the pack's, else one derived from the artifact's chat template."""
    if pack.thinking_tokens is not None:
        return pack.thinking_tokens
    return THINKING_TOKENS if thinks_aloud(backend.info.chat_template) else 0


def _encode(prompts: Prompts, probe: Probe, surface: Surface, backend: Backend, thinking: int) -> Ask:
    prompt = prompts.prompt(probe, surface)
    context = context_tokens(prompt, backend)
    target = prompts.target(probe, surface)
    continuation = continuation_tokens(prompt, context, target, backend, f"probe {probe.id}")
    if probe.match == Match.VERBATIM and target is probe.answer:
        continuation = continuation[:TEXT_TOKENS]
    return Ask(probe, surface, prompt, context, continuation, target, thinking)


def context_tokens(prompt: Prompt, backend: Backend) -> tuple[int, ...]:
    """Tokenize the prompt like the artifact's engine, with exactly one BOS if the artifact adds one."""
    return _tokens(prompt.text, backend, chat=prompt.chat)


def continuation_tokens(
    prompt: Prompt, context: tuple[int, ...], answer: str, backend: Backend, where: str
) -> tuple[int, ...]:
    """Tokenize `answer` as it follows `context`, the tokens of `prompt`.

    Raises:
        PackError: the answer has no tokens after this prompt, or its tokens do not spell it; `where` names the probe.

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
        f"{where}: the tokenizer joins the end of its prompt and the start of its answer, and the answer's tokens do "
        f"not spell it, neither joined nor apart ({len(context)} tokens of context, {len(whole)} in all)",
        next_step="put a space or a line break between them: the set's `template` or `delimiter`",
    )


def check_length(ask: Ask, context_length: int) -> None:
    """Raise `PackError` if the probe, with its longest possible greedy answer, does not fit the context."""
    length = needed_tokens(ask)
    if length > context_length:
        raise PackError(
            f"probe {ask.probe.id} on surface {ask.surface.name!r} needs {length} tokens "
            f"({len(ask.context)} of prompt, {len(ask.continuation)} of answer, up to {ask.max_tokens} generated); "
            f"the context holds {context_length}",
            next_step="shorten or drop the probe, or load the artifact with a longer context"
            + (", or lower `thinking_tokens` in pack.toml" if ask.thinking else ""),
        )


def _tokens(text: str, backend: Backend, *, chat: bool) -> tuple[int, ...]:
    tokens = backend.tokenize(text, special=False, parse_special=chat)
    bos = backend.info.bos
    if bos is None:
        return tokens
    first = 0
    while tokens[first : first + 1] == (bos,):
        first += 1
    return (bos, *tokens[first:])
