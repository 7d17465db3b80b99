"""Reference results: the evaluation file of a model that was retrained without the forget set."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import InputError
from edgeproof.contracts.parsing import read_file
from edgeproof.eval.metrics.privleak import RETRAINED_AUC

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeproof.eval.metrics.result import Attack
    from edgeproof.eval.suites.encoding import Asking

_HOW = "create it with `export-edge evaluate` on the retrained model and the same files"


class Reference(NamedTuple):
    """An evaluation file of edgeproof or OpenUnlearning, or MUSE's published numbers of a corpus.

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
            InputError: the metric is missing or covers other items, or an item has no number.

        """
        items = self._entry(metric).get("value_by_index")
        if not isinstance(items, dict) or set(items) != set(ids):
            count = len(items) if isinstance(items, dict) else 0
            raise InputError(
                f"{self.name}: its {metric} covers other items ({count} there, {len(ids)} here)", next_step=_HOW
            )
        values = [items[name].get("score") if isinstance(items[name], dict) else None for name in ids]
        for name, value in zip(ids, values, strict=True):
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise InputError(f"{self.name}: {metric} of item {name} is {value!r}, not a number", next_step=_HOW)
        return [float(value) for value in values if value is not None]

    def muse_auc(self, metric: str, attack: Attack) -> float:
        """Return the retrained model's AUC in muse_bench's direction.

        The source is `metric`, else OpenUnlearning's `mia_min_k`, whose AUC has the opposite direction and excludes
        each text's last token. `attack` is this model's; the reference must cover its items.

        Raises:
            InputError: there is none, it covers other items, or it is 0.

        """
        if metric in self.results or "mia_min_k" not in self.results:
            self._same_items("muse_min_k", attack)
            return self._divisor(self.aggregate(metric))
        self._same_items("mia_min_k", attack)
        return self._divisor(1 - self.aggregate("mia_min_k"))

    def open_auc(self, metric: str, attack: Attack) -> float:
        """Return the retrained model's AUC in OpenUnlearning's direction; otherwise as `muse_auc`."""
        self._same_items(metric, attack)
        auc = self.aggregate(metric)
        self._divisor(1 - auc)
        return auc

    def _divisor(self, auc: float) -> float:
        if not 0 < auc <= 1:
            raise InputError(
                f"{self.name}: PrivLeak divides by the retrained model's AUC (unseen texts taken for members), and it "
                f"is {auc:g}",
                next_step=_HOW,
            )
        return auc

    def _same_items(self, metric: str, attack: Attack) -> None:
        """Refuse an attack on other items; published constants and plain numbers have no items."""
        entry = self.results.get(metric)
        for role, own in (("forget", attack.forget.ids), ("holdout", attack.holdout.ids)):
            part = entry.get(role) if isinstance(entry, dict) else None
            items = part.get("value_by_index") if isinstance(part, dict) else None
            if isinstance(items, dict) and set(items) != set(own):
                raise InputError(
                    f"{self.name}: its {metric} covers other items of {role} ({len(items)} there, {len(own)} here)",
                    next_step=_HOW,
                )

    def _entry(self, metric: str) -> Mapping[str, object]:
        entry = self.results.get(metric)
        if not isinstance(entry, dict):
            raise InputError(f"{self.name} has no {metric}", next_step=_HOW)
        return entry


def load_reference(path: Path, suite: str, digests: Mapping[str, str], asking: Asking | None = None) -> Reference:
    """Read an evaluation file, or use "news" or "books" for MUSE's published AUC.

    Args:
        path: the file, or the name of the corpus.
        suite: "MUSE" or "TOFU".
        digests: sha256 by role of the files of this evaluation.
        asking: prompt of this evaluation; None is not compared.

    Raises:
        InputError: the file is missing, not a JSON object, or declares another suite, other files or prompts.

    """
    corpus = str(path)
    if suite == "MUSE" and corpus in RETRAINED_AUC and not path.is_file():
        return Reference(corpus, {"forget_holdout_Min-40%": {"agg_value": RETRAINED_AUC[corpus]}})
    try:
        results = json.loads(read_file(path).decode("utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}", next_step=_HOW) from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path} is not an evaluation file: {error}", next_step=_HOW) from error
    if not isinstance(results, dict):
        raise InputError(f"{path} is not an evaluation file: its JSON is not an object", next_step=_HOW)
    provenance = results.get("edgeproof")
    if isinstance(provenance, dict):
        _same_suite(path, provenance, suite)
        _same_files(path, provenance, digests)
        if suite == "TOFU" and asking is not None:
            _same_prompt(path, provenance, asking)
    return Reference(path.name, results)


def _same_suite(path: Path, provenance: Mapping[str, object], suite: str) -> None:
    theirs = provenance.get("suite", suite)
    if theirs != suite:
        raise InputError(f"{path} is an evaluation of {theirs}, the files here are {suite}'s", next_step=_HOW)


def _same_prompt(path: Path, provenance: Mapping[str, object], asking: Asking) -> None:
    """Refuse a reference of edgeproof with another prompt, since its numbers are not comparable."""
    theirs = provenance.get("asking")
    for name, own in (("prompt", asking.prompt), ("system", asking.system)):
        if isinstance(theirs, dict) and name in theirs and theirs[name] != own:
            raise InputError(
                f"{path} has another prompt: --{name} {theirs[name]!r} there, {own!r} here",
                next_step="use the same --prompt and --system for both",
            )


def _same_files(path: Path, provenance: Mapping[str, object], digests: Mapping[str, str]) -> None:
    """Refuse a reference of edgeproof with other files; OpenUnlearning's do not name theirs."""
    data = provenance.get("data")
    for role, file in data.items() if isinstance(data, dict) else ():
        theirs = file.get("sha256") if isinstance(file, dict) else None
        if role in digests and theirs != digests[role]:
            raise InputError(
                f"{path} was measured on another file for {role} (sha256 {theirs}, here {digests[role]})",
                next_step=_HOW,
            )
