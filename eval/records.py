"""What measuring hands to judging: one record per probe, surface and model; no texts in any of them.

```
  pack + backend ── measure ──▶ Measurement ── record ──▶ Baseline (a file)
                                     └──────── judge(Measurement, Baseline, Policy) ──▶ Judgement ── report
```
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a probe is for."""

    FORGET = "forget"
    RETAIN = "retain"
    HOLDOUT = "holdout"


class Verdict(StrEnum):
    """Never a boolean. Only PASS lets a release through."""

    PASS = "PASS"  # noqa: S105 (a verdict, no password)
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True)
class Sampling:
    """How answers are sampled: `count` of each probe on each surface, from softmax(logits / temperature).

    `seed` is what the random numbers come from (`sampling.py`).
    """

    count: int
    temperature: float
    seed: int


@dataclass(frozen=True)
class ProbeScore:
    """One probe, asked on one surface, of one model.

    Attributes:
        probe: the probe's id, unique in the pack.
        surface: the name of the surface ("raw", "chat", …).
        logprobs: natural log-probabilities of the answer's tokens, in order.
        right: the greedy answer is right by the probe's own rule (near-verbatim for texts).
        rouge_l: ROUGE-L recall of the greedy answer against the answer, 0 … 1.
        exact_memorization: share of answer tokens that are the argmax after the true prefix, 0 … 1.
        extraction_strength: 1 − (shortest prefix of the answer after which greedy decoding completes it)/length, 0 … 1.
        decoy_rank: how many decoys are more probable than the answer; None where the pack has none for it.
        decoys: number of decoys.
        samples: how many answers were sampled beside the greedy one.
        sampled_right: how many of them are right by the same rule.

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

    @property
    def sum_logprob(self) -> float:
        """Natural log of the probability of the whole answer."""
        return sum(self.logprobs)

    @property
    def nll(self) -> float:
        """Mean negative log-likelihood per answer token, in nat."""
        return -self.sum_logprob / len(self.logprobs)


@dataclass(frozen=True)
class ProbeFacts:
    """What judging needs to know of a probe: no texts."""

    probe: str
    role: Role
    cluster: str
    trained: bool = False
    critical: bool = False


@dataclass(frozen=True)
class Measurement:
    """All scores of one model on one pack.

    Attributes:
        label: "artifact", "base", "merged", or "base:gguf-q4" for the base in a format.
        artifact_sha256: digest of the file that was run (of file and adapter, in order, for an unmerged artifact).
        pack_digest: sha256 over the pack's canonical content.
        tokenizer_digest: of `ModelInfo`.
        backend: name, engine, processor and options of `ModelInfo`, flat.
        scores: one per probe and surface, in the pack's order.
        sampling: how answers of forget and holdout probes were sampled; None where none were.

    """

    label: str
    artifact_sha256: str
    pack_digest: str
    tokenizer_digest: str
    backend: dict[str, str]
    scores: tuple[ProbeScore, ...]
    sampling: Sampling | None = None


@dataclass(frozen=True)
class Baseline:
    """One backend's recorded answers of base and merged at float precision, and of the base in each of its formats.

    Attributes:
        probes: the facts of every probe in the pack, in order.
        surfaces: the surfaces that were asked, by role.
        base: the base at float precision.
        merged: base + adapters at float precision.
        base_in_format: the base in each format asked for, by format name ("gguf-q4").
        ignorance: ignorance level I_i in nat per token by "probe/surface" (DESIGN: −(1/|a|)·log mean_j p_base(a|q_j)),
            for forget probes.

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

    @property
    def backend(self) -> str:
        """The backend that measured all of it: "llama.cpp", "onnxruntime"."""
        return self.base.backend.get("backend", "")
