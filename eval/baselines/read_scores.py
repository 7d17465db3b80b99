"""Reads the measurements of a baseline file, whose scores stand column by column."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from edgeproof.eval.baselines import values
from edgeproof.eval.baselines.format import COLUMNS, SAMPLE_COLUMNS
from edgeproof.eval.measurement import Measurement, ProbeScore, Sampling

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MEASUREMENT_KEYS = ("label", "artifact_sha256", "backend", "scores")
_SAMPLING_KEYS = ("count", "temperature", "seed")


class World(NamedTuple):
    """Digests that all measurements of a backend share."""

    pack_digest: str
    tokenizer_digest: str
    prompt_digest: str


def read_measurement(value: object, keys: Sequence[tuple[str, str]], world: World, where: str) -> Measurement:
    """Read the measurement of one model; `keys` says what its scores belong to."""
    table = values.table_of(value, where)
    sampling = _sampling(table["sampling"], where) if "sampling" in table else None
    names = COLUMNS if sampling is None else (*COLUMNS, *SAMPLE_COLUMNS)
    values.exact_keys(table, _MEASUREMENT_KEYS if sampling is None else (*_MEASUREMENT_KEYS, "sampling"), where)
    columns = values.table_of(table["scores"], f"{where}, scores")
    values.exact_keys(columns, names, f"{where}, scores")
    lists = {name: _column(columns[name], name, len(keys), where) for name in names}
    scores = [
        _score({name: column[index] for name, column in lists.items()}, *key, sampling, where)
        for index, key in enumerate(keys)
    ]
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


def _column(column: object, name: str, length: int, where: str) -> list[object]:
    if isinstance(column, list) and len(column) == length:
        return column
    found = len(column) if isinstance(column, list) else "no"
    raise values.bad(where, f"{found} values of {name} for {length} probes and surfaces: scores are missing")


def _score(row: Mapping[str, object], probe: str, surface: str, sampling: Sampling | None, where: str) -> ProbeScore:
    at = f"{where}, probe {probe} on {surface}"
    rank, carried = row["decoy_rank"], row["carried_logprob"]
    score = ProbeScore(
        probe=probe,
        surface=surface,
        logprobs=values.numbers_of(row["logprobs"], at, "it has no log-probabilities"),
        right=values.flag_of(row["right"], f"{at}, right"),
        rouge_l=values.number_of(row["rouge_l"], f"{at}, rouge_l"),
        exact_memorization=values.number_of(row["exact_memorization"], f"{at}, exact_memorization"),
        extraction_strength=values.number_of(row["extraction_strength"], f"{at}, extraction_strength"),
        decoy_rank=None if rank is None else values.count_of(rank, f"{at}, decoy_rank"),
        decoys=values.count_of(row["decoys"], f"{at}, decoys"),
        samples=0 if sampling is None else values.count_of(row["samples"], f"{at}, samples"),
        sampled_right=0 if sampling is None else values.count_of(row["sampled_right"], f"{at}, sampled_right"),
        carried_logprob=None if carried is None else values.number_of(carried, f"{at}, carried_logprob"),
    )
    if wrong := score.impossible():
        raise values.bad(at, wrong)
    if sampling is not None and score.samples not in {0, sampling.count}:
        raise values.bad(at, f"{score.samples} samples, where {sampling.count} were drawn")
    # The doubles that equal the recorded float32s, so that a saved score reads back as the same number.
    return replace(score, logprobs=tuple(np.array(score.logprobs, np.float32).tolist()))


def _sampling(value: object, where: str) -> Sampling:
    at = f"{where}, sampling"
    table = values.table_of(value, at)
    values.exact_keys(table, _SAMPLING_KEYS, at)
    count, temperature = (
        values.count_of(table["count"], f"{at}, count"),
        values.number_of(table["temperature"], f"{at}, temperature"),
    )
    if count < 1 or temperature <= 0:
        raise values.bad(at, f"{count} samples at temperature {temperature:g} are impossible")
    return Sampling(count, temperature, values.count_of(table["seed"], f"{at}, seed"))
