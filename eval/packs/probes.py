"""Data types of probes and surfaces."""

from __future__ import annotations

import hashlib
import heapq
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edgeproof.eval.measurement import Role


class Match(StrEnum):
    """Rule for a right greedy answer, implemented in `metrics/right.py`."""

    ANSWER = "answer"
    VERBATIM = "verbatim"


@dataclass(frozen=True)
class Surface:
    """A way of asking.

    Attributes:
        name: unique in the pack.
        kind: raw, chat, … (`asking/kinds`).
        template: the surface's template; None for the probe's prompt (or message) unchanged.
        roles: roles of the probes that are asked this way.
        index: index of the probe's paraphrase to ask, from 0.
        shots: number of solved examples before the question, on few-shot and siblings surfaces; 0 elsewhere.

    """

    name: str
    kind: str
    template: str | None
    roles: tuple[Role, ...]
    index: int = 0
    shots: int = 0


@dataclass(frozen=True)
class Probe:
    """A question with its answer, with all defaults of its set filled in.

    Attributes:
        id: unique in the pack.
        role: forget, retain or holdout.
        cluster: the subject that leaks or does not leak as a whole.
        question: value of {question}.
        answer: the text scored after the prompt.
        aliases: other answers that count as right.
        paraphrases: other wordings of the question.
        decoys: its own wrong answers; if empty, other probes' answers are used.
        trained: whether it is a retain probe that the adapter was trained on.
        critical: whether it is a forget probe for which not even a rare leak is tolerated.
        template: the raw prompt with {question}.
        message: the user's turn on chat surfaces, with {question} or {prompt}.
        answer_type: probes of one set, template and answer type serve as each other's decoys.
        group: name of the set.
        match: the rule by which a greedy answer is right.
        delimiter: between prompt and answer, unless one of them has white space there.
        few_shot: solved examples before raw prompts, "" for none.
        stop: strings that end a greedy raw answer.
        max_tokens: maximum tokens of a greedy raw answer; None for the answer's length and a margin.
        carriers: carrier sentences up to the answer, with {question} or {prompt}.

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
        """Key of probes that share a template and an answer type, so that their answers are exchangeable."""
        return (self.role, self.group, *self.form)

    @property
    def form(self) -> tuple[str, str]:
        """Template and answer type: what a forget and a holdout probe that ask for the same kind of thing share."""
        return (self.template, self.answer_type)


def seeded_order(seed: str, keys: Iterable[str]) -> list[str]:
    """Shuffle `keys` by sha256(seed, key), independent of the Python version."""
    return sorted(keys, key=_digests(seed))


def seeded_first(seed: str, keys: Iterable[str], size: int) -> list[str]:
    """Return the first `size` of `seeded_order`, without sorting the others."""
    return heapq.nsmallest(size, keys, key=_digests(seed))


def seeded_sample(seed: str, keys: Iterable[str], size: int) -> list[str]:
    """Draw `size` of `keys` without replacement, the first ones of `seeded_order`.

    The result keeps the order of `keys`; it has all of them if there are no more than `size`.
    """
    listed = list(keys)
    if len(listed) <= size:
        return listed
    kept = set(seeded_first(seed, listed, size))
    return [key for key in listed if key in kept]


def _digests(seed: str) -> Callable[[str], bytes]:
    """Return sha256(seed, key) as a function of the key; what the seed adds is hashed once."""
    begun = hashlib.sha256(f"{seed}\0".encode())

    def digest(key: str) -> bytes:
        found = begun.copy()
        found.update(key.encode())
        return found.digest()

    return digest
