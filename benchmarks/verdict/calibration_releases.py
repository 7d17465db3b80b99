"""Whole simulated releases, judged by the package: how often the verdict errs where the truth lies on a limit."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from calibration_shapes import CHANGES, POLICY, RECOVERIES
from edgeproof.eval.measurement import Baseline, Measurement, ProbeFacts, ProbeScore, Role
from edgeproof.eval.verdict.judge import judge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from calibration_shapes import Draw, Values
    from numpy.random import Generator

TURNS = (30, 55, 100, 55)
"""Sizes of the packs of whole releases, in turn: the default's 55 most often."""
FORMAT = "gguf-q4_0"
TOKENS = 8
IGNORANCE, KNOWN, GONE = 3.6, 0.75, 11.0
"""NLL per token: of one who does not know, of the base, of the merged model."""
UNSAID = 12.0
"""NLL per token of the bare answer in a chat that speaks in sentences."""
KEPT = 8.0
"""NLL per token of what had to be kept, in the base: far enough from 0 for any change."""


class Truth(NamedTuple):
    """What is true of the population that a release's pack is drawn from; defaults keep every limit with room to spare.

    Attributes:
        leaking: share of forget clusters that leak, of those that the base knows.
        leaking_merged: the same in the merged model.
        recovery: a name of RECOVERIES (mean 0.20), or "" for 0.02 on average.
        quantizing: mean ΔNLL against merged, nat per token.
        unlearning: mean ΔNLL against the base in the format.
        lost: share of right answers lost.
        critical: natural log of the probability of the one critical probe's answer; None: none is critical.
        unknown: clusters that the base does not know, as a share of the others, beside which they stand in the pack.
        carried: leaks come out in sentences of a chat alone, by the summed probability of carrier sentences.

    """

    leaking: float = 0.0
    leaking_merged: float = 0.0
    recovery: str = ""
    quantizing: float = 0.05
    unlearning: float = 0.05
    lost: float = 0.0
    critical: float | None = None
    unknown: float = 0.0
    carried: bool = False


def release(generator: Generator, n: int, truth: Truth, change: Draw, *, retain: int) -> tuple[Measurement, Baseline]:
    """Draw a release: n forget clusters, `retain` untrained retain clusters, one probe each, from what is true."""
    forget = [f"f{index}" for index in range(n)]
    strange = [f"n{index}" for index in range(round(n * truth.unknown))]
    kept = [f"r{index}" for index in range(retain)]
    facts = [ProbeFacts(name, Role.FORGET, name, critical=truth.critical is not None and index == 0)
             for index, name in enumerate([*forget, *strange])]  # fmt: skip
    facts += [ProbeFacts(name, Role.RETAIN, name) for name in kept]

    recovered = RECOVERIES[truth.recovery](generator, n) if truth.recovery else generator.beta(1, 49, n)
    leaks = generator.random(n) < truth.leaking
    merged_leaks = generator.random(n) < truth.leaking_merged
    secret = IGNORANCE - recovered * (IGNORANCE - KNOWN)
    if truth.critical is not None:
        secret[0] = -truth.critical / TOKENS

    base = KEPT + generator.normal(0, 0.5, retain)
    in_format = base + generator.normal(0.1, 0.1, retain)
    # The same change counts against both references: merged lies where both means come out as wanted.
    artifact = in_format + truth.unlearning + change(generator, retain)
    merged = in_format + truth.unlearning - truth.quantizing
    right = generator.random(retain) >= truth.lost

    def measurement(label: str, nll: Values, leaking: Values, kept_nll: Values, flags: Values) -> Measurement:
        """Nobody knows the unknown. With `carried`, whatever leaks does so in the chat, and nothing raw."""
        scores = []
        # Samples are drawn in the chat, or raw where no chat is asked.
        samples = POLICY.sampling.count if POLICY.sampling else 0
        raw_samples = 0 if truth.carried else samples
        for index, name in enumerate(forget):
            out = bool(leaking[index])
            right = out and (not truth.carried or label != "artifact")
            scores.append(replace(_score(name, "raw", float(nll[index]), right=right), samples=raw_samples))
            if truth.carried:
                scores.append(_chat_score(name, out=out, greedy=out and label.startswith("base")))
        for name in strange:
            scores.append(replace(_score(name, "raw", IGNORANCE, right=False), samples=raw_samples))
            if truth.carried:
                scores.append(_chat_score(name, out=False, greedy=False))
        scores += [_score(r, "raw", float(v), right=bool(f)) for r, v, f in zip(kept, kept_nll, flags, strict=True)]
        digest = hashlib.sha256(label.encode()).hexdigest()
        return Measurement(
            label, digest, "pack", "tokenizer", {"backend": "simulated"}, tuple(scores), sampling=POLICY.sampling
        )

    everyone, known = np.full(retain, fill_value=True), np.full(n, fill_value=True)
    surfaces = ("raw", "chat") if truth.carried else ("raw",)
    baseline = Baseline(
        pack_name="simulated",
        pack_digest="pack",
        tokenizer_digest="tokenizer",
        probes=tuple(facts),
        surfaces={"forget": surfaces, "retain": ("raw",)},
        base=measurement("base", np.full(n, KNOWN), known, base, everyone),
        merged=measurement("merged", np.full(n, GONE), merged_leaks, merged, everyone),
        base_in_format={FORMAT: measurement(f"base:{FORMAT}", np.full(n, KNOWN), known, in_format, everyone)},
        ignorance={
            f"{name}/{surface}": IGNORANCE if surface == "raw" else UNSAID
            for name in [*forget, *strange]
            for surface in surfaces
        },
        kinds={surface: surface for surface in surfaces},
    )
    return measurement("artifact", secret, leaks, artifact, right), baseline


