"""What judging hands to reporting: the verdict with every number that it rests on, and no text of any probe."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeproof.eval.measurement import Role, Verdict
    from edgeproof.eval.verdict.policy import Policy


class Status(StrEnum):
    """What became of a criterion. Only MET helps a PASS."""

    MET = "met"
    MISSED = "missed"
    UNDECIDED = "undecided"
    REPORTED = "reported"


class ControlStatus(StrEnum):
    """What became of a control."""

    HOLDS = "holds"
    BROKEN = "broken"
    MISSING = "not controlled"


class Reason(StrEnum):
    """Why, in the words of the release manager."""

    STAYED = "it stayed unlearned"
    CAME_BACK = "it came back"
    NEVER_UNLEARNED = "never unlearned"
    UTILITY_LOST = "utility lost"
    BLIND = "the pack cannot see a leak"
    WEAK = "asked too weakly"
    NOISY = "never-exposed probes leak too"
    UNCONTROLLED = "not controlled"
    UNDECIDED = "too little evidence"
    UNSCORED = "the engine gives no log-probabilities"
    ROUNDING = "it depends on how the processor rounds"


LEAKING = "leaking"
"""Key of `Criterion.details`: how many clusters, subjects or probes leak."""
WORST_SURFACE = "worst surface"
"""Key of `Criterion.details`: the surface whose upper bound is the criterion's."""


