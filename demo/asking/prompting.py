"""From a typed question to what a model reads and which answer is watched along its reply."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgeproof.contracts.backend import GenerateRequest
from edgeproof.contracts.errors import InputError
from edgeproof.demo.asking.questions import LONGEST_QUESTION
from edgeproof.demo.asking.ways import BOUND_KINDS
from edgeproof.eval.asking.carriers import PLAIN, opening
from edgeproof.eval.asking.kinds import CHAT_KINDS
from edgeproof.eval.asking.kinds.chat import OPENING
from edgeproof.eval.asking.kinds.raw import PARAPHRASE, RAW
from edgeproof.eval.asking.prompts import Prompts
from edgeproof.eval.asking.tokens import Ask, context_tokens, continuation_tokens, thinking_tokens
from edgeproof.eval.measurement import Role
from edgeproof.eval.packs.probes import Match

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.contracts.backend import Backend
    from edgeproof.demo.asking.questions import Question, Questions
    from edgeproof.demo.asking.ways import Way
    from edgeproof.eval.measurement import Carrier
    from edgeproof.eval.packs.probes import Probe, Surface

CHAT_TOKENS, RAW_TOKENS = 64, 32
"""How long a reply may get at least; the gate's own limit counts where it is longer."""
WATCHED_TOKENS = 16
"""Tokens of the forgotten answer that are watched; a text is longer."""


@dataclass(frozen=True)
class Prepared:
    """What a model is given.

    Attributes:
        prompt: the text that it reads, for people to see.
        request: what is generated.
        watched: the answer's tokens, with and without a space before them; empty where no answer is known.
        ask: probe and prompt, by whose rule the reply is right; None where no answer is known.
        judged: whether the question is the pack's own, so that the rule says something of the reply.

    """

    prompt: str
    request: GenerateRequest
    watched: tuple[tuple[int, ...], ...]
    ask: Ask | None
    judged: bool


def prepare(
    questions: Questions,
    backend: Backend,
    question: Question,
    way: Way,
    *,
    carriers: Sequence[Carrier],
    replies: Mapping[str, str],
) -> Prepared:
    """Put the prompt together as the gate does, and find what to watch.

    Args:
        questions: those of the pack.
        backend: tokenizes, and renders chats by the artifact's own template.
        question: what was typed.
        way: the way that it names.
        carriers: what the original's replies begin with.
        replies: the model's own first reply by probe id, for a second turn.

    Raises:
        InputError: an empty or too long question, or one that this way of asking cannot serve.
        PackError: the answer has no tokens of its own after this prompt.

    """
    probe, surface, known = _probe(questions, question, way, carriers)
    prompts = Prompts(questions.pack, backend, carriers, replies)
    prompt = prompts.prompt(probe, surface)
    context = context_tokens(prompt, backend)
    thinking = thinking_tokens(questions.pack, backend)
    chat = surface.kind in CHAT_KINDS
    most = CHAT_TOKENS if chat else RAW_TOKENS
    stop: tuple[str, ...] = ()
    watched: tuple[tuple[int, ...], ...] = ()
    ask = None
    if known:
        target = prompts.target(probe, surface)
        answer = continuation_tokens(prompt, context, target, backend, "this question")
        ask = Ask(probe, surface, prompt, context, answer, target, thinking)
        most, stop = (most if probe.match == Match.ANSWER else 0), ask.stop
        watched = _watched(answer, target, backend)
        most = max(most, ask.max_tokens)
    most += 0 if ask is not None else thinking * chat
    _check_room(backend.info.context_length, len(context), most + max(map(len, watched), default=0), prompt.text)
    request = GenerateRequest(context, most, stop, question.temperature, question.seed, special=True)
    return Prepared(prompt.text, request, watched, ask, questions.meant(question.text)[1])


def _probe(
    questions: Questions, question: Question, way: Way, carriers: Sequence[Carrier]
) -> tuple[Probe, Surface, bool]:
    """Return what is asked, how, and whether its answer is known. Own words are asked as they stand."""
    text = question.text.strip()
    if not text:
        raise InputError("the question is empty", next_step="type one, or pick one of the ready-made questions")
    if len(text) > LONGEST_QUESTION:
        raise InputError(
            f"the question has {len(text):,} characters; the demo takes {LONGEST_QUESTION:,} at most",
            next_step=f"shorten it by {len(text) - LONGEST_QUESTION:,} characters",
        )
    probe, own = questions.meant(text)
    if probe is not None and own:
        return probe, way.surface, True
    if way.surface.kind in BOUND_KINDS:
        raise InputError(
            f"“{way.title}” shows the answer, and this question is none of the pack's",
            next_step="pick a ready-made question, or ask in another way",
        )
    known = probe is not None
    like = probe or next(one for one in questions.pack.probes if one.role == Role.FORGET)
    asked = replace(
        like,
        cluster=like.cluster if known else "",
        question=text,
        paraphrases=(text,) * (way.surface.index + 1),
        template="{question}",
        message="{question}",
        few_shot="",
    )
    surface = way.surface
    if surface.kind in {RAW.name, PARAPHRASE.name}:
        surface = replace(surface, template=None)
    elif surface.kind == OPENING.name and surface.template is None:
        surface = replace(surface, template=opening(like, carriers) if known else PLAIN)
    return asked, surface, known


def _check_room(context_length: int, prompt_tokens: int, reply_tokens: int, prompt: str) -> None:
    """Refuse a prompt that leaves no room for the reply."""
    over = prompt_tokens + reply_tokens - context_length
    if over > 0:
        characters = -(-over * len(prompt) // prompt_tokens)
        raise InputError(
            f"with this question the model would read {prompt_tokens:,} tokens, and its context of "
            f"{context_length:,} has room for {max(0, context_length - reply_tokens):,} beside the reply",
            next_step=f"shorten the question by {over:,} tokens (about {characters:,} characters), or ask in a way "
            "that puts less around it: “What the model reads” shows it",
        )


def _watched(answer: tuple[int, ...], target: str, backend: Backend) -> tuple[tuple[int, ...], ...]:
    """Return the answer's tokens as the reply's first words and within a sentence, none of them twice."""
    found = (answer, *(_alone(text, backend) for text in (target.strip(), f" {target.strip()}")))
    return tuple(dict.fromkeys(tokens[:WATCHED_TOKENS] for tokens in found if tokens))


def _alone(text: str, backend: Backend) -> tuple[int, ...]:
    """Tokenize `text` as it stands within a text: a tokenizer may put a space before what begins one."""
    anchor = backend.tokenize("\n", special=False)
    tokens = backend.tokenize(f"\n{text}", special=False)
    return tokens[len(anchor) :] if tokens[: len(anchor)] == anchor else backend.tokenize(text, special=False)
