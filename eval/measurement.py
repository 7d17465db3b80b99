"""Data types between measuring and judging: one record per probe, surface and model, without texts.

```
  pack + backend ── measure ──▶ Measurement ── record ──▶ Baseline (a file)
                                     └──────── judge(Measurement, Baseline, Policy) ──▶ Judgement ── report
```
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class Role(StrEnum):
    """Purpose of a probe."""

    FORGET = "forget"
    RETAIN = "retain"
    HOLDOUT = "holdout"


class Verdict(StrEnum):
    """Result of a gate, with three values. Only PASS releases."""

    PASS = "PASS"  # noqa: S105 (a verdict, not a password)
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True)
class Sampling:
    """Settings of sampled answers: `count` per probe and surface, from softmax(logits / temperature).

    `seed` is the base of the random seeds (`asking/sampling.py`).
    """

    count: int
    temperature: float
    seed: int


LEAST_LOGPROB = -1e30
"""Beyond this, sums of squares overflow; no engine computes such a number."""


@dataclass(frozen=True)
class ProbeScore:
    """Scores of one probe on one surface of one model.

    Attributes:
        probe: the probe's id, unique in the pack.
        surface: the name of the surface ("raw", "chat", …).
        logprobs: natural log-probabilities of the answer's tokens, in order; none where the engine gives none, and
            then nothing below is known but `right`, `rouge_l` and the samples.
        right: whether the greedy answer is right by the probe's rule (near-verbatim for texts).
        rouge_l: ROUGE-L recall of the greedy answer against the answer, 0 … 1.
        exact_memorization: share of answer tokens that are the argmax after the true prefix, 0 … 1.
        extraction_strength: 1 − (shortest prefix of the answer after which greedy decoding completes it)/length, 0 … 1.
        decoy_rank: number of decoys that are more probable than the answer; None without decoys.
        decoys: number of decoys.
        samples: number of answers sampled besides the greedy one.
        sampled_right: number of samples that are right by the same rule.
        carried_logprob: natural log of a lower bound of the probability that the reply begins with the answer, or with
            a carrier sentence and then the answer: log Σ P(carrier) · P(answer | carrier) over distinct beginnings,
            including the bare answer. None if no carriers were asked.

    On a "choices" surface `logprobs` are those of the true option's letter, one per order of the options, `decoy_rank`
    is its rank among the options over all orders together, and `right` is whether it is first.

    """

    probe: str
    surface: str
    logprobs: tuple[float, ...]
    right: bool
    rouge_l: float
    exact_memorization: float
    extraction_strength: float
    decoy_rank: int | None = None
    decoys: int = 0
    samples: int = 0
    sampled_right: int = 0
    carried_logprob: float | None = None

    @property
    def emission_logprob(self) -> float:
        """Natural log of the largest lower bound of the probability that one sampled reply gives the answer."""
        bare = self.sum_logprob
        return bare if self.carried_logprob is None else max(bare, self.carried_logprob)

    @property
    def sum_logprob(self) -> float:
        """Natural log of the probability of the whole answer; −∞, no evidence of a leak, where nothing is known."""
        return sum(self.logprobs) if self.logprobs else -math.inf

    @property
    def nll(self) -> float:
        """Mean negative log-likelihood per answer token, in nat."""
        return -self.sum_logprob / len(self.logprobs)

    def impossible(self) -> str:
        """Name the first value that is not in its range; empty if all are."""
        for logprob in self.logprobs:
            if not LEAST_LOGPROB <= logprob <= 0:
                return f"a log-probability of {logprob}"
        if self.carried_logprob is not None and not LEAST_LOGPROB <= self.carried_logprob <= 0:
            return f"a log-probability of {self.carried_logprob} in carrier sentences"
        for name in ("rouge_l", "exact_memorization", "extraction_strength"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                return f"{name}: {share} is not between 0 and 1"
        rank, decoys = self.decoy_rank, self.decoys
        if (rank is None) != (decoys == 0) or not 0 <= (rank or 0) <= decoys:
            return f"decoy_rank {rank} among {decoys} decoys"
        if not 0 <= self.sampled_right <= self.samples:
            return f"{self.sampled_right} right of {self.samples} samples"
        return ""


@dataclass(frozen=True)
class Resources:
    """What an artifact takes on the device that computes.

    Attributes:
        file_bytes: size of its files together.
        largest_file_bytes: size of the largest of them.
        peak_memory_bytes: largest resident set of the engine's process; None where the engine cannot tell.
        tokens_per_second: speed of a greedy reply after its first token; None where the engine cannot tell.
        first_token_seconds: time to the first token of a reply; None where the engine cannot tell.

    """

    file_bytes: int
    largest_file_bytes: int
    peak_memory_bytes: int | None = None
    tokens_per_second: float | None = None
    first_token_seconds: float | None = None


@dataclass(frozen=True)
class ProbeFacts:
    """Properties of a probe that judging needs, without texts."""

    probe: str
    role: Role
    cluster: str
    trained: bool = False
    critical: bool = False


class Leg(StrEnum):
    """One of the three ways in which the leak rule sees an answer (`verdict/legs.py`)."""

    GREEDY = "greedy"
    EXTRACTION = "extraction"
    SAMPLES = "samples"


class Finding(NamedTuple):
    """What a measurement has found of a probe on a surface by one leg, while it goes on.

    `value` is, by extraction, `ProbeScore.emission_logprob`; 1 where the greedy answer is right and 0 where not; the
    number of right samples.
    """

    probe: str
    surface: str
    leg: Leg
    value: float


@dataclass(frozen=True)
class Measurement:
    """All scores of one model on one pack.

    Attributes:
        label: "artifact", "base", "merged", or "base:gguf-q4" for the base in a format.
        artifact_sha256: digest of the measured file (of file and adapter, in order, for an unmerged artifact).
        pack_digest: sha256 over the pack's canonical content.
        tokenizer_digest: from `ModelInfo`.
        prompt_digest: from `ModelInfo`: chat templates, special tokens, token types, pre-tokenizer.
        backend: name, engine, processor and options of `ModelInfo`, flat.
        scores: one per probe and surface, in the pack's order.
        sampling: settings of sampled answers of forget and holdout probes; None without samples.
        resources: what the artifact takes; None where nobody asked.

    """

    label: str
    artifact_sha256: str
    pack_digest: str
    tokenizer_digest: str
    backend: dict[str, str]
    scores: tuple[ProbeScore, ...]
    sampling: Sampling | None = None
    prompt_digest: str = ""
    resources: Resources | None = None

    @property
    def scored(self) -> bool:
        """Whether the engine gave log-probabilities: of all probes, or of none."""
        return any(score.logprobs for score in self.scores)


@dataclass(frozen=True)
class ModelSource:
    """A base or adapter: its name, and one digest over its files (`source_digest`)."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Sources:
    """Sources of a baseline's models.

    Attributes:
        base: the model before unlearning.
        adapters: what was merged into it, in this order.
        unlearned: the model that was unlearned in all its weights, in place of adapters.

    """

    base: ModelSource
    adapters: tuple[ModelSource, ...]
    unlearned: ModelSource | None = None


