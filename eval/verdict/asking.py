"""Strength of a pack's asking: the base's leaks in this format by surface and by leg of the leak rule.

```
known      leaks of the base on any surface: the pack's, and the reference surfaces of the baseline
found      leaks of the base on the judged surfaces, without their blind legs
strength   found / known
unasked    kinds of surfaces with many of the known leaks that are not judged
```
A gate detects at most the leaks that its questions elicit from a model that knows the answers. One way of asking does
not replace another: a model trained on plain questions may refuse them, and answer after examples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.eval.asking.kinds import ANSWERED_KINDS, CHAT_KINDS, PLAIN_CHATS
from edgeproof.eval.measurement import Leg, Role
from edgeproof.eval.verdict.judgement import Asking, AskingRow, Control, ControlStatus
from edgeproof.eval.verdict.legs import legs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from edgeproof.eval.measurement import ProbeFacts, ProbeScore
    from edgeproof.eval.verdict.evidence.evidence import Evidence, Scores

    Found = Mapping[tuple[str, Leg], frozenset[str]]
    """Leaks of the base, by surface and leg."""

LONG_ANSWER = 16
"""Maximum tokens of an answer for the chat rule; longer ones are rarely reproduced word for word, even if known."""
ENOUGH_SAMPLES = 20
"""Number of samples that detects the leaks missed by a chat's extraction leg."""
NAMED = 3
"""Maximum number of surfaces to add that the control names."""


def brought_out(evidence: Evidence, unit: Callable[[ProbeFacts], str]) -> Found:
    """Say what the base in this format gives away on every asking, by surface and leg.

    `unit` returns the counted unit of a probe: its cluster, or its id.
    """
    found: dict[tuple[str, Leg], set[str]] = {}
    for surface, scores in _askings(evidence):
        sampled = evidence.policy.samples > 0
        for fact in _forget(evidence):
            score = scores[fact.probe, surface]
            own = legs(score, evidence.policy)
            for leg in Leg:
                if leg != Leg.SAMPLES or (sampled and score.samples):
                    found.setdefault((surface, leg), set()).update([unit(fact)] if leg in own else [])
    return {key: frozenset(units) for key, units in found.items()}


def asking(evidence: Evidence) -> Asking:
    """Measure the strength of the asking."""
    policy = evidence.policy
    # The rule "subjects" counts each question of a subject; the rule "share" counts clusters.
    by_subject = policy.leak_rule == "subjects"
    found = brought_out(evidence, lambda fact: fact.probe if by_subject else fact.cluster)
    known = frozenset[str]().union(*found.values())
    judged = evidence.judged(Role.FORGET)
    rows = tuple(
        AskingRow(
            surface=surface,
            kind=str(evidence.kinds[surface]),
            judged=surface in judged,
            reference=surface not in evidence.asked[Role.FORGET],
            leg=str(leg),
            found=len(units),
            share=len(units) / len(known) if known else 0.0,
            blind=len(units) < policy.asking_blind * len(known) or not units,
        )
        for (surface, leg), units in found.items()
    )
    counted = {(row.surface, Leg(row.leg)) for row in rows if row.judged and not row.blind}
    covered = frozenset[str]().union(*(found[key] for key in counted))
    greedy, probable = _chat(evidence)
    return Asking(
        unit="probes" if by_subject else "clusters",
        known=len(known),
        found=len(covered),
        share=len(covered) / len(known) if known else 0.0,
        chat_greedy=greedy,
        chat_probable=probable,
        rows=rows,
        to_add=() if _is_strong(len(covered), len(known), policy.asking_strength) else _to_add(rows, found, covered),
        unasked=_unasked(rows, found, policy.asking_unasked * len(known)),
    )


def strength(evidence: Evidence, measured: Asking) -> Control:
    """Check that the judged surfaces find nearly all leaks of the base on any surface."""
    policy = evidence.policy
    wrong = []
    if not measured.known:
        wrong.append("ask what the base knows in this format")
    elif not _is_strong(measured.found, measured.known, policy.asking_strength):
        wrong.append(
            f"the judged surfaces must bring out {policy.asking_strength:.0%} of the {measured.known} "
            f"{measured.unit}: " + (", ".join(measured.to_add) or _blind_words(measured))
        )
    if measured.unasked:
        wrong.append(
            f"the base gives more than {policy.asking_unasked:.0%} of them away in ways of asking that are not judged, "
            f"in which this file could do so too: add surfaces of kind {', '.join(measured.unasked)}"
        )
    chat = f"{measured.chat_probable} of {measured.chat_greedy}"
    deaf = _is_deaf(measured, policy.asking_leg, policy.asking_blind)
    if deaf:
        wrong.append(
            f"in the chat only {chat} {measured.unit} that the base answers rightly come out by probability, so leaks "
            "in sampled replies would be missed: write the sentences in which the model answers as `carriers` in the "
            f"pack, or set samples.count to {ENOUGH_SAMPLES} or more"
        )
    return Control(
        "strength",
        "the asking brings out what the base knows",
        ControlStatus.BROKEN if wrong else ControlStatus.HOLDS,
        needed=True,
        clusters=measured.known,
        leaking=measured.found,
        lower=None,
        found=f"{measured.found} of {measured.known} {measured.unit} that the base gives away come out"
        + (f", in the chat {chat} by probability" if deaf else "")
        + (f"; not asked by {', '.join(measured.unasked)}" if measured.unasked else ""),
        meaning="What no question brings out of a model that knows it could stay in the file unseen.",
        mend="; ".join(wrong),
    )


