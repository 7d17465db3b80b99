"""Synthetic measurements with a known truth, shaped like the capitals of FACTS, for tests of the verdict."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.eval.asking.kinds import RECOVERY_KINDS, sampled_kinds
from edgeproof.eval.measurement import Baseline, Measurement, ModelSource, ProbeFacts, ProbeScore, Role, Sampling
from edgeproof.eval.report.context import ReportContext

if TYPE_CHECKING:
    from collections.abc import Callable

SAMPLING = Sampling(4, 1.0, 0)
"""What the default policy asks for."""
PACK = hashlib.sha256(b"pack").hexdigest()
TOKENIZER = hashlib.sha256(b"tokenizer").hexdigest()
PROMPT = hashlib.sha256(b"prompt").hexdigest()
BACKEND = {"backend": "llama.cpp", "engine": "1.2.3 (abc)", "processor": "x86-64 avx2", "threads": "2"}


BASE = ModelSource("SmolLM2", hashlib.sha256(b"base").hexdigest())


@dataclass(frozen=True)
class Answer:
    """What a model does on a probe: NLL per token, whether its greedy answer is right, how many sampled ones are.

    `carried` is the log-probability of the answer in carrier sentences, None where none were asked.
    """

    nll: float
    right: bool
    sampled: int = 0
    carried: float | None = None


def number(*parts: object) -> float:
    """A fixed pseudo-random number in [0, 1) for these parts."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8]) / 2**64


def gauss(*parts: object) -> float:
    """A fixed standard normal number for these parts."""
    return float(np.sqrt(-2 * np.log(1 - number(*parts, 0))) * np.cos(2 * np.pi * number(*parts, 1)))


