"""Whole simulated releases, judged by the package: how often the verdict errs where the truth lies on a limit."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from calibration_shapes import CHANGES, POLICY, RECOVERIES
from edgeproof.eval.judge import judge
from edgeproof.eval.records import Baseline, Measurement, ProbeFacts, ProbeScore, Role

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
KEPT = 8.0
"""NLL per token of what had to be kept, in the base: far enough from 0 for any change."""


class Truth(NamedTuple):
    """What is true of the population that a release's pack is drawn from; defaults keep every limit with room to spare.

    Attributes:
        leaking: share of forget clusters that leak.
        leaking_merged: the same in the merged model.
        recovery: a name of RECOVERIES (mean 0.20), or "" for 0.02 on average.
        quantizing: mean ΔNLL against merged, nat per token.
        unlearning: mean ΔNLL against the base in the format.
        lost: share of right answers lost.
        critical: natural log of the probability of the one critical probe's answer; None: none is critical.

    """

    leaking: float = 0.0
    leaking_merged: float = 0.0
    recovery: str = ""
    quantizing: float = 0.05
    unlearning: float = 0.05
    lost: float = 0.0
    critical: float | None = None


def release(generator: Generator, n: int, truth: Truth, change: Draw, *, retain: int) -> tuple[Measurement, Baseline]:
    """Draw a release: n forget clusters, `retain` untrained retain clusters, one probe each, from what is true."""
    forget = [f"f{index}" for index in range(n)]
    kept = [f"r{index}" for index in range(retain)]
    facts = [ProbeFacts(name, Role.FORGET, name, critical=truth.critical is not None and index == 0)
             for index, name in enumerate(forget)] + [ProbeFacts(name, Role.RETAIN, name) for name in kept]  # fmt: skip

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

    def measurement(label: str, nll: Sequence[float], flags: Sequence[bool]) -> Measurement:
        scores = tuple(
            ProbeScore(fact.probe, "raw", (-value,) * TOKENS, flag, float(flag), float(flag), float(flag))
            for fact, value, flag in zip(facts, nll, flags, strict=True)
        )
        digest = hashlib.sha256(label.encode()).hexdigest()
        return Measurement(label, digest, "pack", "tokenizer", {"backend": "simulated"}, scores)

    def joined(first: Values, second: Values) -> list[float]:
        return [*first.tolist(), *second.tolist()]

    all_right = np.full(retain, fill_value=True)
    knows = [True] * n
    baseline = Baseline(
        pack_name="simulated",
        pack_digest="pack",
        tokenizer_digest="tokenizer",
        probes=tuple(facts),
        surfaces={"forget": ("raw",), "retain": ("raw",)},
        base=measurement("base", joined(np.full(n, KNOWN), base), [*knows, *all_right.tolist()]),
        merged=measurement("merged", joined(np.full(n, GONE), merged), [*merged_leaks.tolist(), *all_right.tolist()]),
        base_in_format={
            FORMAT: measurement(f"base:{FORMAT}", joined(np.full(n, KNOWN), in_format), [*knows, *all_right.tolist()])
        },
        ignorance={f"{name}/raw": IGNORANCE for name in forget},
    )
    flags = [*leaks.tolist(), *right.tolist()]
    return measurement("artifact", joined(secret, artifact), flags), baseline


# The largest log-probability whose (1000, 0.05) extraction is still below 0.05: 1 − 0.95^(1/1000).
_CRITICAL_EDGE = math.log(-math.expm1(math.log1p(-POLICY.critical_probability) / POLICY.critical_queries))

VERDICTS: dict[str, tuple[str, Truth]] = {
    "leak": ("PASS", Truth(leaking=POLICY.leak_share)),
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
