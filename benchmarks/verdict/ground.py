"""Measures models on the whole population of subjects and draws packs from it.

A pack that a gate sees is a random sample of the population, drawn anew for each artifact; the truth is counted on all
subjects that were not drawn (`truth`). Both come from one measurement of the shipped file by `eval.measure`, since what
a probe scores does not depend on the other probes of its pack.
"""

from __future__ import annotations

import hashlib
import math
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.backend import GenerateRequest, ScoreRequest
from edgeproof.contracts.progress import Silent
from edgeproof.eval.measure import measure, measure_again
from edgeproof.eval.metrics.exact_memorization import exact_memorization
from edgeproof.eval.metrics.extraction_strength import extraction_strength
from edgeproof.eval.records import Baseline, Measurement, ProbeScore, Role
from edgeproof.eval.surfaces import encode_pack
from edgeproof.runtime import backend_for, open_backend

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from edgeproof.contracts.backend import Backend
    from edgeproof.eval.probes import Pack

UNTRAINED = 165
"""Untrained retain subjects of a drawn pack, as in the package's default pack: accuracy is judged with so many."""
DEFAULT_SIZE = 55
"""Forget subjects of the package's default pack."""


class Sampled(NamedTuple):
    """Answers that the merged model gave when sampled (temperature 1), for the gate by KL divergence.

    Attributes:
        requests: prompt and answer, by probe; raw surface only.
        logprobs: of each answer under the merged model, summed.

    """

    requests: Mapping[str, ScoreRequest]
    logprobs: Mapping[str, float]


class Measured(NamedTuple):
    """What was measured of a file.

    Attributes:
        measurement: on the population.
        precise: the same without rounded activations, where the engine rounds them.
        divergence: by probe, log p_merged − log p_file of the merged model's sampled answer, nat per token.

    """

    measurement: Measurement
    precise: Measurement | None
    divergence: Mapping[str, float]


def without_decoys(pack: Pack) -> Pack:
    """The pack with every probe of an answer type of its own: decoys are reported and not judged, and cost the most."""
    return replace(pack, probes=tuple(replace(probe, answer_type=probe.id) for probe in pack.probes))


def measure_file(
    path: Path,
    pack: Pack,
    sha256: str,
    *,
    label: str,
    seen: Collection[str] = (),
    sampled: Sampled | None = None,
) -> Measured:
    """Measure a file as `cli.gate` does.

    With `seen`, so are only these probes, and all others are scored alone: no greedy answer is generated for them.
    They count as right where every token of the answer is the argmax. The merged model's sampled answers to the
    probes seen are scored too.
    """
    name = backend_for(path)
    bare = without_decoys(pack)
    divergence: dict[str, float] = {}
    full = replace(bare, probes=tuple(probe for probe in bare.probes if probe.id in seen)) if seen else bare
    with open_backend(name, path, threads=1) as engine:
        gated = measure(full, engine, label=label, artifact_sha256=sha256, progress=Silent())
        scores = list(gated.scores)
        if seen:
            rest = tuple(probe for probe in bare.probes if probe.id not in seen and probe.role != Role.HOLDOUT)
            scores += _scored(replace(bare, probes=rest), engine)
        if sampled is not None:
            requests = {probe: request for probe, request in sampled.requests.items() if probe in seen}
            answers = engine.score(list(requests.values()))
            for (probe, request), score in zip(requests.items(), answers, strict=True):
                own = math.fsum(score.logprobs.tolist())
                divergence[probe] = (sampled.logprobs[probe] - own) / len(request.continuation)
        rounds = engine.info.options.get("accuracy_level", "none") not in {"none", "0"}
    precise = None
    if rounds and label == "artifact":
        with open_backend(name, path, threads=1, accuracy_level=0) as engine:
            precise = measure_again(full, engine, gated, label="float activations", progress=Silent())
    return Measured(replace(gated, scores=tuple(scores)), precise, divergence)


def _scored(pack: Pack, engine: Backend) -> list[ProbeScore]:
    """Score every answer, without letting the model answer by itself."""
    asks = encode_pack(pack, engine)
    found = []
    for ask, score in zip(asks, engine.score([ScoreRequest(a.context, a.continuation) for a in asks]), strict=True):
        greedy = [bool(flag) for flag in score.greedy]
        logprobs = tuple(min(0.0, float(value)) for value in score.logprobs)
        right = all(greedy)
        found.append(
            ProbeScore(
                ask.probe.id,
                ask.surface.name,
                logprobs,
                right,
                float(right),
                exact_memorization(greedy),
                extraction_strength(greedy),
            )
        )
    return found


