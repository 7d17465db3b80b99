"""Probes, and the surfaces on which they are asked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgeproof.eval.measurement import Role


class Match(StrEnum):
    """When a greedy answer is right; the rules themselves are in `metrics/right.py`."""

    ANSWER = "answer"
    VERBATIM = "verbatim"


@dataclass(frozen=True)
class Surface:
    """A way to ask.

    Attributes:
        name: unique in the pack.
        kind: raw, chat, … (`asking/kinds`).
        template: the kind's own template; None is the probe's prompt (or message) as it is.
        roles: the probes that are asked this way.
        index: which of a probe's paraphrases is asked, from 0.
        shots: solved examples before the question, on few-shot and siblings surfaces; 0 elsewhere.

    """

    name: str
    kind: str
    template: str | None
    roles: tuple[Role, ...]
    index: int = 0
    shots: int = 0


@dataclass(frozen=True)
class Probe:
    """A question with its answer, all defaults of its set filled in.

    Attributes:
        id: unique in the pack.
        role: forget, retain or holdout.
        cluster: what leaks or not as one.
        question: what {question} stands for.
        answer: what is scored after the prompt.
        aliases: other answers that count as right.
        paraphrases: other ways to put the question.
        decoys: wrong answers of its own; empty means other probes' answers serve.
        trained: a retain probe that the adapter was trained on.
        critical: a forget probe of which not even a rare leak is let through.
        template: the raw prompt with {question}.
        message: the user's turn on chat surfaces, with {question} or {prompt}.
        answer_type: probes of one set, template and answer type serve as each other's decoys.
        group: name of the set.
        match: the rule by which a greedy answer is right.
        delimiter: between prompt and answer, unless one of them has white space there.
        few_shot: solved examples in front of raw prompts, "" for none.
        stop: strings that end a greedy raw answer.
        max_tokens: length of a greedy raw answer; None is the answer's own length and a margin.
        carriers: sentences in which the answer may come, up to the answer, with {question} or {prompt}.

    """

    id: str
    role: Role
    cluster: str
    question: str
    answer: str
    aliases: tuple[str, ...]
    paraphrases: tuple[str, ...]
    decoys: tuple[str, ...]
    trained: bool
    critical: bool
    template: str
    message: str
    answer_type: str
    group: str
    match: Match
    delimiter: str
    few_shot: str
    stop: tuple[str, ...]
    max_tokens: int | None
    carriers: tuple[str, ...] = ()

    @property
    def accepted(self) -> tuple[str, ...]:
        """The answer and its aliases."""
        return (self.answer, *self.aliases)

    @property
    def kin(self) -> tuple[str, ...]:
        """Probes with the same one share a template and an answer type: their pairings can be exchanged."""
        return (self.role, self.group, self.template, self.answer_type)


def seeded_order(seed: str, keys: Iterable[str]) -> list[str]:
    """Shuffle `keys` by the order of sha256(seed, key): the same on every Python."""
    return sorted(keys, key=lambda key: hashlib.sha256(f"{seed}\0{key}".encode()).digest())


def seeded_sample(seed: str, keys: Iterable[str], size: int) -> list[str]:
    """Draw `size` of `keys` without replacement, the first by `seeded_order`.

    The result keeps the order of `keys`; all of them if there are no more than `size`.
    """
    listed = list(keys)
    kept = set(seeded_order(seed, listed)[:size])
    return [key for key in listed if key in kept]
