"""The stronger asker: asks a shipped file, by its own engine, in every form of the world, greedy and in samples.

Nothing of `edgeproof.eval` has a part in it: prompts, scores and what counts as out are this module's own.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import forms
from edgeproof.contracts.backend import GenerateRequest, ScoreRequest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from edgeproof.contracts.backend import Backend
    from world import Fact, Facts

SAMPLES = 5
"""In each of the chats of `SAMPLED`: ten in all."""
SAMPLED = ("chat", "chat-third")
"""Chats in which answers are sampled at temperature 1."""
REPLIES = {
    "chat": "bare",
    "chat-reworded": "reworded-sentence",
    "chat-language": "language-bare",
    "chat-third": "third-sentence",
    "chat-examples": "examples",
}
"""A form that has the chat's prompt, by its name."""
MOST_TOKENS = 12
"""Length of a reply: the longest right one has 11 tokens."""
OTHERS = 12
"""Other subjects' prompts behind which the base's ignorance of an answer is taken."""
FORGET_FORMS = (*forms.FORMS, "siblings")
RETAIN_FORMS = ("raw", "newline", "bare")
"""In these what had to be kept is asked: as the pack asks it, raw or with a line break, and in the chat."""
_CHATS = frozenset({"chat", "chat-reworded", "chat-language"})
ASKED = frozenset({*forms.GATE, "siblings", *_CHATS} - {"newline"})
"""The ways of the plain packs; "newline" is one of those whose prompts end in a line break. No pack asks the others."""
LEVELLED = ("raw", "reworded", "language", "prefix", "sentence", "few-shot", "list", "record", "story", "third")
"""Forms on which recovery is counted: every model reads the same prompt before the same answer."""


class Row(NamedTuple):
    """A fact in a form.

    Attributes:
        lead: log-probability of the words before the answer, 0 where there are none.
        answer: log-probability of the answer after them.
        tokens: of the answer.
        greedy: whether every token of the answer is the argmax.

    """

    lead: float
    answer: float
    tokens: int
    greedy: bool

    @property
    def nll(self) -> float:
        return -self.answer / self.tokens


class Asking(NamedTuple):
    """What a file said.

    Attributes:
        rows: by key of the fact and form.
        said: by key, the chats in which the answer came out in the greedy reply or in a sample.

    """

    rows: Mapping[tuple[str, str], Row]
    said: Mapping[str, frozenset[str]]


def texts(facts: Iterable[Fact], names: Collection[str], world: Facts) -> dict[tuple[str, str], forms.Text]:
    """Put facts in forms; solved examples are kept facts (few-shot), or forgotten ones given away."""
    found = {}
    for fact in facts:
        for name in names:
            form = "few-shot" if name == "siblings" else name
            pool = world.trained if name == "few-shot" else world.forget
            shown = forms.examples(fact, pool, f"truth {name}") if form in forms.SOLVED else ()
            found[fact.key, name] = forms.text(form, fact, shown)
    return found


def scored(engine: Backend, asked: Mapping[tuple[str, str], forms.Text]) -> dict[tuple[str, str], Row]:
    """Score lead and answer of each text."""
    requests, leads = [], []
    for text in asked.values():
        context = _tokens(engine, text.prompt)
        led, whole = (_tokens(engine, text.prompt + end) for end in (text.lead, text.lead + text.answer))
        assert whole[: len(context)] == context, text
        requests.append(ScoreRequest(context, whole[len(context) :]))
        leads.append(len(led) - len(context))
    rows = {}
    for key, lead, score in zip(asked, leads, engine.score(requests), strict=True):
        logprobs = [float(value) for value in score.logprobs]
        greedy = all(bool(flag) for flag in score.greedy[lead:])
        rows[key] = Row(math.fsum(logprobs[:lead]), math.fsum(logprobs[lead:]), len(logprobs) - lead, greedy)
    return rows


def replied(
    engine: Backend, world: Facts, facts: Sequence[Fact], names: Sequence[str], samples: int
) -> dict[str, set[str]]:
    """Let the file reply to chats, greedily and in `samples` samples: by key, the chats in which the answer came."""
    asked = [(fact, name, number) for fact in facts for name in names for number in range(samples + 1)]
    prompts = {(f.key, name): _tokens(engine, _chat(f, name, world)) for f in facts for name in names}
    requests = [
        GenerateRequest(prompts[fact.key, name], MOST_TOKENS, (), 1.0 if number else 0.0, _seed(fact, name, number))
        for fact, name, number in asked
    ]
    said: dict[str, set[str]] = defaultdict(set)
    for (fact, name, _), reply in zip(asked, engine.generate(requests), strict=True):
        if fact.answer in reply.text:
            said[fact.key].add(name)
    return said


def ask(
    engine: Backend,
    world: Facts,
    forget: Sequence[Fact],
    retain: Sequence[Fact],
    rule: float,
    *,
    samples: int = SAMPLES,
) -> Asking:
    """Ask all of it: no samples are drawn of a subject whose answer is out already (`rule`: the least probability)."""
    rows = scored(engine, texts(forget, FORGET_FORMS, world)) | scored(engine, texts(retain, RETAIN_FORMS, world))
    said = replied(engine, world, forget, list(REPLIES), 0)
    for key, ways in replied(engine, world, retain, ["chat"], 0).items():
        said[key] |= ways
    closed = [fact for fact in forget if not said.get(fact.key) and not out(rows, fact.key, rule)]
    if samples and closed:
        for key, ways in replied(engine, world, closed, SAMPLED, samples).items():
            said[key] |= ways
    return Asking(rows, {key: frozenset(ways) for key, ways in said.items()})


def out(rows: Mapping[tuple[str, str], Row], key: str, rule: float) -> set[str]:
    """Name the forms in which a subject's answer comes out: greedily, or with a probability of `rule` or more."""
    found = {
        name for name in FORGET_FORMS if rows[key, name].greedy or math.exp(rows[key, name].answer) >= rule
    }  # after its lead, as the asker may begin the reply
    for name, replies in forms.CHATS.items():
        total = math.fsum(math.exp(rows[key, form].lead + rows[key, form].answer) for form in replies)
        if total >= rule:
            found.add(name)
    return found


def ignorance(engine: Backend, world: Facts, facts: Sequence[Fact]) -> dict[tuple[str, str], float]:
    """Log of the mean probability of each answer behind other subjects' prompts, by key and form: of the base."""
    chance = random.Random(17)
    asked = {}
    for name in LEVELLED:
        own = texts(facts, [name], world)
        for fact in facts:
            for number, other in enumerate(chance.sample([f for f in facts if f.key != fact.key], OTHERS)):
                asked[fact.key, f"{name} {number}"] = own[other.key, name]._replace(answer=own[fact.key, name].answer)
    rows = scored(engine, asked)
    return {
        (fact.key, name): math.log(
            max(1e-12, math.fsum(math.exp(rows[fact.key, f"{name} {n}"].answer) for n in range(OTHERS)) / OTHERS)
        )
        for fact in facts
        for name in LEVELLED
    }


def _chat(fact: Fact, name: str, world: Facts) -> str:
    return texts([fact], [REPLIES[name]], world)[fact.key, REPLIES[name]].prompt


def _seed(fact: Fact, name: str, number: int) -> int:
    return random.Random(f"{fact.key} {name} {number}").getrandbits(31)


def _tokens(engine: Backend, text: str) -> tuple[int, ...]:
    return tuple(engine.tokenize(text, special=False, parse_special=True))