@dataclass(frozen=True)
class Carrier:
    """A sentence up to the answer: "The capital of {question} is".

    Attributes:
        group: the set of probes that use it.
        text: the words before the answer, with {question} or {prompt} for the probe's own words.
        source: "prompt" (the set's raw template), "pack" (written by its author) or "base" (the base's replies).

    """

    group: str
    text: str
    source: str


@dataclass(frozen=True)
class Baseline:
    """One backend's measurements of base and merged model at float precision, and of the base in each format.

    Attributes:
        probes: the facts of every probe in the pack, in order.
        surfaces: the surfaces asked, by role.
        base: the base at float precision.
        merged: base + adapters at float precision.
        base_in_format: the base in each requested format, by format name ("gguf-q4").
        ignorance: ignorance level I_i in nat per token by "probe/surface" (DESIGN: −(1/|a|)·log mean_j p_base(a|q_j)),
            for forget probes on the surfaces of `probes.RECOVERY_KINDS`.
        kinds: the kind of every surface, by its name (`probes.SurfaceKind`).
        carriers: carrier sentences asked, which the gate must ask too.
        reference: the base in each format on the default surfaces that the pack does not ask, forget probes only, by
            format name, to detect packs that ask too weakly. Empty if the pack asks them all.
        reference_kinds: the kind of every surface of `reference`, by its name.
        prompt_digest: that of all its measurements; empty in baselines of older versions.
        sources: sources of base and merged model; None in baselines of older versions.
        asked_twice: clusters that duplicate another one, as "role/name", and the name under which they count.

    """

    pack_name: str
    pack_digest: str
    tokenizer_digest: str
    probes: tuple[ProbeFacts, ...]
    surfaces: dict[str, tuple[str, ...]]
    base: Measurement
    merged: Measurement
    base_in_format: dict[str, Measurement]
    ignorance: dict[str, float]
    kinds: dict[str, str] = field(default_factory=dict)
    carriers: tuple[Carrier, ...] = ()
    reference: dict[str, Measurement] = field(default_factory=dict)
    reference_kinds: dict[str, str] = field(default_factory=dict)
    prompt_digest: str = ""
    sources: Sources | None = None
    asked_twice: dict[str, str] = field(default_factory=dict)

    @property
    def backend(self) -> str:
        """The backend of all its measurements: "llama.cpp", "onnxruntime"."""
        return self.base.backend.get("backend", "")
