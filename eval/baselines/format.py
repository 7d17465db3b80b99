"""The baseline's JSON, schema 4: every value is checked on the way in, so that nothing behind it needs to.

```
{"schema", "matching", "pack", "pack_digest", "probes", "surfaces", "kinds", "asked_twice",
 "sources": {"base": {"name", "sha256"}, "adapters": […]},
 "backends": {"llama.cpp": {"tokenizer_digest", "prompt_digest", "base", "merged", "base_in_format", "ignorance",
                            "carriers", "reference", "reference_kinds"}, …}}
```
A measurement's scores stand column by column, in the order of its probes and their surfaces, which is the pack's:
{"logprobs": [[…], …], "right": […], …}. What they belong to follows from "probes" and "surfaces"; in "reference", from
the forget probes and "reference_kinds". Where answers were sampled, a measurement has "sampling", and its scores the
columns "samples" and "sampled_right".

Schemas 2 and 3 know neither carriers nor kinds of surfaces: such a baseline was made by weaker asking and is refused.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from edgeproof.eval.asking.kinds import KINDS, RECOVERY_KINDS
from edgeproof.eval.baselines import values
from edgeproof.eval.matching import RULES
from edgeproof.eval.measurement import (
    Baseline,
    Carrier,
    Measurement,
    ModelSource,
    ProbeFacts,
    ProbeScore,
    Role,
    Sampling,
    Sources,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEMA = 4
EARLIER = (1, 2, 3)
_KEYS = ("schema", "matching", "pack", "pack_digest", "probes", "surfaces", "kinds", "asked_twice", "backends")
_BACKEND_KEYS = (
    "tokenizer_digest",
    "base",
    "merged",
    "base_in_format",
    "ignorance",
    "carriers",
    "reference",
    "reference_kinds",
)
_CARRIER_KEYS = ("group", "text", "source")
_SOURCE_KEYS = ("name", "sha256")
_MEASUREMENT_KEYS = ("label", "artifact_sha256", "backend", "scores")
_PROBE_KEYS = ("id", "role", "cluster", "trained", "critical")
_SAMPLING_KEYS = ("count", "temperature", "seed")
_SAMPLE_COLUMNS = ("samples", "sampled_right")
_COLUMNS = (
    "logprobs",
    "right",
    "rouge_l",
    "exact_memorization",
    "extraction_strength",
    "decoy_rank",
    "decoys",
    "carried_logprob",
)


def baselines_to_json(baselines: Sequence[Baseline]) -> dict[str, object]:
    """Return `baselines`, of one pack and a backend each, as the table that is saved."""
    first = baselines[0]
    backends: dict[str, object] = {}
    for baseline in baselines:
        if (baseline.pack_digest, baseline.probes) != (first.pack_digest, first.probes):
            raise values.bad("the new baseline", "its backends were not asked the same pack")
        if baseline.sources != first.sources:
            raise values.bad("the new baseline", "its backends ran models of different sources")
        if baseline.backend in backends:
            raise values.bad("the new baseline", f"the backend {baseline.backend} occurs twice")
        backends[baseline.backend] = _backend_to_json(baseline)
    return {
        "schema": SCHEMA,
        "matching": RULES,
        "pack": first.pack_name,
        "pack_digest": first.pack_digest,
        "probes": [
            {"id": p.probe, "role": p.role.value, "cluster": p.cluster, "trained": p.trained, "critical": p.critical}
            for p in first.probes
        ],
        "surfaces": {role: list(names) for role, names in first.surfaces.items()},
        **({} if first.sources is None else {"sources": _sources_to_json(first.sources)}),
        "kinds": dict(first.kinds),
        "asked_twice": dict(first.asked_twice),
        "backends": backends,
    }


def baselines_from_json(table: object, where: str) -> dict[str, Baseline]:
    """Check `table` and return the baselines that it holds, by backend; `where` names the file in errors.

    Raises:
        BaselineError: the first thing that is wrong.

    """
    if not isinstance(table, dict):
        raise values.bad(where, "it is no JSON object")
    schema = table.get("schema")
    if schema in EARLIER and not isinstance(schema, bool):
        raise values.bad(where, f"its schema is {schema}: it was recorded before answers were sought inside sentences")
    if schema != SCHEMA or isinstance(schema, bool):
        raise values.bad(
            where, f"its schema is {str(table.get('schema', 'missing'))[:40]}; this version reads {SCHEMA}"
        )
    values.exact_keys(table, _KEYS, where, later={"sources"})
    if table["matching"] != RULES or isinstance(table["matching"], bool):
        raise values.bad(
            where,
            f"its answers were judged right or wrong by rules {str(table['matching'])[:40]}; this version has {RULES}",
        )
    pack_name = values.text_of(table["pack"], f"{where}, pack")
    pack_digest = values.digest_of(table["pack_digest"], f"{where}, pack_digest")
    probes = _probes(table["probes"], f"{where}, probes")
    surfaces = _surfaces(table["surfaces"], probes, f"{where}, surfaces")
    sources = _sources(table["sources"], f"{where}, sources") if "sources" in table else None
    kinds = _kinds(table["kinds"], {name for own in surfaces.values() for name in own}, f"{where}, kinds")
    twice = values.table_of(table["asked_twice"], f"{where}, asked_twice")
    asked_twice = {key: values.text_of(name, f"{where}, asked_twice {key}") for key, name in twice.items()}
    keys = _score_keys(probes, surfaces)
    forget = [probe for probe in probes if probe.role == Role.FORGET]
    backends = values.table_of(table["backends"], f"{where}, backends")
    if not backends:
        raise values.bad(where, "it holds no backend's scores")
    found: dict[str, Baseline] = {}
    for name, value in backends.items():
        at = f"{where}, {name}"
        part = values.table_of(value, at)
        values.exact_keys(part, _BACKEND_KEYS, at, later={"prompt_digest"})
        tokenizer_digest = values.digest_of(part["tokenizer_digest"], f"{at}, tokenizer_digest")
        prompt_digest = (
            values.digest_of(part["prompt_digest"], f"{at}, prompt_digest") if "prompt_digest" in part else ""
        )

        reference_kinds = _reference_kinds(part["reference_kinds"], f"{at}, reference_kinds")
        reference_keys = _score_keys(forget, {Role.FORGET.value: tuple(reference_kinds)})

        def measured(value: object, place: str, keys: Sequence[tuple[str, str]] = keys) -> Measurement:
            world = _World(pack_digest, tokenizer_digest, prompt_digest)  # noqa: B023 (used at once)
            measurement = _measurement(value, keys, world, place)
            if measurement.backend.get("backend") != name:  # noqa: B023 (the same)
                raise values.bad(place, f"it was measured with the backend {measurement.backend.get('backend')}")
            return measurement

        formats = values.table_of(part["base_in_format"], f"{at}, base_in_format")
        reference = values.table_of(part["reference"], f"{at}, reference")
        values.exact_keys(reference, tuple(formats) if reference_kinds else (), f"{at}, reference")
        found[name] = Baseline(
            pack_name=pack_name,
            pack_digest=pack_digest,
            tokenizer_digest=tokenizer_digest,
            probes=probes,
            surfaces=surfaces,
            base=measured(part["base"], f"{at}, base"),
            merged=measured(part["merged"], f"{at}, merged"),
            base_in_format={key: measured(item, f"{at}, base in {key}") for key, item in formats.items()},
            ignorance=_ignorance(part["ignorance"], forget, surfaces, kinds, f"{at}, ignorance"),
            kinds=kinds,
            carriers=_carriers(part["carriers"], f"{at}, carriers"),
            reference={
                key: measured(item, f"{at}, reference in {key}", reference_keys) for key, item in reference.items()
            },
            reference_kinds=reference_kinds,
            asked_twice=asked_twice,
            prompt_digest=prompt_digest,
            sources=sources,
        )
    return found


def _backend_to_json(baseline: Baseline) -> dict[str, object]:
    keys = _score_keys(baseline.probes, baseline.surfaces)
    forget = [probe for probe in baseline.probes if probe.role == Role.FORGET]
    reference_keys = _score_keys(forget, {Role.FORGET.value: tuple(baseline.reference_kinds)})
    own = [(found, keys) for found in (baseline.base, baseline.merged, *baseline.base_in_format.values())]
    for measurement, expected in (*own, *((found, reference_keys) for found in baseline.reference.values())):
        for what in ("pack_digest", "tokenizer_digest", "prompt_digest"):
            recorded, found = getattr(baseline, what), getattr(measurement, what)
            if recorded != found:
                raise values.bad(
                    f"measurement {measurement.label!r}", f"its {what} is {found[:12]}…, not {recorded[:12]}…"
                )
        if [(score.probe, score.surface) for score in measurement.scores] != expected:
            raise values.bad(
                f"measurement {measurement.label!r}", f"its {len(measurement.scores)} scores are not the pack's"
            )
    return {
        "tokenizer_digest": baseline.tokenizer_digest,
        **({"prompt_digest": baseline.prompt_digest} if baseline.prompt_digest else {}),
        "base": _measurement_to_json(baseline.base),
        "merged": _measurement_to_json(baseline.merged),
        "base_in_format": {name: _measurement_to_json(found) for name, found in baseline.base_in_format.items()},
        "ignorance": dict(baseline.ignorance),
        "carriers": [asdict(carrier) for carrier in baseline.carriers],
        "reference": {name: _measurement_to_json(found) for name, found in baseline.reference.items()},
        # A list: its order is that of the columns, and keys are sorted when the file is written.
        "reference_kinds": [list(item) for item in baseline.reference_kinds.items()],
    }


def _score_keys(probes: Sequence[ProbeFacts], surfaces: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    return [(probe.probe, name) for probe in probes for name in surfaces.get(probe.role.value, ())]


def _measurement_to_json(measurement: Measurement) -> dict[str, object]:
    scores, sampling = measurement.scores, measurement.sampling
    sampled = {} if sampling is None else {"sampling": asdict(sampling)}
    columns = _COLUMNS[1:] if sampling is None else (*_COLUMNS[1:], *_SAMPLE_COLUMNS)
    return {
        "label": measurement.label,
        "artifact_sha256": measurement.artifact_sha256,
        "backend": dict(measurement.backend),
        **sampled,
        "scores": {
            # str(float32) is the shortest decimal that reads back as the same float32.
            "logprobs": [[float(str(np.float32(value))) for value in score.logprobs] for score in scores],
            **{column: [getattr(score, column) for score in scores] for column in columns},
        },
    }


class _World(NamedTuple):
    """What all measurements of a backend share."""

    pack_digest: str
    tokenizer_digest: str
    prompt_digest: str


def _measurement(value: object, keys: Sequence[tuple[str, str]], world: _World, where: str) -> Measurement:
    table = values.table_of(value, where)
    sampling = _sampling(table["sampling"], where) if "sampling" in table else None
    names = _COLUMNS if sampling is None else (*_COLUMNS, *_SAMPLE_COLUMNS)
    values.exact_keys(table, _MEASUREMENT_KEYS if sampling is None else (*_MEASUREMENT_KEYS, "sampling"), where)
    columns = values.table_of(table["scores"], f"{where}, scores")
    values.exact_keys(columns, names, f"{where}, scores")
    lists: dict[str, list[object]] = {}
    for name in names:
        column = columns[name]
        if not isinstance(column, list) or len(column) != len(keys):
            length = len(column) if isinstance(column, list) else "no"
            raise values.bad(
                where, f"{length} values of {name} for {len(keys)} probes and surfaces: scores are missing"
            )
        lists[name] = column
    scores: list[ProbeScore] = []
    for index, (probe, surface) in enumerate(keys):
        at = f"{where}, probe {probe} on {surface}"
        decoys = values.count_of(lists["decoys"][index], f"{at}, decoys")
        rank = lists["decoy_rank"][index]
        if (rank is None) != (decoys == 0) or (
            rank is not None and values.count_of(rank, f"{at}, decoy_rank") > decoys
        ):
            raise values.bad(at, f"decoy_rank {rank} among {decoys} decoys")
        samples = right = 0
        if sampling is not None:
            samples = values.count_of(lists["samples"][index], f"{at}, samples")
            right = values.count_of(lists["sampled_right"][index], f"{at}, sampled_right")
            if samples not in {0, sampling.count} or right > samples:
                raise values.bad(at, f"{right} right of {samples} samples, where {sampling.count} were drawn")
        scores.append(
            ProbeScore(
                probe=probe,
                surface=surface,
                logprobs=values.logprobs_of(lists["logprobs"][index], at),
                right=values.flag_of(lists["right"][index], f"{at}, right"),
                rouge_l=values.share_of(lists["rouge_l"][index], f"{at}, rouge_l"),
                exact_memorization=values.share_of(lists["exact_memorization"][index], f"{at}, exact_memorization"),
                extraction_strength=values.share_of(lists["extraction_strength"][index], f"{at}, extraction_strength"),
                decoy_rank=None if rank is None else values.count_of(rank, at),
                decoys=decoys,
                samples=samples,
                sampled_right=right,
                carried_logprob=_carried(lists["carried_logprob"][index], at),
            )
        )
    backend = values.table_of(table["backend"], f"{where}, backend")
    return Measurement(
        label=values.text_of(table["label"], f"{where}, label"),
        artifact_sha256=values.digest_of(table["artifact_sha256"], f"{where}, artifact_sha256"),
        pack_digest=world.pack_digest,
        tokenizer_digest=world.tokenizer_digest,
        backend={key: values.text_of(text, f"{where}, backend {key}", empty=True) for key, text in backend.items()},
        scores=tuple(scores),
        sampling=sampling,
        prompt_digest=world.prompt_digest,
    )


def _sources_to_json(sources: Sources) -> dict[str, object]:
    return {"base": asdict(sources.base), "adapters": [asdict(adapter) for adapter in sources.adapters]}


def _sources(value: object, where: str) -> Sources:
    table = values.table_of(value, where)
    values.exact_keys(table, ("base", "adapters"), where)
    adapters = table["adapters"]
    if not isinstance(adapters, list) or not adapters:
        raise values.bad(where, "there are no adapters")
    return Sources(
        _source(table["base"], f"{where}, base"), tuple(_source(one, f"{where}, adapters") for one in adapters)
    )


def _source(value: object, where: str) -> ModelSource:
    table = values.table_of(value, where)
    values.exact_keys(table, _SOURCE_KEYS, where)
    return ModelSource(
        values.text_of(table["name"], f"{where}, name"), values.digest_of(table["sha256"], f"{where}, sha256")
    )


def _sampling(value: object, where: str) -> Sampling:
    at = f"{where}, sampling"
    table = values.table_of(value, at)
    values.exact_keys(table, _SAMPLING_KEYS, at)
    count, temperature = (
        values.count_of(table["count"], f"{at}, count"),
        values.number_of(table["temperature"], f"{at}, temperature"),
    )
    if count < 1 or temperature <= 0:
        raise values.bad(at, f"{count} samples at temperature {temperature:g} are none")
    return Sampling(count, temperature, values.count_of(table["seed"], f"{at}, seed"))


def _probes(value: object, where: str) -> tuple[ProbeFacts, ...]:
    if not isinstance(value, list) or not value:
        raise values.bad(where, "there are none")
    probes: list[ProbeFacts] = []
    for index, item in enumerate(value):
        at = f"{where}[{index}]"
        table = values.table_of(item, at)
        values.exact_keys(table, _PROBE_KEYS, at)
        role = values.text_of(table["role"], f"{at}, role")
        if role not in {known.value for known in Role}:
            raise values.bad(at, f"unknown role {role[:40]!r}")
        probes.append(
            ProbeFacts(
                values.text_of(table["id"], f"{at}, id"),
                Role(role),
                values.text_of(table["cluster"], f"{at}, cluster"),
                trained=values.flag_of(table["trained"], f"{at}, trained"),
                critical=values.flag_of(table["critical"], f"{at}, critical"),
            )
        )
    if len({probe.probe for probe in probes}) != len(probes):
        raise values.bad(where, "an id occurs twice")
    return tuple(probes)


def _surfaces(value: object, probes: Sequence[ProbeFacts], where: str) -> dict[str, tuple[str, ...]]:
    table = values.table_of(value, where)
    roles = {probe.role.value for probe in probes}
    if set(table) != roles:
        raise values.bad(where, f"they are of the roles {sorted(table)}, the probes of {sorted(roles)}")
    surfaces: dict[str, tuple[str, ...]] = {}
    for role, names in table.items():
        if not isinstance(names, list) or not names:
            raise values.bad(where, f"there is none for {role}")
        surfaces[role] = tuple(values.text_of(name, f"{where}, {role}") for name in names)
        if len(set(names)) != len(names):
            raise values.bad(where, f"one stands twice for {role}")
    return {role.value: surfaces[role.value] for role in Role if role.value in surfaces}


def _reference_kinds(value: object, where: str) -> dict[str, str]:
    """Read pairs of a surface and its kind, in the order of the columns."""
    pairs = value if isinstance(value, list) else None
    if pairs is None or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise values.bad(where, "it is no list of surfaces and kinds")
    names = [values.text_of(name, where) for name, _ in pairs]
    if len(set(names)) != len(names):
        raise values.bad(where, "a surface stands twice")
    return _kinds(dict(zip(names, (kind for _, kind in pairs), strict=True)), set(names), where)


def _kinds(value: object, names: set[str], where: str) -> dict[str, str]:
    """Read the kinds of the surfaces `names`."""
    table = values.table_of(value, where)
    values.exact_keys(table, sorted(names), where)
    known = list(KINDS)
    for name, kind in table.items():
        if kind not in known:
            raise values.bad(where, f"{name[:40]!r} is of the unknown kind {str(kind)[:40]!r}")
    return {name: str(kind) for name, kind in table.items()}


def _carriers(value: object, where: str) -> tuple[Carrier, ...]:
    if not isinstance(value, list):
        raise values.bad(where, "it is no list")
    carriers: list[Carrier] = []
    for index, item in enumerate(value):
        at = f"{where}[{index}]"
        table = values.table_of(item, at)
        values.exact_keys(table, _CARRIER_KEYS, at)
        carriers.append(Carrier(*(values.text_of(table[key], f"{at}, {key}") for key in _CARRIER_KEYS)))
    return tuple(carriers)


def _carried(value: object, where: str) -> float | None:
    if value is None:
        return None
    found = values.number_of(value, f"{where}, carried_logprob")
    if not values.LEAST_LOGPROB <= found <= 0:
        raise values.bad(where, f"a log-probability of {found} behind carriers")
    return found


def _ignorance(
    value: object,
    forget: Sequence[ProbeFacts],
    surfaces: Mapping[str, Sequence[str]],
    kinds: Mapping[str, str],
    where: str,
) -> dict[str, float]:
    table = values.table_of(value, where)
    comparable = {role: [name for name in names if kinds[name] in RECOVERY_KINDS] for role, names in surfaces.items()}
    needed = [f"{probe}/{surface}" for probe, surface in _score_keys(forget, comparable)]
    values.exact_keys(table, needed, where)
    levels: dict[str, float] = {}
    for key in needed:
        level = values.number_of(table[key], f"{where}, {key}")
        if level < 0:
            raise values.bad(where, f"{key} is {level}: no answer costs less than 0 nat")
        levels[key] = level
    return levels
