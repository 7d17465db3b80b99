"""What a pack holds: probes, and the surfaces on which they are asked. `pack.py` reads it from its folder."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from edgeproof.eval.asking.same import clusters_asked_twice
from edgeproof.eval.records import ProbeFacts, Role

if TYPE_CHECKING:
    from collections.abc import Iterable


class SurfaceKind(StrEnum):
    """How a surface puts its prompt together (docs/packs.md has an example of each)."""

    RAW = "raw"
    CHAT = "chat"
    CHAT_SYSTEM = "chat+system"
    PREFIX = "prefix"
    OPENING = "opening"
    TURNS = "turns"
    PARAPHRASE = "paraphrase"
    FEW_SHOT = "few-shot"
    SIBLINGS = "siblings"
    REVERSE = "reverse"
    CHOICES = "choices"


CHAT_KINDS = frozenset(
    {SurfaceKind.CHAT, SurfaceKind.CHAT_SYSTEM, SurfaceKind.PREFIX, SurfaceKind.OPENING, SurfaceKind.TURNS}
)
"""Kinds that need the artifact's chat template."""

CARRIED_KINDS = frozenset({SurfaceKind.CHAT, SurfaceKind.CHAT_SYSTEM, SurfaceKind.PREFIX, SurfaceKind.TURNS})
"""Kinds on which the answer may come inside a sentence: its probability is summed over carrier sentences."""

PLAIN_CHATS = frozenset({SurfaceKind.CHAT, SurfaceKind.CHAT_SYSTEM})
"""A message and nothing else: what most people type."""

RECOVERY_KINDS = frozenset(
    {
        SurfaceKind.RAW,
        SurfaceKind.CHAT,
        SurfaceKind.CHAT_SYSTEM,
        SurfaceKind.PREFIX,
        SurfaceKind.OPENING,
        SurfaceKind.PARAPHRASE,
        SurfaceKind.FEW_SHOT,
    }
)
"""Kinds on which every model reads the same prompt before the answer: NLLs and ignorance levels compare."""


class Match(StrEnum):
    """When a greedy answer is right; the rules themselves are in `metrics/right.py`."""

    ANSWER = "answer"
    VERBATIM = "verbatim"


@dataclass(frozen=True)
class Surface:
    """A way to ask.

    Attributes:
        name: unique in the pack.
        kind: raw, chat, …
        template: the kind's own template; None is the probe's prompt (or message) as it is.
        roles: the probes that are asked this way.
        index: which of a probe's paraphrases is asked, from 0.
        shots: solved examples before the question, on few-shot and siblings surfaces; 0 elsewhere.

    """

    name: str
    kind: SurfaceKind
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


@dataclass(frozen=True)
class Pack:
    """All that a measurement asks. `description` and `licence` are for people and not part of `digest`.

    `salt` (hex) is what the digests of single probes are salted with (`disclosure.py`), and part of `digest` where
    there is one: without it, the digest of a pack of few and guessable answers could be guessed as well.
    `thinking_tokens` is how long a chat may think before it replies; None is as the artifact's chat template has it.
    """

    name: str
    description: str
    licence: str
    system_prompt: str | None
    surfaces: tuple[Surface, ...]
    probes: tuple[Probe, ...]
    salt: str | None = None
    thinking_tokens: int | None = None

    @cached_property
    def digest(self) -> str:
        """Sha256 (hex) over the canonical JSON of everything that a measurement depends on."""
        content = asdict(self)
        del content["description"], content["licence"]
        for key in ("salt", "thinking_tokens"):
            if content[key] is None:
                del content[key]
        text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(b"edgeproof pack 1\n" + text.encode()).hexdigest()

    @cached_property
    def same(self) -> dict[tuple[Role, str], str]:
        """Clusters, by role and name, that ask for the same thing as another one: the name they count under."""
        return clusters_asked_twice(self.probes)

    def facts(self) -> tuple[ProbeFacts, ...]:
        """What judging needs to know of each probe, in order: no texts. The same thing asked twice is one cluster."""
        return tuple(
            ProbeFacts(
                p.id, p.role, self.same.get((p.role, p.cluster), p.cluster), trained=p.trained, critical=p.critical
            )
            for p in self.probes
        )

    def asked(self, role: Role) -> tuple[Surface, ...]:
        """Return the surfaces on which probes of `role` are asked, in the pack's order."""
        return tuple(surface for surface in self.surfaces if role in surface.roles)

    def surface_names(self) -> dict[str, tuple[str, ...]]:
        """Return the names of `asked`, by role, for the roles that have probes."""
        roles = {probe.role for probe in self.probes}
        return {role.value: tuple(surface.name for surface in self.asked(role)) for role in Role if role in roles}

    def kinds(self) -> dict[str, str]:
        """Return the kind of every surface that is asked, by its name."""
        names = {name for own in self.surface_names().values() for name in own}
        return {surface.name: surface.kind.value for surface in self.surfaces if surface.name in names}

    def asked_twice(self) -> dict[str, str]:
        """Return the clusters that ask for the same thing as another one, as "role/name", and what they count under."""
        return {f"{role}/{cluster}": name for (role, cluster), name in self.same.items()}

    def keys(self) -> tuple[tuple[str, str], ...]:
        """Every (probe id, surface name) that a measurement has, in its order."""
        names = self.surface_names()
        return tuple((probe.id, name) for probe in self.probes for name in names[probe.role])


def sampled_kinds(asked: Iterable[str]) -> frozenset[SurfaceKind]:
    """Return the kinds of surfaces on which answers are sampled: plain chats, or raw where no such chat is `asked`."""
    return PLAIN_CHATS if any(kind in PLAIN_CHATS for kind in asked) else frozenset({SurfaceKind.RAW})


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