def blind_note(measured: Asking) -> tuple[str, ...]:
    """Return a note on the judged surfaces and legs that find almost nothing; empty if there are none."""
    rows = [row for row in measured.rows if row.judged]
    surfaces = [
        surface
        for surface in dict.fromkeys(row.surface for row in rows)
        if all(row.blind for row in rows if row.surface == surface)
    ]
    single = [f"{row.surface} by {row.leg}" for row in rows if row.blind and row.surface not in surfaces]
    named = [*(f"{surface} altogether" for surface in surfaces), *single]
    if not named or not measured.known:
        return ()
    note = (
        f"Blind, and not counted as asked: {', '.join(named)}. The base, which knows {measured.known} "
        f"{measured.unit}, gives next to nothing away there."
    )
    return (note,)


def _askings(evidence: Evidence) -> Iterable[tuple[str, Scores]]:
    """Yield every surface on which the base was asked forget probes in this format, with its scores."""
    for surface in evidence.asked[Role.FORGET]:
        if evidence.kinds[surface] in ANSWERED_KINDS:
            yield surface, evidence.in_format
    for surface in dict.fromkeys(surface for _, surface in evidence.reference):
        if evidence.kinds[surface] in ANSWERED_KINDS:
            yield surface, evidence.reference


def _forget(evidence: Evidence) -> list[ProbeFacts]:
    return [fact for fact in evidence.facts.values() if fact.role == Role.FORGET]


def _is_strong(found: int, known: int, limit: float) -> bool:
    return known > 0 and found >= limit * known - 1e-9


def _chat(evidence: Evidence) -> tuple[int, int]:
    """Return the largest number of leaks of the base on a chat surface, by greedy replies and by probability.

    Uses plain chats if judged, else other surfaces with a chat template; answers up to `LONG_ANSWER`.
    """
    plain = evidence.judged(Role.FORGET, PLAIN_CHATS) or evidence.judged(Role.FORGET, CHAT_KINDS)
    by_subject = evidence.policy.leak_rule == "subjects"
    probable = {Leg.EXTRACTION} | ({Leg.SAMPLES} if evidence.policy.samples >= ENOUGH_SAMPLES else set())
    most = [0, 0]
    for surface in plain:
        own: list[set[str]] = [set(), set()]
        for fact in _forget(evidence):
            score: ProbeScore = evidence.in_format[fact.probe, surface]
            if len(score.logprobs) <= LONG_ANSWER:
                leaked = set(legs(score, evidence.policy))
                unit = fact.probe if by_subject else fact.cluster
                own[0].update([unit] if Leg.GREEDY in leaked else [])
                own[1].update([unit] if leaked & probable else [])
        most = [max(most[0], len(own[0])), max(most[1], len(own[1]))]
    return most[0], most[1]


def _is_deaf(measured: Asking, leg: float, blind: float) -> bool:
    """Whether the chat's probabilities miss its greedy answers; a chat with few answers counts as blind instead."""
    answers = measured.chat_greedy >= max(1.0, blind * measured.known)
    return answers and measured.chat_probable < leg * measured.chat_greedy - 1e-9


def _to_add(rows: Sequence[AskingRow], found: Found, covered: frozenset[str]) -> tuple[str, ...]:
    """Return the surfaces that would add most, best first, in words."""
    by_surface: dict[str, AskingRow] = {row.surface: row for row in rows if not row.judged}
    words: list[str] = []
    while by_surface and len(words) < NAMED:
        gains = {
            surface: frozenset[str]().union(*(units for (name, _), units in found.items() if name == surface)) - covered
            for surface in by_surface
        }
        best = max(gains, key=lambda surface: len(gains[surface]))
        if not gains[best]:
            break
        row = by_surface.pop(best)
        more = f"({len(gains[best])} more)"
        words.append(
            f'add a surface of kind "{row.kind}" {more}'
            if row.reference
            else f'judge the surface "{row.surface}" too {more}'
        )
        covered |= gains[best]
    return tuple(words)


def _unasked(rows: Sequence[AskingRow], found: Found, most: float) -> tuple[str, ...]:
    """Return the kinds of unjudged surfaces that find more than `most` of the known leaks.

    A judged surface of the same kind replaces it if it finds at least half as many.
    """
    judged: dict[str, int] = {}
    others: dict[str, int] = {}
    for row in rows:
        if row.judged and row.blind:
            continue
        units = frozenset[str]().union(*(own for (name, _), own in found.items() if name == row.surface))
        counts = judged if row.judged else others
        counts[row.kind] = max(counts.get(row.kind, 0), len(units))
    return tuple(
        f'"{kind}" ({count})'
        for kind, count in others.items()
        if count > most + 1e-9 and judged.get(kind, 0) < count / 2
    )


def _blind_words(measured: Asking) -> str:
    return "the rest comes out on blind surfaces alone" if any(r.blind for r in measured.rows if r.judged) else ""
