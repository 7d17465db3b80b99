"""Evaluation of a model by a suite's metrics, with results in OpenUnlearning's `{SUITE}_EVAL.json` format.

```
{"forget_Q_A_Prob": {"agg_value": 0.41, "value_by_index": {"0": {"prob": 0.38, "avg_loss": 0.97}, "1": …}},
 "forget_quality": {"agg_value": 0.02}, …, "edgeproof": {provenance: artifact, files, options}}
```
`{SUITE}_SUMMARY.json` is {metric: agg_value}. Texts of items are written only on request.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import InputError, UsageError
from edgeproof.eval.metrics.result import Attack, PerItem
from edgeproof.eval.suites.encoding import check_asking
from edgeproof.eval.suites.measuring import Saying, measure_needs
from edgeproof.eval.suites.metric import Inputs
from edgeproof.eval.suites.registry import SUITES, find_metric, with_parts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.contracts.backend import Backend
    from edgeproof.contracts.progress import Progress
    from edgeproof.eval.metrics.result import Result
    from edgeproof.eval.suites.encoding import Asking
    from edgeproof.eval.suites.files import Data
    from edgeproof.eval.suites.reference import Reference

TEXTS = ("input", "ground_truth", "generation")
"""Text fields of an item in an evaluation file; written only with `show_answers`."""

NOTE = "a measurement, not a verdict: `export-edge gate` judges"


class Evaluation(NamedTuple):
    """The results by metric, parts first, and the skipped metrics, each with its missing inputs."""

    suite: str
    results: Mapping[str, Result]
    omitted: Mapping[str, str]


def choose_metrics(
    data: Data, names: Sequence[str], asking: Asking, *, reference: bool
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the metrics to compute, parts first, and the skipped ones with the reason.

    Without `names`, all metrics with their files present; metrics in `names` must be possible.

    Raises:
        UsageError: an unknown metric or prompt, or a metric needs a reference or samples, and there are none.
        InputError: a metric in `names` lacks a file, or no metric has its files.

    """
    check_asking(asking, data.suite)
    chosen: list[str] = []
    omitted: dict[str, str] = {}
    for name in names or SUITES[data.suite]:
        lacking = _lacking(data, name, asking, reference=reference)
        if not lacking:
            chosen.append(name)
        elif not names:
            omitted[name] = lacking
        elif lacking == NO_REFERENCE:
            raise UsageError(f"{name} compares with a retrained model", next_step=f"add {lacking}")
        elif lacking == NO_SAMPLES:
            raise UsageError(f"{name} needs sampled answers", next_step=f"add {lacking}")
        else:
            raise InputError(f"{name} cannot be measured: missing {lacking}", next_step="add it with --data")
    if not chosen:
        raise InputError(
            f"none of {data.suite}'s metrics has all its files; present: {', '.join(sorted(data.files))}",
            next_step="docs/metrics.md lists the files of each metric",
        )
    return with_parts(data.suite, tuple(chosen)), omitted


NO_REFERENCE = "--reference FILE"
NO_SAMPLES = "--samples N"


def _lacking(data: Data, name: str, asking: Asking, *, reference: bool) -> str:
    """Return the missing input of a metric; "" if none."""
    least = find_metric(data.suite, name).least
    for part in with_parts(data.suite, (name,)):
        metric = find_metric(data.suite, part)
        for need in metric.needs:
            if need.role not in data.items:
                return f"the file for {need.role}"
            if len(data.items[need.role]) < least:
                return f"{least} items in {data.files[need.role].name} ({len(data.items[need.role])} there)"
            if isinstance(need, Saying):
                if need.sampled and not asking.samples:
                    return NO_SAMPLES
            elif _has_not(data, need.role, need.field):
                return f"`{need.field}` in {data.files[need.role].name}"
        if metric.compares and not reference:
            return NO_REFERENCE
    return ""


def _has_not(data: Data, role: str, field: str) -> bool:
    """Whether no item of a file has the field. A field that only some items lack is an error of the file."""
    items = data.items[role]
    if field == "paraphrased_answer":
        return all(item.paraphrased is None for item in items)
    return field == "perturbed_answer" and not any(item.perturbed for item in items)


def evaluate(
    data: Data,
    backend: Backend,
    asking: Asking,
    *,
    metrics: Sequence[str] = (),
    reference: Reference | None = None,
    progress: Progress,
) -> Evaluation:
    """Measure `metrics` (default: all that the files allow) in one call for scores and one for answers.

    Raises:
        UsageError: an unknown metric or prompt.
        InputError: a file, a field or a matching reference is missing, or an item is longer than the context.
        BackendError: the engine failed or returned an invalid number.

    """
    names, omitted = choose_metrics(data, metrics, asking, reference=reference is not None)
    chosen = {name: find_metric(data.suite, name) for name in names}
    measured = measure_needs(
        [need for metric in chosen.values() for need in metric.needs], data, backend, asking, progress=progress
    )
    results: dict[str, Result] = {}
    for name, metric in chosen.items():
        results[name] = metric.compute(Inputs(measured, results, reference))
    return Evaluation(data.suite, results, omitted)


def evaluation_json(evaluation: Evaluation, provenance: Mapping[str, object], *, show_answers: bool) -> bytes:
    """Return the content of `{SUITE}_EVAL.json`, with keys in OpenUnlearning's order."""
    entries: dict[str, object] = {
        name: _entry(result, show_answers=show_answers) for name, result in evaluation.results.items()
    }
    entries["edgeproof"] = {"note": NOTE, "suite": evaluation.suite, **provenance, "omitted": dict(evaluation.omitted)}
    return _json_bytes(dict(sorted(entries.items())))


def summary(evaluation: Evaluation) -> dict[str, float]:
    """Return {metric: number}, sorted by name."""
    return {name: evaluation.results[name].aggregate for name in sorted(evaluation.results)}


def summary_json(evaluation: Evaluation) -> bytes:
    """Return the content of `{SUITE}_SUMMARY.json`."""
    return _json_bytes(summary(evaluation))


def _entry(result: Result, *, show_answers: bool) -> dict[str, object]:
    if isinstance(result, PerItem):
        return _items(result, show_answers=show_answers)
    if isinstance(result, Attack):
        return {
            "agg_value": result.aggregate,
            "auc": result.aggregate,
            "forget": _items(result.forget, show_answers=show_answers),
            "holdout": _items(result.holdout, show_answers=show_answers),
        }
    return {"agg_value": result.aggregate}


def _items(result: PerItem, *, show_answers: bool) -> dict[str, object]:
    names = [name for name in result.fields if show_answers or name not in TEXTS]
    by_index = {item: {name: result.fields[name][place] for name in names} for place, item in enumerate(result.ids)}
    return {"agg_value": result.aggregate, "value_by_index": by_index}


def _json_bytes(value: object) -> bytes:
    return (json.dumps(value, indent=4, allow_nan=False, ensure_ascii=False) + "\n").encode()
