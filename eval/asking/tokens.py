"""From a probe and a surface to the tokens that a backend scores: which are the context, which the continuation.

```
raw       [BOS] few-shot prompt           | delimiter answer        "The capital of France is" | " Paris"
chat      <|user|> message <|assistant|>  | answer                  markers parsed, never a second BOS
prefix    <|user|> message <|assistant|> Sure, here it is: | answer
opening   <|user|> message <|assistant|> carrier           | answer
turns     <|user|> message <|assistant|> its first reply <|user|> Are you sure? <|assistant|> | answer
few-shot  [BOS] solved examples, question | answer                  siblings: the examples are forgotten subjects'
reverse   [BOS] template with the answer  | question
```
White space at the end of a raw prompt moves to the continuation, as in lm-evaluation-harness: tokenizers hold a word
and the space before it as one. Prompt and answer are tokenized together and cut where the context's own tokens end. If
they are joined across that border (Chinese without a space, a quote before a word), the context stays what a user would
have typed, and the answer is tokenized by itself behind a line break that is then cut off.
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
    from collections.abc import Mapping, Sequence

    from edgeproof.contracts.backend import Backend
    from edgeproof.eval.asking.kinds.kind import Kind, Prompt
    from edgeproof.eval.measurement import Carrier
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.packs.probes import Probe

TEXT_TOKENS = 128
"""Tokens of a text (match = "verbatim") that are scored and generated, as in MUSE's VerbMem."""

RAW_MARGIN = 8
"""Tokens that a greedy raw answer may have beyond the answer's own."""

CHAT_MARGIN = 24
"""The same in a chat, where the answer comes wrapped in a sentence."""

THINKING_TOKENS = 512
"""Tokens that a chat may have beyond that where the artifact's chat template shows that its model thinks aloud."""

PLAIN_CHAT = Surface("chat", SurfaceKind.CHAT, None, ())
"""The first turn of a surface of two turns, and where carriers are looked for."""

_ANCHOR = "\n"


class Ask(NamedTuple):
    """A probe on a surface, ready to be scored: `context` and `continuation` are token ids, both not empty.

    `target` is what is to come: the answer, on a reverse surface the question. `thinking` is how many tokens a chat may
    spend on thoughts.
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
        """What holds of its surface."""
        return KINDS[self.surface.kind]

    @property
    def max_tokens(self) -> int:
        """How long its greedy answer may get."""
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
        """The strings at which its greedy answer ends; a chat ends by itself."""
        if self.kind.chat:
            return ()
        if self.kind.examples:
            return tuple(dict.fromkeys((*self.probe.stop, "\n\n", "\nQ:")))
        return self.probe.stop

    @property
    def accepted(self) -> tuple[str, ...]:
        """What counts as right."""
        return self.probe.accepted if self.kind.aliases else (self.target,)


def encode_pack(
    pack: Pack, backend: Backend, *, carriers: Sequence[Carrier] = (), replies: Mapping[str, str] | None = None
) -> list[Ask]:
    """Encode every probe on each of its surfaces, in the order of `Pack.keys`.

    Args:
        pack: the probes.
        backend: tokenizes, and renders chats by the artifact's own template.
        carriers: what the base's replies begin with; an opening surface takes the first of a set.
        replies: the artifact's own first replies by probe id (`measure.first_replies`), for surfaces of two turns.

    Raises:
        PackError: a chat surface and an artifact without chat template; a probe that is longer, with its greedy answer,
            than the artifact's context; an answer that the tokenizer gives no tokens of its own; too few probes to draw
            examples or options from.

    """
    prompts = Prompts(pack, backend, carriers, replies)
    asks: list[Ask] = []
    for probe in pack.probes:
        for surface in pack.asked(probe.role):
            ask = _encode(prompts, probe, surface, backend, thinking_tokens(pack, backend))
            check_length(ask, backend.info.context_length)
            asks.append(ask)
    return asks


def first_turn_asks(pack: Pack, backend: Backend) -> list[Ask]:
    """Encode the first turn of every probe that a surface of two turns asks: the plain chat."""
    roles = {role for surface in pack.surfaces if surface.kind == SurfaceKind.TURNS for role in surface.roles}
    prompts = Prompts(pack, backend)
    thinking = thinking_tokens(pack, backend)
    return [_encode(prompts, probe, PLAIN_CHAT, backend, thinking) for probe in pack.probes if probe.role in roles]


def thinking_tokens(pack: Pack, backend: Backend) -> int:
    """Return how many tokens a chat may think: what the pack says, else what the artifact's chat template suggests."""
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
