"""From what a person types, or picks, to what a model reads and which answer is watched along its reply."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.backend import GenerateRequest
from edgeproof.contracts.errors import InputError
from edgeproof.demo.ways import BOUND_KINDS
from edgeproof.eval.asking.carriers import PLAIN, opening
from edgeproof.eval.asking.kinds import CHAT_KINDS
from edgeproof.eval.asking.kinds.chat import OPENING
from edgeproof.eval.asking.kinds.raw import PARAPHRASE, RAW
from edgeproof.eval.asking.prompts import Prompts
from edgeproof.eval.asking.tokens import Ask, context_tokens, continuation_tokens, thinking_tokens
from edgeproof.eval.matching.words import words
from edgeproof.eval.measurement import Role
from edgeproof.eval.packs.probes import Match
from edgeproof.eval.packs.templates import fill

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.contracts.backend import Backend
    from edgeproof.demo.ways import Way
    from edgeproof.eval.measurement import Carrier
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.packs.probes import Probe, Surface

LONGEST_QUESTION = 4000
"""Characters of a question."""
CHAT_TOKENS, RAW_TOKENS = 64, 32
"""How long a reply may get at least; the gate's own limit counts where it is longer."""
WATCHED_TOKENS = 16
"""Tokens of the forgotten answer that are watched; a text is longer."""


class Question(NamedTuple):
    """What the page sends.

    Attributes:
        text: the words as typed.
        way: the way's name.
        temperature: 0 for the greedy reply, as the gate asks; above 0 a sampled one.
        seed: of the sampled reply.

    """

    text: str
    way: str
    temperature: float = 0.0
    seed: int = 0


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


class Questions:
    """The ready-made questions of a pack, and the one that a typed text means."""

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        self._by_words: dict[str, Probe] = {}
        for probe in pack.probes:
            for text in (message(probe), plain(probe)):
                self._by_words.setdefault(_bare(text), probe)
        mentions = [(f" {_bare(probe.question)} ", probe) for probe in pack.probes if _bare(probe.question)]
        # Of several subjects in a text, the longest name is meant; what was to be forgotten before all else.
        self._mentions = sorted(mentions, key=lambda one: (one[1].role != Role.FORGET, -len(one[0])))

    def meant(self, text: str) -> tuple[Probe | None, bool]:
        """Return the probe that `text` asks, and whether in its own words; None where it names no known subject."""
        probe = self._by_words.get(_bare(text))
        if probe is not None:
            return probe, True
        inside = f" {_bare(text)} "
        return next((probe for mention, probe in self._mentions if mention in inside), None), False


def message(probe: Probe) -> str:
    """Return the user's turn in a chat."""
    return fill(probe.message, {"question": probe.question, "prompt": plain(probe)})


def plain(probe: Probe) -> str:
    """Return the text that is continued."""
    return fill(probe.template, {"question": probe.question})


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
            next_step="shorten it",
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


def _watched(answer: tuple[int, ...], target: str, backend: Backend) -> tuple[tuple[int, ...], ...]:
    """Return the answer's tokens as the reply's first words and within a sentence, none of them twice."""
    found = (answer, *(_alone(text, backend) for text in (target.strip(), f" {target.strip()}")))
    return tuple(dict.fromkeys(tokens[:WATCHED_TOKENS] for tokens in found if tokens))


def _alone(text: str, backend: Backend) -> tuple[int, ...]:
    """Tokenize `text` as it stands within a text: a tokenizer may put a space before what begins one."""
    anchor = backend.tokenize("\n", special=False)
    tokens = backend.tokenize(f"\n{text}", special=False)
    return tokens[len(anchor) :] if tokens[: len(anchor)] == anchor else backend.tokenize(text, special=False)


def _bare(text: str) -> str:
    return " ".join(words(text))
