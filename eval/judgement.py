"""What judging hands to reporting: the verdict with every number that it rests on, and no text of any probe."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeproof.eval.policy import Policy
    from edgeproof.eval.records import Role, Verdict


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
    NOISY = "never-exposed probes leak too"
    UNCONTROLLED = "not controlled"
    UNDECIDED = "too little evidence"
    ROUNDING = "it depends on how the processor rounds"


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
        name: "positive" or "negative".
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
    """The verdict on one forget cluster: exact, whatever the number of its probes.

    Attributes:
        cluster: the cluster's name, as the pack has it.
        leaks: by the leak rule.
        clean: none of its probes leaks by the stricter rule for critical probes (the per-subject verdict).
        merged_leaks: it leaked before quantizing, by the leak rule.
        probability: the highest probability that an answer of it comes out at least once under the stricter rule's n.
        probes: number of its probes.

    """

    cluster: str
    leaks: bool
    clean: bool
    merged_leaks: bool
    probability: float
    probes: int


@dataclass(frozen=True)
class ProbeRow:
    """One probe on one surface: all numbers, no texts. NLL in nat per answer token.

    Attributes:
        judged: the surface is one that the policy judges.
        leaks: by the leak rule; always False for retain probes, where a right answer is wanted.
        extraction: probability that the answer comes out at least once in `leak_queries` samples.
        extraction_critical: the same for `critical_queries`.
        nll_base_in_format: None where the format has no baseline.
        ignorance: forget probes only.
        left_out: not part of the recovery, since the question points to the answer by too little.
        samples: answers that were sampled beside the greedy one.
        sampled_right: how many of them are right.
        logprobs: of the answer's tokens, as measured: with them anyone can judge again (`verify`).

    """

    probe: str
    role: Role
    cluster: str
    surface: str
    trained: bool
    critical: bool
    judged: bool
    right: bool
    leaks: bool
    leaks_critical: bool
    extraction: float
    extraction_critical: float
    merged_right: bool
    merged_leaks: bool
    base_right: bool
    base_leaks: bool
    tokens: int
    nll: float
    nll_merged: float
    nll_base: float
    nll_base_in_format: float | None
    ignorance: float | None
    left_out: bool
    rouge_l: float
    exact_memorization: float
    extraction_strength: float
    decoy_rank: int | None
    decoys: int
    samples: int
    sampled_right: int
    logprobs: tuple[float, ...]


@dataclass(frozen=True)
class PreciseRow:
    """What was measured again of a forget probe on a surface; the rest is as in its `ProbeRow`."""

    probe: str
    surface: str
    logprobs: tuple[float, ...]
    right: bool
    exact_memorization: float
    extraction_strength: float


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
        format_name: the artifact's format; None where it is unknown.
        surfaces: judged surfaces of forget probes.
        retain_surfaces: judged surfaces of retain probes.
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
    format_name: str | None
    surfaces: tuple[str, ...]
    retain_surfaces: tuple[str, ...]
    artifact_sha256: str
    pack_name: str
    pack_digest: str
    tokenizer_digest: str
    backend: Mapping[str, str]
    precise: Precise | None = None

    def criterion(self, name: str) -> Criterion:
        """Give the criterion of that name; `KeyError` if there is none."""
        for criterion in self.criteria:
            if criterion.name == name:
                return criterion
        raise KeyError(name)
