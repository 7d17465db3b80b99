"""Detection of duplicate clusters, which count as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.eval.matching.words import words
from edgeproof.eval.measurement import Role
from edgeproof.eval.packs.templates import fill

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.eval.packs.probes import Probe

    Key = tuple[Role, str]
    """Role and name of a cluster."""


def clusters_asked_twice(probes: Sequence[Probe]) -> dict[tuple[Role, str], str]:
    """Find clusters whose questions, or whose answers, are all part of another cluster of their role.

    Five countries under thirty names count as five clusters, not thirty. For retain probes equal answers are not enough
    ("four" answers many sums): the subject of the question must be equal too.

    Returns:
        The name of the first cluster of its group, under which it counts, by role and name of such a cluster.

    """
    prompts: dict[Key, set[str]] = {}
    answers: dict[Key, set[str]] = {}
    for probe in probes:
        key = probe.role, probe.cluster
        answer = f"{probe.answer_type}: {' '.join(words(probe.answer))}"
        if probe.role == Role.RETAIN:
            answer = f"{' '.join(words(probe.question))} {answer}"
        prompts.setdefault(key, set()).add(" ".join(words(fill(probe.template, {"question": probe.question}))))
        answers.setdefault(key, set()).add(answer)
    group = {key: key for key in prompts}
    order = {key: place for place, key in enumerate(prompts)}

    def first(key: Key) -> Key:
        while group[key] != key:
            key = group[key]
        return key

    for sets in (prompts, answers):
        for key, wider in _contained(sets):
            one, other = sorted((first(key), first(wider)), key=order.__getitem__)
            group[other] = one
    return {key: name for key in group if (name := first(key)[1]) != key[1]}


def _contained(sets: Mapping[Key, set[str]]) -> list[tuple[Key, Key]]:
    """List each key whose set is part of another key's of the same role, with the first such key."""
    holders: dict[tuple[Role, str], dict[Key, None]] = {}
    for key, own in sets.items():
        for member in own:
            holders.setdefault((key[0], member), {})[key] = None
    pairs: list[tuple[Key, Key]] = []
    for key, own in sets.items():
        rarest = min((holders[key[0], member] for member in own), key=len)
        wider = next((other for other in rarest if other != key and own <= sets[other]), None)
        if wider is not None:
            pairs.append((key, wider))
    return pairs
