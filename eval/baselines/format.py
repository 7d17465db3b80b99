"""The baseline's JSON, schema 4, and how it is written; `read` checks every value on the way in.

```
{"schema", "matching", "pack", "pack_digest", "probes", "surfaces", "kinds", "asked_twice",
 "sources": {"base": {"name", "sha256"}, "adapters": […]},        with "unlearned" where all weights were trained
 "backends": {"llama.cpp": {"tokenizer_digest", "prompt_digest", "base", "merged", "base_in_format", "ignorance",
                            "carriers", "reference", "reference_kinds"}, …}}
```
A measurement's scores are stored by column, in the pack's order of probes and their surfaces:
{"logprobs": [[…], …], "right": […], …}. Their probes and surfaces follow from "probes" and "surfaces"; in "reference",
from the forget probes and "reference_kinds". If answers were sampled, a measurement has "sampling", and its scores the
columns "samples" and "sampled_right".

Schemas 2 and 3 have neither carriers nor kinds of surfaces: such a baseline used weaker asking and is refused.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.eval.baselines import values
from edgeproof.eval.matching import RULES
from edgeproof.eval.measurement import (
    Baseline,
    Measurement,
    ProbeFacts,
    Role,
    Sources,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEMA = 4
SAMPLE_COLUMNS = ("samples", "sampled_right")
COLUMNS = (
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
    """Return `baselines`, of one pack and one backend each, as the table to save."""
    first = baselines[0]
    backends: dict[str, object] = {}
    for baseline in baselines:
        if (baseline.pack_digest, baseline.probes) != (first.pack_digest, first.probes):
            raise values.bad("the new baseline", "its backends measured different packs")
        if baseline.sources != first.sources:
            raise values.bad("the new baseline", "its backends measured models of different sources")
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


def _backend_to_json(baseline: Baseline) -> dict[str, object]:
    keys = score_keys(baseline.probes, baseline.surfaces)
    forget = [probe for probe in baseline.probes if probe.role == Role.FORGET]
    reference_keys = score_keys(forget, {Role.FORGET.value: tuple(baseline.reference_kinds)})
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
        # A list, since its order is that of the columns, and keys are sorted when the file is written.
        "reference_kinds": [list(item) for item in baseline.reference_kinds.items()],
    }


def score_keys(probes: Sequence[ProbeFacts], surfaces: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """List what the columns of scores belong to: probe and surface."""
    return [(probe.probe, name) for probe in probes for name in surfaces.get(probe.role.value, ())]


def _measurement_to_json(measurement: Measurement) -> dict[str, object]:
    scores, sampling = measurement.scores, measurement.sampling
    sampled = {} if sampling is None else {"sampling": asdict(sampling)}
    columns = COLUMNS[1:] if sampling is None else (*COLUMNS[1:], *SAMPLE_COLUMNS)
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


def _sources_to_json(sources: Sources) -> dict[str, object]:
    table: dict[str, object] = {
        "base": asdict(sources.base),
        "adapters": [asdict(adapter) for adapter in sources.adapters],
    }
    if sources.unlearned is not None:
        table["unlearned"] = asdict(sources.unlearned)
    return table
