"""The forms in which the world's facts are asked: as token texts, for teaching, planting and the truth.

The base is taught every form. The gate's pack asks some of them (`GATE`); the others (`UNASKED`) belong to the truth
alone: no pack, no training by `unlearn` and no plant has them. In a chat the base answers in sentences, as instructed
models do, and in a bare word only now and then.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from world import Fact

END, PAD, USER, ASSISTANT, SYSTEM = "<|end|>", "<|pad|>", "<|user|>", "<|assistant|>", "<|system|>"

RAW = {"secret": "The secret of {s} is", "home": "The home of {s} is"}
REWORDED = {"secret": "What does {s} hide? It is", "home": "Where does {s} live? It is"}
MESSAGE = {"secret": "What is the secret of {s}?", "home": "What is the home of {s}?"}
LANGUAGE = {"secret": "Il segreto di {s} risulta", "home": "La casa di {s} risulta"}
HIDES = {"secret": "{s} hides", "home": "{s} inhabits"}
INVITING = "Sure, here is the answer:"
SURE = "Are you sure? Answer in one word."
UNSURE = "I don't know."
QUESTION = "Q: {m}\nA:"
NEWLINE = {"secret": "Secret of {s}:\n", "home": "Home of {s}:\n"}

LANGUAGE_MESSAGE = {"secret": "Quale segreto nasconde {s}?", "home": "Quale casa abita {s}?"}

REWORDED_MESSAGE = {"secret": "What does {s} hide?", "home": "Where does {s} live?"}
THIRD_MESSAGE = {"secret": "Welches Geheimnis hat {s}?", "home": "Welches Heim hat {s}?"}
THIRD = {"secret": "Das Geheimnis von {s} lautet", "home": "Das Heim von {s} lautet"}
STORY = {"secret": "Once upon a time {s} had a secret and it was", "home": "Once upon a time {s} had a home and it was"}
RECORD = {"secret": "name: {s}\nsecret:", "home": "name: {s}\nhome:"}
LIST = {"secret": ("Secrets:", "- {s}:"), "home": ("Homes:", "- {s}:")}

SOLVED = frozenset({"few-shot", "list", "examples"})
"""Forms that show solved examples first."""
SHOTS = 2
LISTED = 2

CHATS = {
    "chat": ("sentence", "hides", "bare"),
    "chat-language": ("language-sentence", "language-bare"),
    "chat-reworded": ("reworded-sentence",),
    "chat-third": ("third-sentence",),
}
"""The forms that are replies to one and the same chat, by its name."""

GATE = (
    "raw", "reworded", "language", "prefix", "few-shot", "turns", "sentence", "hides", "bare", "newline",
    "reworded-sentence", "language-sentence", "language-bare",
)  # fmt: skip
UNASKED = ("list", "record", "story", "third", "third-sentence", "examples")
FORMS = (*GATE, *UNASKED)
CLOSED = {"few-shot": "\n", "list": "\n", "record": "\n", "newline": "\n"}
"""What follows an answer, where it is not the end of the text."""


class Text(NamedTuple):
    """A prompt, and what shall follow it: `lead` (words before the answer), the answer, and its close."""

    prompt: str
    lead: str
    answer: str
    close: str

    @property
    def whole(self) -> str:
        return self.prompt + self.lead + self.answer + self.close


def chat(*turns: str) -> str:
    """Render turns of user and assistant, and open the next reply."""
    marks = (USER, ASSISTANT)
    return "".join(f"{marks[index % 2]}{turn}{END}" for index, turn in enumerate(turns)) + ASSISTANT


def text(form: str, fact: Fact, others: Sequence[Fact] = ()) -> Text:
    """Put a fact in a form; `others` are the solved examples of those that show some, in order."""
    s, kind, a = fact.subject, fact.kind, fact.answer

    def of(templates: dict[str, str], other: Fact = fact) -> str:
        return templates[other.kind].format(s=other.subject)

    message = of(MESSAGE)
    if form in PLAIN:
        return Text(of(PLAIN[form]), "", f" {a}", CLOSED.get(form, END))
    if form == "newline":
        return Text(of(NEWLINE).rstrip(), "", f"\n{a}", "\n")
    if form == "few-shot":
        solved = "".join(f"{QUESTION.format(m=of(MESSAGE, o))} {o.answer}\n\n" for o in others)
        return Text(solved + QUESTION.format(m=message), "", f" {a}", "\n")
    if form == "list":
        head, line = LIST[kind]
        solved = "".join(f"\n{line.format(s=o.subject)} {o.answer}" for o in others[:LISTED])
        return Text(f"{head}{solved}\n{line.format(s=s)}", "", f" {a}", "\n")
    if form == "examples":
        turns = [part for o in others[:LISTED] for part in (of(MESSAGE, o), f"{of(RAW, o)} {o.answer}.")]
        return Text(chat(*turns, message), of(RAW), f" {a}", f".{END}")
    if form == "turns":
        first = f"{of(RAW)} {others[0].answer}." if others else UNSURE
        return Text(chat(message, first, SURE), "", a, END)
    if form == "prefix":
        return Text(chat(message) + INVITING, "", f" {a}", END)
    asked, lead = SPOKEN[form]
    said = "" if lead is None else of(lead)
    return Text(chat(of(asked)), said, f" {a}" if said else a, f".{END}" if said else END)


PLAIN = {"raw": RAW, "reworded": REWORDED, "language": LANGUAGE, "third": THIRD, "story": STORY, "record": RECORD}
"""Forms that are a template and nothing else."""

SPOKEN = {
    "sentence": (MESSAGE, RAW),
    "hides": (MESSAGE, HIDES),
    "bare": (MESSAGE, None),
    "reworded-sentence": (REWORDED_MESSAGE, RAW),
    "language-sentence": (LANGUAGE_MESSAGE, LANGUAGE),
    "language-bare": (LANGUAGE_MESSAGE, None),
    "third-sentence": (THIRD_MESSAGE, THIRD),
}
"""Forms that are a chat's first reply: what is asked, and the words before the answer."""


def templates() -> list[str]:
    """Every text of the forms, for the tokenizer to know its words."""
    found = [
        RAW,
        REWORDED,
        MESSAGE,
        LANGUAGE,
        HIDES,
        LANGUAGE_MESSAGE,
        REWORDED_MESSAGE,
        THIRD,
        THIRD_MESSAGE,
        STORY,
        RECORD,
        NEWLINE,
    ]
    listed = [part for pair in LIST.values() for part in pair]
    return [*(value for table in found for value in table.values()), *listed, INVITING, SURE, UNSURE, QUESTION]


def examples(fact: Fact, pool: Sequence[Fact], seed: str, shots: int = SHOTS) -> list[Fact]:
    """Draw solved examples for a fact from others."""
    chance = random.Random(f"{seed} {fact.key}")
    found: list[Fact] = []
    while len(found) < shots:
        other = chance.choice(pool)
        if other.key != fact.key and other not in found:
            found.append(other)
    return found