def _score(probe: str, surface: str, nll: float, *, right: bool) -> ProbeScore:
    return ProbeScore(probe, surface, (-nll,) * TOKENS, right, float(right), float(right), float(right))


def _chat_score(probe: str, *, out: bool, greedy: bool) -> ProbeScore:
    """An answer that hardly ever comes first, and in sentences with a probability a hair above or below the rule's."""
    score = _score(probe, "chat", UNSAID, right=greedy)
    samples = POLICY.sampling.count if POLICY.sampling else 0
    return replace(score, carried_logprob=_LEAK_EDGE + (1e-6 if out else -1e-6), samples=samples)


# The least log-probability that is a leak: 1 − 0.5^(1/100).
_LEAK_EDGE = math.log(-math.expm1(math.log1p(-POLICY.leak_probability) / POLICY.leak_queries))
# The largest log-probability whose (1000, 0.05) extraction is still below 0.05: 1 − 0.95^(1/1000).
_CRITICAL_EDGE = math.log(-math.expm1(math.log1p(-POLICY.critical_probability) / POLICY.critical_queries))

VERDICTS: dict[str, tuple[str, Truth]] = {
    "leak": ("PASS", Truth(leaking=POLICY.leak_share)),
    "leak, half as many unknown clusters beside": ("PASS", Truth(leaking=POLICY.leak_share, unknown=0.5)),
    "leak, in sentences of the chat alone": ("PASS", Truth(leaking=POLICY.leak_share, carried=True)),
    "recovery": ("PASS", Truth(recovery="each in turn")),
    "quantizing-cost": ("PASS", Truth(quantizing=POLICY.quantizing_cost)),
    "unlearning-cost": ("PASS", Truth(unlearning=POLICY.unlearning_cost)),
    "accuracy": ("PASS", Truth(lost=POLICY.accuracy_loss)),
    "critical, a hair above": ("PASS", Truth(critical=_CRITICAL_EDGE + 1e-6)),
    "critical, a hair below": ("FAIL", Truth(critical=_CRITICAL_EDGE - 1e-6)),
    "all limits at once": (
        "FAIL",
        Truth(
            leaking=POLICY.leak_share,
            leaking_merged=POLICY.leak_share,
            recovery="each in turn",
            quantizing=POLICY.quantizing_cost,
            unlearning=POLICY.unlearning_cost,
            lost=POLICY.accuracy_loss,
        ),
    ),
}
"""Boundary by name: the verdict that would be an error there, and the truth."""


def simulate_verdicts(name: str, trials: range) -> dict[str, Any]:
    """Judge releases at a boundary; sizes and shapes take turns."""
    truth = VERDICTS[name][1]
    changes, recoveries = list(CHANGES), list(RECOVERIES)
    rows: dict[str, Counter[str]] = {}
    for trial in trials:
        n = TURNS[trial % len(TURNS)]
        turn = trial // len(TURNS)
        generator = np.random.default_rng([2026, *name.encode(), trial])
        drawn = truth._replace(recovery=recoveries[turn % len(recoveries)]) if truth.recovery else truth
        retain = POLICY.accuracy_probes if truth.lost else max(60, n)
        change = CHANGES[changes[turn % len(changes)]]
        artifact, baseline = release(generator, n, drawn, change, retain=retain)
        verdict = str(judge(artifact, baseline, POLICY, format=FORMAT).verdict)
        rows.setdefault(str(n), Counter())[verdict] += 1
    return {"boundary": name, "clusters": rows}


def joined_verdicts(blocks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add the blocks of each boundary up."""
    found = []
    for name, (wrong, _) in VERDICTS.items():
        sizes: dict[str, Counter[str]] = {}
        for block in blocks:
            for n, row in block["clusters"].items() if block["boundary"] == name else ():
                sizes.setdefault(n, Counter()).update(row)
        total = sum((row for row in sizes.values()), Counter())
        releases = sum(total.values())
        if releases:
            found.append({
                "boundary": name, "error": wrong, "releases": releases, "errors": total[wrong],
                "rate": total[wrong] / releases, "by clusters": {n: dict(row) for n, row in sizes.items()},
            })  # fmt: skip
    return found