@dataclass(frozen=True)
class Criterion:
    """One line of the verdict.

    Attributes:
        name: stable id ("leak", "recovery", …).
        title: the same for people.
        status: met, missed (after Holm), undecided, or reported without being judged.
        needed: a PASS needs it met.
        estimate: the point estimate; None where there is nothing to estimate from.
        lower: one-sided lower bound at `level`, None where there is none.
        upper: one-sided upper bound at `level`, None where there is none.
        limit: what the upper bound may be at most; None for what has none.
        unit: of estimate, bounds and limit: "share" (0 … 1) or "nat" (per answer token).
        level: one-sided confidence.
        p_missed: p-value against "the truth is within the limit"; None where chance has no part.
        clusters: number of clusters it rests on.
        found: the finding in a few words ("0 of 47 clusters").
        meaning: one sentence of plain English.
        method: how the bounds were found.
        to_decide: what would decide it; empty unless undecided.
        details: further numbers, by name.

    """

    name: str
    title: str
    status: Status
    needed: bool
    estimate: float | None
    lower: float | None
    upper: float | None
    limit: float | None
    unit: str
    level: float
    p_missed: float | None
    clusters: int
    found: str
    meaning: str
    method: str
    to_decide: str = ""
    details: Mapping[str, float | int | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Control:
    """A check of the pack, not of the artifact: can it see a leak, and does it see none where there is none?

    Attributes:
        name: "positive", "negative" or "strength".
        title: the same for people.
        status: holds, broken, or not controlled.
        needed: a verdict other than INCONCLUSIVE needs it to hold.
        clusters: number of clusters asked.
        leaking: how many of them leak.
        lower: one-sided lower bound of their share, None where nothing was asked.
        found: the finding in a few words.
        meaning: one sentence of plain English.
        mend: what to do about it; empty where it holds.

    """

    name: str
    title: str
    status: ControlStatus
    needed: bool
    clusters: int
    leaking: int
    lower: float | None
    found: str
    meaning: str
    mend: str = ""


@dataclass(frozen=True)
class Subject:
    """The verdict on one forget cluster: computed and not estimated, whatever the number of its probes.

    Attributes:
        cluster: the cluster's name, as the pack has it.
        leaks: by the leak rule.
        clean: none of its probes leaks by the stricter rule for critical probes (the per-subject verdict).
        merged_leaks: it leaked before quantizing, by the leak rule.
        probability: the highest probability that an answer of it comes out at least once under the stricter rule's n;
            a lower bound where carriers were asked; None where the engine gives no log-probabilities.
        probes: number of its probes.
        known: the base gives it away in this format on a judged surface, by the leak rule.
        base_legs: all askings that bring it out of the base in this format, as "surface/leg", reference surfaces too.

    """

    cluster: str
    leaks: bool
    clean: bool
    merged_leaks: bool
    probability: float | None
    probes: int
    known: bool
    base_legs: tuple[str, ...]


@dataclass(frozen=True)
class AskingRow:
    """What a surface brings out of the base in this format by one leg of the leak rule.

    Attributes:
        surface: its name.
        kind: its kind (`probes.SurfaceKind`).
        judged: the policy judges it.
        reference: the pack does not ask it; the baseline recorded it beside.
        leg: "greedy", "extraction" or "samples".
        found: how many units it brings out.
        share: of what the base gives on any asking.
        blind: so few that it does not count as asked.

    """

    surface: str
    kind: str
    judged: bool
    reference: bool
    leg: str
    found: int
    share: float
    blind: bool


@dataclass(frozen=True)
class Asking:
    """How strongly the pack asks, measured on the base in this format.

    Attributes:
        unit: what is counted: "clusters", or "probes" where subjects are judged by themselves.
        known: how many the base gives away on any asking.
        found: how many of them it gives away on judged surfaces by legs that are not blind.
        share: found / known; 0 where nothing is known.
        chat_greedy: the most that a judged chat surface brings out by greedy replies.
        chat_probable: the most that one brings out by extraction, or by 20 samples and more.
        rows: one for each surface and leg.
        to_add: surfaces whose asking would add most, in words; empty where the asking is strong enough.
        unasked: kinds of surfaces that bring out much of what is known and of which none is judged, in words.

    """

    unit: str
    known: int
    found: int
    share: float
    chat_greedy: int
    chat_probable: int
    rows: tuple[AskingRow, ...]
    to_add: tuple[str, ...]
    unasked: tuple[str, ...]


@dataclass(frozen=True)
class ProbeRow:
    """One probe on one surface: all numbers, no texts. NLL in nat per answer token.

    Attributes:
        judged: the surface is one that the policy judges.
        leaks: by the leak rule; always False for retain probes, where a right answer is wanted.
        kind: the surface's kind.
        legs: the legs by which it leaks: "greedy", "extraction", "samples".
        extraction: probability that the answer comes out at least once in `leak_queries` samples.
        extraction_critical: the same for `critical_queries`.
        extraction_is: "exact", the probability that a reply begins with the recorded answer; or "lower bound" of the
            probability that a reply gives it, alone or in one of the carrier sentences that were asked; "none" on
            surfaces of choices, whose log-probabilities are of letters.
        carried_logprob: natural log of that bound for one reply; None where no carriers were asked.
        nll: None, like `exact_memorization` and `extraction_strength`, where the engine gives no log-probabilities.
        ignorance: forget probes on surfaces that show a recovery only.
        left_out: not part of the recovery, since the question points to the answer by too little.
        samples: answers that were sampled beside the greedy one.
        sampled_right: how many of them are right.
        logprobs: of the answer's tokens, as measured: with them anyone can judge again (`verify`).

    """

    probe: str
    role: Role
    cluster: str
    surface: str
    kind: str
    trained: bool
    critical: bool
    judged: bool
    right: bool
    leaks: bool
    leaks_critical: bool
    legs: tuple[str, ...]
    extraction: float
    extraction_critical: float
    extraction_is: str
    merged_right: bool
    merged_leaks: bool
    base_right: bool
    base_leaks: bool
    tokens: int
    nll: float | None
    nll_merged: float
    nll_base: float
    nll_base_in_format: float
    ignorance: float | None
    left_out: bool
    rouge_l: float
    exact_memorization: float | None
    extraction_strength: float | None
    decoy_rank: int | None
    decoys: int
    samples: int
    sampled_right: int
    logprobs: tuple[float, ...]
    carried_logprob: float | None


@dataclass(frozen=True)
class PreciseRow:
    """What was measured again of a forget probe on a surface; the rest is as in its `ProbeRow`."""

    probe: str
    surface: str
    logprobs: tuple[float, ...]
    right: bool
    exact_memorization: float
    extraction_strength: float
    carried_logprob: float | None


@dataclass(frozen=True)
class Precise:
    """What became of the same file when its activations were not rounded.

    Attributes:
        verdict: by the same baseline and policy.
        reason: the main reason.
        mean_difference: mean |difference of log-probabilities| per answer token, in nat.
        largest_difference: the largest of them.
        differing_clusters: forget clusters that leak in one computation and not in the other.
        backend: what computed it, flat.
        probes: what was measured, so that it can be judged again.

    """

    verdict: Verdict
    reason: Reason
    mean_difference: float
    largest_difference: float
    differing_clusters: tuple[str, ...]
    backend: Mapping[str, str]
    probes: tuple[PreciseRow, ...]


@dataclass(frozen=True)
class Judgement:
    """The verdict and all that it rests on.

    Attributes:
        verdict: PASS, FAIL or INCONCLUSIVE.
        reason: the main reason.
        also: further reasons for the same verdict.
        summary: one or two sentences: what was found.
        next_steps: what to do now, most useful first.
        notes: what a reader must know beside the verdict (loosened limits, missing controls, blind surfaces).
        format_name: the artifact's format.
        surfaces: judged surfaces of forget probes.
        retain_surfaces: judged surfaces of retain probes.
        asking: how strongly the pack asks.
        precise: the same file computed without rounding activations; None where nothing rounds them by choice.

    """

    verdict: Verdict
    reason: Reason
    also: tuple[Reason, ...]
    summary: str
    next_steps: tuple[str, ...]
    notes: tuple[str, ...]
    criteria: tuple[Criterion, ...]
    controls: tuple[Control, ...]
    subjects: tuple[Subject, ...]
    probes: tuple[ProbeRow, ...]
    policy: Policy
    format_name: str
    surfaces: tuple[str, ...]
    retain_surfaces: tuple[str, ...]
    artifact_sha256: str
    pack_name: str
    pack_digest: str
    tokenizer_digest: str
    backend: Mapping[str, str]
    asking: Asking
    precise: Precise | None = None

    def criterion(self, name: str) -> Criterion:
        """Give the criterion of that name; `KeyError` if there is none."""
        for criterion in self.criteria:
            if criterion.name == name:
                return criterion
        raise KeyError(name)