def sample_answers(path: Path, pack: Pack) -> Sampled:
    """Let the merged model answer each forget and untrained retain probe once, by plain sampling."""
    with open_backend(backend_for(path), path, threads=1) as engine:
        asks = [
            ask
            for ask in encode_pack(without_decoys(pack), engine)
            if ask.surface.name == "raw" and ask.probe.role != Role.HOLDOUT and not ask.probe.trained
        ]
        wanted = [
            GenerateRequest(ask.context, len(ask.continuation) + 1, (), 1.0, seed) for seed, ask in enumerate(asks)
        ]
        requests = {
            ask.probe.id: ScoreRequest(ask.context, answer.tokens)
            for ask, answer in zip(asks, engine.generate(wanted), strict=True)
            if answer.tokens
        }
        scores = list(engine.score(list(requests.values())))
    return Sampled(requests, {key: math.fsum(s.logprobs.tolist()) for key, s in zip(requests, scores, strict=True)})


@dataclass(frozen=True)
class Reference:
    """A release's baseline on the whole population, for one backend.

    Attributes:
        pack: the population as a pack.
        base: the base at float precision.
        merged: base + adapter at float precision.
        base_in_format: by format.
        others: log-mean-exp of log p_base(answer | another subject's prompt) by "probe/surface": what the ignorance
            level of a pack of any size is made of.

    """

    pack: Pack
    base: Measurement
    merged: Measurement
    base_in_format: Mapping[str, Measurement]
    others: Mapping[str, float]


def other_prompts(levels: Mapping[str, float], base: Measurement, prompts: int) -> dict[str, float]:
    """From the ignorance levels of a pack of `prompts` prompts to what the other prompts say: see `ignorance_level`."""
    found = {}
    for score in base.scores:
        key = f"{score.probe}/{score.surface}"
        if key in levels:
            whole = math.exp(-levels[key] * len(score.logprobs))
            others = (whole * prompts - math.exp(score.sum_logprob)) / (prompts - 1)
            found[key] = math.log(max(others, 1e-12))
    return found


def levels_for(reference: Reference, size: int) -> dict[str, float]:
    """Ignorance levels in a pack of `size` forget subjects: (1/M)·p(a | own) + ((M − 1)/M)·(what others say)."""
    levels = {}
    for score in reference.base.scores:
        key = f"{score.probe}/{score.surface}"
        if key in reference.others:
            own, others = math.exp(score.sum_logprob), math.exp(reference.others[key])
            levels[key] = max(0.0, -math.log(own / size + others * (size - 1) / size) / len(score.logprobs))
    return levels


class Drawn(NamedTuple):
    """A sample: what the gate sees, and the rest, on which the truth is counted."""

    seen: frozenset[str]
    rest: frozenset[str]


def draw(pack: Pack, size: int, seed: str, *, untrained: int = UNTRAINED) -> Drawn:
    """Draw forget and untrained retain subjects; trained and holdout probes are in every pack.

    With the same seed a smaller pack is part of a larger one.
    """
    chance = random.Random(seed)
    by_role: dict[str, list[str]] = {"forget": [], "untrained": []}
    always = set()
    for probe in pack.probes:
        if probe.role == Role.FORGET:
            by_role["forget"].append(probe.id)
        elif probe.role == Role.RETAIN and not probe.trained:
            by_role["untrained"].append(probe.id)
        else:
            always.add(probe.id)
    for listed in by_role.values():
        chance.shuffle(listed)
    seen = {*by_role["forget"][:size], *by_role["untrained"][:untrained]}
    rest = {*by_role["forget"], *by_role["untrained"]} - seen
    return Drawn(frozenset(seen | always), frozenset(rest))


def restrict(measurement: Measurement, probes: Collection[str], digest: str) -> Measurement:
    """The measurement of a pack that holds these probes of the population."""
    scores = tuple(score for score in measurement.scores if score.probe in probes)
    return replace(measurement, scores=scores, pack_digest=digest)


def baseline_of(reference: Reference, probes: Collection[str], format_name: str, size: int) -> Baseline:
    """The baseline of such a pack, with one format."""
    digest = hashlib.sha256("\n".join(sorted(probes)).encode()).hexdigest()
    in_format = reference.base_in_format[format_name]
    return Baseline(
        pack_name="drawn",
        pack_digest=digest,
        tokenizer_digest=reference.base.tokenizer_digest,
        probes=tuple(fact for fact in reference.pack.facts() if fact.probe in probes),
        surfaces=reference.pack.surface_names(),
        base=restrict(reference.base, probes, digest),
        merged=restrict(reference.merged, probes, digest),
        base_in_format={format_name: restrict(in_format, probes, digest)},
        ignorance={key: value for key, value in levels_for(reference, size).items() if key.partition("/")[0] in probes},
    )
