"""Data types of a judgement: the verdict with all its numbers, without texts of probes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from edgeproof.contracts.backend import LONG_ROPE, ROPE_FACTORS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeproof.eval.measurement import Resources, Role, Verdict
    from edgeproof.eval.verdict.policy import Policy


class Status(StrEnum):
    """Status of a criterion. Only MET supports a PASS."""

    MET = "met"
    MISSED = "missed"
    UNDECIDED = "undecided"
    REPORTED = "reported"


class ControlStatus(StrEnum):
    """Status of a control."""

    HOLDS = "holds"
    BROKEN = "broken"
    MISSING = "not controlled"


class Reason(StrEnum):
    """Reason of a verdict, worded for release managers."""

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
    ROPE = "it depends on the size of the context"
    ORIGINAL = "this file is the original itself"
    DOUBTED = "the server may have another file"
    ELSEWHERE = "it was computed elsewhere than asked"
    OVER_BUDGET = "over the budget"


LEAKING = "leaking"
"""Key of `Criterion.details`: how many clusters, subjects or probes leak."""
WORST_SURFACE = "worst surface"
"""Key of `Criterion.details`: the surface whose upper bound is the criterion's."""


@dataclass(frozen=True)
class Criterion:
    """One line of the verdict.

    Attributes:
        name: stable id ("leak", "recovery", …).
        title: display name.
        status: met, missed (after Holm), undecided, or reported without being judged.
        needed: whether a PASS needs it met.
        estimate: point estimate; None without data.
        lower: one-sided lower bound at `level`, or None.
        upper: one-sided upper bound at `level`, or None.
        limit: limit of the upper bound; None without a limit.
        unit: unit of estimate, bounds and limit: "share" (0 … 1) or "nat" (per answer token); of a budget "MB", "ms" or
            "s".
        level: one-sided confidence level.
        p_missed: p-value against "the truth is within the limit"; None for computed results.
        clusters: number of clusters used.
        found: short finding ("0 of 47 clusters").
        meaning: one sentence of plain English.
        method: method of the bounds.
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

    @property
    def unmet(self) -> bool:
        """Whether it stands between the file and a PASS."""
        return criterion_unmet(self.status, needed=self.needed)


@dataclass(frozen=True)
class Control:
    """A check of the pack, not of the artifact: it must detect leaks where they exist, and only there.

    Attributes:
        name: "positive", "negative" or "strength".
        title: display name.
        status: holds, broken, or not controlled.
        needed: whether a verdict other than INCONCLUSIVE needs it to hold.
        clusters: number of clusters asked.
        leaking: number of them that leak.
        lower: one-sided lower bound of their share, None if nothing was asked.
        found: short finding.
        meaning: one sentence of plain English.
        mend: how to fix it; empty if it holds.

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

    @property
    def unmet(self) -> bool:
        """Whether it stands between the file and a verdict."""
        return control_unmet(self.status, needed=self.needed)


def criterion_unmet(status: str, *, needed: bool) -> bool:
    """Whether a criterion of this status, as reports have it, stands between a file and a PASS."""
    return status == Status.MISSED or (needed and status != Status.MET)


def control_unmet(status: str, *, needed: bool) -> bool:
    """Whether a control of this status, as reports have it, stands between a file and a verdict."""
    return needed and status != ControlStatus.HOLDS


@dataclass(frozen=True)
class Subject:
    """The verdict on one forget cluster, computed and not estimated, for any number of probes.

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
    """Leaks of the base in this format on a surface by one leg of the leak rule.

    Attributes:
        surface: name of the surface.
        kind: kind of the surface (`packs.kinds.SurfaceKind`).
        judged: whether the policy judges it.
        reference: whether it is a reference surface of the baseline, which the pack does not ask.
        leg: "greedy", "extraction" or "samples".
        found: number of leaking units.
        share: their share of the units that the base leaks on any surface.
        blind: whether they are so few that the leg does not count as asked.

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
    """Strength of the pack's asking, measured on the base in this format.

    Attributes:
        unit: counted unit: "clusters", or "probes" if subjects are judged separately.
        known: number of units that the base leaks on any surface.
        found: number of units that it leaks on judged surfaces by legs that are not blind.
        share: found / known; 0 if nothing is known.
        chat_greedy: largest number of leaks on a judged chat surface by greedy replies.
        chat_probable: largest number by extraction, or by 20 or more samples.
        rows: one per surface and leg.
        to_add: surfaces that would add most, in words; empty if the asking is strong enough.
        unasked: kinds of surfaces with many of the known leaks of which none is judged, in words.

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
    """Numbers of one probe on one surface, without texts. NLL in nat per answer token.

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


def computes_long_rope(backend: Mapping[str, str]) -> bool:
    """Whether the options of a backend say that it took the long rope factors alone."""
    return backend.get(ROPE_FACTORS) == LONG_ROPE


@dataclass(frozen=True)
class PreciseRow:
    """Repeated measurement of a forget probe on a surface; the rest is as in its `ProbeRow`."""

    probe: str
    surface: str
    logprobs: tuple[float, ...]
    right: bool
    exact_memorization: float
    extraction_strength: float
    carried_logprob: float | None


@dataclass(frozen=True)
class Precise:
    """Judgement of the same file computed in the other way: without rounded activations, or with long rope factors.

    Attributes:
        verdict: the verdict by the same baseline and policy.
        reason: the main reason.
        mean_difference: mean |difference of log-probabilities| per answer token, in nat.
        largest_difference: largest |difference|.
        differing_clusters: forget clusters that leak in one computation and not in the other.
        backend: backend of this computation, flat.
        probes: the measurements, which allow judging again.

    """

    verdict: Verdict
    reason: Reason
    mean_difference: float
    largest_difference: float
    differing_clusters: tuple[str, ...]
    backend: Mapping[str, str]
    probes: tuple[PreciseRow, ...]

    @property
    def how(self) -> str:
        """What is different in this computation, in words."""
        long, float_too = computes_long_rope(self.backend), self.backend.get("accuracy_level") == "0"
        if long and float_too:
            return (
                "with the long rope factors, without rounding activations and with both, each answer by the likeliest"
            )
        return "with the long rope factors" if long else "without rounding activations"


@dataclass(frozen=True)
class Judgement:
    """The verdict with all its evidence.

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
        precise: the same file computed without rounding activations, or with the long rope factors; None where an
            engine has no such choice.
        resources: what the artifact takes; None where the policy has no budget.

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
    resources: Resources | None = None

    def criterion(self, name: str) -> Criterion:
        """Return the criterion of that name; `KeyError` if there is none."""
        for criterion in self.criteria:
            if criterion.name == name:
                return criterion
        raise KeyError(name)
