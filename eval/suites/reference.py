"""The results of a model that was retrained without the forget set, to compare with: an evaluation file of its own."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import InputError
from edgeproof.eval.metrics.privleak import RETRAINED_AUC

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_HOW = "make it with `export-edge evaluate` on the retrained model and the same files"


class Reference(NamedTuple):
    """An evaluation file, ours or OpenUnlearning's, or MUSE's own numbers of a corpus.

    Attributes:
        name: the file, or "news" or "books".
        results: the file's content.

    """

    name: str
    results: Mapping[str, object]

    def aggregate(self, metric: str) -> float:
        """Return the `agg_value` of `metric`, or raise `InputError`."""
        found = self._entry(metric).get("agg_value")
        if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
            raise InputError(f"{self.name}: {metric} has no number as agg_value", next_step=_HOW)
        return float(found)

    def scores(self, metric: str, ids: Sequence[str]) -> list[float]:
        """Return the `score` of every item in `ids`.

        Raises:
            InputError: the metric is missing, is of other items, or an item has no number.

        """
        items = self._entry(metric).get("value_by_index")
        if not isinstance(items, dict) or set(items) != set(ids):
            count = len(items) if isinstance(items, dict) else 0
            raise InputError(
                f"{self.name}: its {metric} is of other items ({count} there, {len(ids)} here)", next_step=_HOW
            )
        values = [items[name].get("score") if isinstance(items[name], dict) else None for name in ids]
        for name, value in zip(ids, values, strict=True):
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise InputError(f"{self.name}: {metric} of item {name} is {value!r}, no number", next_step=_HOW)
        return [float(value) for value in values if value is not None]

    def muse_auc(self, metric: str) -> float:
        """Return the retrained model's AUC in muse_bench's direction.

        Taken from `metric`, else from OpenUnlearning's `mia_min_k`, whose AUC runs the other way and leaves each text's
        last token out.
        """
        if metric in self.results or "mia_min_k" not in self.results:
            auc = self.aggregate(metric)
        else:
            auc = 1 - self.aggregate("mia_min_k")
        if not 0 < auc <= 1:
            raise InputError(f"{self.name}: an AUC of {auc} cannot be a divisor", next_step=_HOW)
        return auc

    def _entry(self, metric: str) -> Mapping[str, object]:
        entry = self.results.get(metric)
        if not isinstance(entry, dict):
            raise InputError(f"{self.name} has no {metric}", next_step=_HOW)
        return entry


def load_reference(path: Path, suite: str, digests: Mapping[str, str]) -> Reference:
    """Read an evaluation file, or take "news" or "books" for the AUC that MUSE publishes.

    Args:
        path: the file, or a path that is the corpus's name alone.
        suite: "MUSE" or "TOFU".
        digests: sha256 by role of the files that are evaluated now.

    Raises:
        InputError: it is missing, no JSON object, or of other files.

    """
    corpus = str(path)
    if suite == "MUSE" and corpus in RETRAINED_AUC and not path.exists():
        return Reference(corpus, {"forget_holdout_Min-40%": {"agg_value": RETRAINED_AUC[corpus]}})
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}", next_step=_HOW) from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path} is no evaluation file: {error}", next_step=_HOW) from error
    if not isinstance(results, dict):
        raise InputError(f"{path} is no evaluation file: its JSON is no object", next_step=_HOW)
    _same_files(path, results.get("edgeproof"), digests)
    return Reference(path.name, results)


def _same_files(path: Path, provenance: object, digests: Mapping[str, str]) -> None:
    """Refuse a reference of ours whose files are others; OpenUnlearning's say nothing of theirs."""
    data = provenance.get("data") if isinstance(provenance, dict) else None
    for role, file in data.items() if isinstance(data, dict) else ():
        theirs = file.get("sha256") if isinstance(file, dict) else None
        if role in digests and theirs != digests[role]:
            raise InputError(
                f"{path} was measured on another file for {role} (sha256 {theirs}, here {digests[role]})",
                next_step=_HOW,
            )
