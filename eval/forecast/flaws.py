"""Flaws of a pack's probes: doubled, ambiguous, overlapping with what is kept, given away, guessable, too long.

Words of a flaw name ids and surfaces, no text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.eval.asking.tokens import needed_tokens
from edgeproof.eval.matching.words import contains_words, words
from edgeproof.eval.measurement import Role
from edgeproof.eval.metrics.right import answer_is_right
from edgeproof.eval.packs.probes import Match
from edgeproof.eval.packs.templates import fill

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from edgeproof.eval.asking.tokens import Ask
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.packs.probes import Probe


class Flaw(NamedTuple):
    """A flaw and its remedy.

    Attributes:
        kind: "doubled", "ambiguous", "overlap", "given away", "guessable" or "too long".
        probes: ids of the probes to change, then of those that they clash with.
        words: what to do and why.

    """

    kind: str
    probes: tuple[str, ...]
    words: str


def flaws_of_texts(pack: Pack) -> tuple[Flaw, ...]:
    """Find the flaws that show in the texts alone, without a model."""
    return (*_same_prompt(pack), *_same_cluster(pack), *_overlaps(pack.probes), *_given_away(pack.probes))


def guessable_flaws(
    pack: Pack, guessable: Collection[str], known_holdout: Mapping[str, Sequence[str]]
) -> Iterator[Flaw]:
    """Say which forget answers are likely without their question, and which holdout clusters the base gives away.

    Args:
        pack: the probes.
        guessable: ids of forget probes (`guessing.guessable`).
        known_holdout: the surfaces on which the base leaks holdout clusters, by the names of those that it leaks.

    """
    for probe in pack.probes:
        if probe.id in guessable:
            yield Flaw(
                "guessable",
                (probe.id,),
                f"drop probe {probe.id}: the base gives its answer to other questions of its template too, so that a "
                "model that forgot it can still guess it",
            )
    ids = _ids(pack)
    for cluster, surfaces in known_holdout.items():
        own = ids[Role.HOLDOUT, cluster]
        yield Flaw(
            "guessable",
            own,
            f"drop the holdout cluster {cluster} (probe {', '.join(own)}): the base, which was never told, gives its "
            f"answer away ({', '.join(surfaces)})",
        )


def length_flaws(asks: Iterable[Ask], context: int) -> Iterator[Flaw]:
    """Say which probes are too long for the context."""
    for ask in asks:
        yield Flaw(
            "too long",
            (ask.probe.id,),
            f"shorten or drop probe {ask.probe.id}: it needs {needed_tokens(ask)} tokens on {ask.surface.name}, and "
            f"the context holds {context}",
        )


def _ids(pack: Pack) -> dict[tuple[Role, str], tuple[str, ...]]:
    """Return the ids of each cluster's probes, by role and name of the cluster."""
    found: dict[tuple[Role, str], list[str]] = {}
    for probe in pack.probes:
        found.setdefault((probe.role, probe.cluster), []).append(probe.id)
    return {key: tuple(own) for key, own in found.items()}


def _asked(probe: Probe) -> str:
    return " ".join(words(fill(probe.template, {"question": probe.question})))


def _agree(one: Probe, other: Probe) -> bool:
    """Whether one of two answers is right by the other's rule."""
    return (
        one.answer == other.answer
        or answer_is_right(one.answer, other.accepted, other.answer_type)
        or answer_is_right(other.answer, one.accepted, one.answer_type)
    )


def _same_prompt(pack: Pack) -> Iterator[Flaw]:
    """Compare probes that ask the same question: doubled, ambiguous, or in the way of what is kept."""
    seen: dict[str, list[Probe]] = {}
    for probe in pack.probes:
        others = seen.setdefault(_asked(probe), [])
        for other in others[:1]:
            pair = probe.id, other.id
            if probe.role != other.role:
                yield Flaw(
                    "overlap", pair, f"drop probe {pair[0]} ({probe.role}): {pair[1]} ({other.role}) asks the same"
                )
            elif _agree(probe, other):
                yield Flaw("doubled", pair, f"drop probe {pair[0]}: doubled with {pair[1]}")
            else:
                yield Flaw(
                    "ambiguous",
                    pair,
                    f"reword probe {pair[0]} or {pair[1]}: they ask the same question and have different answers (or "
                    "give each the other's as an alias)",
                )
        others.append(probe)


def _same_cluster(pack: Pack) -> Iterator[Flaw]:
    """Name the clusters that ask for the same thing as another one, and count as one with it."""
    ids = _ids(pack)
    for (role, cluster), name in pack.same.items():
        yield Flaw(
            "doubled",
            ids[role, cluster],
            f"replace the {role} cluster {cluster}: it asks for the same thing as {name}, and the two count as one",
        )


def _overlaps(probes: Sequence[Probe]) -> Iterator[Flaw]:
    """Find retain probes whose question and answer hold both a forget probe's question and its answer."""
    forget: dict[str, list[tuple[Probe, list[str], list[str]]]] = {}
    for probe in probes:
        question, answer = words(probe.question), words(probe.answer)
        if probe.role == Role.FORGET and probe.match == Match.ANSWER and question and answer:
            forget.setdefault(answer[0], []).append((probe, question, answer))
    for probe in probes:
        if probe.role != Role.RETAIN:
            continue
        said = words(f"{fill(probe.template, {'question': probe.question})} {probe.answer}")
        for other, question, answer in (entry for word in dict.fromkeys(said) for entry in forget.get(word, ())):
            if contains_words(said, question) and contains_words(said, answer) and _asked(probe) != _asked(other):
                yield Flaw(
                    "overlap",
                    (probe.id, other.id),
                    f"drop probe {probe.id} (retain): it holds the question and the answer of {other.id}, which is to "
                    "be forgotten",
                )
                break


def _given_away(probes: Sequence[Probe]) -> Iterator[Flaw]:
    """Find forget and holdout probes whose question holds their answer."""
    for probe in probes:
        answer = words(probe.answer)
        if probe.role == Role.RETAIN or probe.match == Match.VERBATIM or not answer:
            continue
        if contains_words(_asked(probe).split(), answer):
            yield Flaw("given away", (probe.id,), f"reword or drop probe {probe.id}: its question holds its answer")