@dataclass(frozen=True)
class World:
    """57 forget clusters of 2 probes, of which the base knows 47; 100 untrained retain probes; 12 never-exposed.

    Surfaces, those of the reference too, are named like their kinds.
    """

    forget: int = 57
    known: int = 47
    retain: int = 100
    trained: int = 33
    holdout: int = 12
    surfaces: tuple[str, ...] = ("raw", "chat")
    tokens: int = 2
    ignorance: float = 3.6
    critical: frozenset[str] = frozenset()
    decoys: int = 0
    sampling: Sampling | None = SAMPLING
    reference: tuple[str, ...] = ()

    def facts(self) -> tuple[ProbeFacts, ...]:
        facts = [
            ProbeFacts(f"f{c}-{i}", Role.FORGET, f"country {c}", critical=f"f{c}-{i}" in self.critical)
            for c in range(self.forget)
            for i in range(2)
        ]
        facts += [ProbeFacts(f"r{c}", Role.RETAIN, f"kept {c}") for c in range(self.retain)]
        facts += [ProbeFacts(f"t{c}", Role.RETAIN, f"practised {c}", trained=True) for c in range(self.trained)]
        facts += [ProbeFacts(f"h{c}", Role.HOLDOUT, f"fiction {c}") for c in range(self.holdout)]
        return tuple(facts)

    def measure(self, label: str, answers: Callable[[ProbeFacts, str], Answer], sha: str = "") -> Measurement:
        asks = [(fact, surface) for fact in self.facts() for surface in self.surfaces]
        return self._measurement(label, answers, asks, sha or label)

    def _measurement(
        self,
        label: str,
        answers: Callable[[ProbeFacts, str], Answer],
        asks: list[tuple[ProbeFacts, str]],
        sha: str,
    ) -> Measurement:
        scores = []
        for fact, surface in asks:
            answer = answers(fact, surface)
            hidden = fact.role != Role.RETAIN
            decoys = self.decoys if hidden and surface == "raw" else 3 if surface == "choices" else 0
            place = min(1.0, max(0.0, answer.nll - 1) / 22)
            sampled = self.sampling is not None and hidden and surface in sampled_kinds(self.surfaces)
            scores.append(
                ProbeScore(
                    fact.probe,
                    surface,
                    (-answer.nll,) * self.tokens,
                    answer.right,
                    float(answer.right),
                    float(answer.right),
                    float(answer.right),
                    int(place * decoys) if decoys else None,
                    decoys,
                    self.sampling.count if sampled else 0,
                    answer.sampled if sampled else 0,
                    answer.carried,
                )
            )
        digest = hashlib.sha256(sha.encode()).hexdigest()
        return Measurement(label, digest, PACK, TOKENIZER, dict(BACKEND), tuple(scores), self.sampling, PROMPT)

    def base(self, fact: ProbeFacts, surface: str) -> Answer:
        if fact.role == Role.HOLDOUT:
            return Answer(6.0, right=False)
        if fact.role == Role.RETAIN:
            return Answer(0.5 + 0.1 * number(fact.probe, surface), right=True)
        knows = int(fact.cluster.split()[1]) < self.known
        return Answer(0.75, right=True, sampled=1) if knows else Answer(5.0, right=False)

    def merged(self, fact: ProbeFacts, surface: str) -> Answer:
        answer = self.base(fact, surface)
        if fact.role == Role.FORGET:
            return Answer(11.0, right=False)
        if fact.role == Role.RETAIN:
            return Answer(answer.nll + 0.05, right=answer.right)
        return answer

    def in_format(self, fact: ProbeFacts, surface: str) -> Answer:
        answer = self.base(fact, surface)
        noise = 0.1 + 0.25 * abs(gauss("format", fact.probe, surface)) if fact.role == Role.RETAIN else 0.1
        return Answer(answer.nll + noise, answer.right, answer.sampled)

    def good(self, fact: ProbeFacts, surface: str) -> Answer:
        answer = self.merged(fact, surface)
        noise = 0.1 + 0.25 * gauss("good", fact.probe, surface) if fact.role == Role.RETAIN else -0.4
        return Answer(max(0.01, answer.nll + noise), right=answer.right)

    def back(self, fact: ProbeFacts, surface: str) -> Answer:
        """As in Q4_1: nearly the base again, on the forget probes too."""
        return self.in_format(fact, surface)

    def gibberish(self, fact: ProbeFacts, surface: str) -> Answer:
        return Answer(12.0 + number(fact.probe, surface), right=False)

    def baseline(self, format_name: str = "gguf-q4", **models: Callable[[ProbeFacts, str], Answer]) -> Baseline:
        facts = self.facts()
        return Baseline(
            pack_name="capitals",
            pack_digest=PACK,
            tokenizer_digest=TOKENIZER,
            probes=facts,
            surfaces={str(role): self.surfaces for role in Role if any(fact.role == role for fact in facts)},
            base=self.measure("base", models.get("base", self.base)),
            merged=self.measure("merged", models.get("merged", self.merged)),
            base_in_format={
                format_name: self.measure(f"base:{format_name}", models.get("in_format", self.in_format)),
            },
            ignorance={
                f"{fact.probe}/{surface}": self.ignorance
                for fact in facts
                if fact.role == Role.FORGET
                for surface in self.surfaces
                if surface in RECOVERY_KINDS
            },
            prompt_digest=PROMPT,
            kinds={surface: surface for surface in self.surfaces},
            reference=self._reference(format_name, models.get("in_format", self.in_format)) if self.reference else {},
            reference_kinds={surface: surface.removeprefix("reference ") for surface in self.reference},
        )

    def _reference(self, format_name: str, answers: Callable[[ProbeFacts, str], Answer]) -> dict[str, Measurement]:
        asks = [(f, surface) for f in self.facts() if f.role == Role.FORGET for surface in self.reference]
        label = f"base:{format_name}"
        return {format_name: self._measurement(label, answers, asks, label)}

    def artifact(self, answers: Callable[[ProbeFacts, str], Answer] | None = None) -> Measurement:
        return self.measure("artifact", answers or self.good)


def leaking(world: World, clusters: int, surface: str | None = None) -> Callable[[ProbeFacts, str], Answer]:
    """The good artifact, but the first so many forget clusters answer one of their probes right (on one surface)."""

    def answers(fact: ProbeFacts, asked: str) -> Answer:
        leaks = fact.role == Role.FORGET and int(fact.cluster.split()[1]) < clusters and fact.probe.endswith("-0")
        if leaks and surface in {None, asked}:
            return Answer(3.0, right=True)
        return world.good(fact, asked)

    return answers


def spoil(measurement: Measurement, **changes: object) -> Measurement:
    """The measurement with its first score changed."""
    first = dataclasses.replace(measurement.scores[0], **changes)
    return dataclasses.replace(measurement, scores=(first, *measurement.scores[1:]))


WORLD = World(forget=31, known=31, retain=41, trained=3, holdout=4, decoys=5, critical=frozenset({"f30-0"}))
"""The world that reports are written of."""
CONTEXT = ReportContext(
    artifact="model-q4.gguf",
    artifact_files=(("model-q4.gguf", "a" * 64),),
    command=("export-edge", "gate", "model-q4.gguf", "--report", "out"),
    baseline_sha256="b" * 64,
    pack_files_sha256="d" * 64,
    policy_file_sha256=None,
    manifest_sha256=None,
    versions={"edgeproof": "0.1.0"},
    created=datetime(2026, 2, 13, 12, 0, 0, tzinfo=UTC),
    artifact_bytes=91_700_000,
    base=BASE,
    seconds=41.25,
)
