"""Result of a pack's check: data types, and the list of changes in JSON and in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeproof.eval.forecast.rehearsal import Forecast
    from edgeproof.eval.knowledge.known import Asked


class Duration(NamedTuple):
    """Time of a gate of this pack on this machine.

    Attributes:
        asks: probes times their surfaces.
        seconds: wall time of asking the base in the format all of them, as the gate asks an artifact.

    """

    asks: int
    seconds: float


class Change(NamedTuple):
    """A change of the pack that the check proposes; nothing is changed.

    Attributes:
        action: "add", "drop", "replace", "reword", "shorten" or "mend".
        what: what is concerned: "forget clusters", "untrained retain probes", "holdout probes", "probe", "asking".
        number: how many.
        probes: ids, where it concerns certain probes.
        words: one sentence, without texts of probes.

    """

    action: str
    what: str
    number: int
    probes: tuple[str, ...]
    words: str


class AtCost(NamedTuple):
    """A forecast for a mean cost of unlearning on untrained retain probes, nat per token."""

    cost: float
    forecast: Forecast


@dataclass(frozen=True)
class FormatCheck:
    """What was found for one format.

    Attributes:
        format: the format.
        asked: what the base gives away in it, by set and surface.
        known: number of forget clusters that it gives away on a judged surface.
        clusters: number of forget clusters; those that ask for the same thing count once.
        unknown: names of those that it does not give away.
        forecast: of good files with the pack as it is.
        grown: the same at the size that is enough, or at the largest that was tried.
        duration: of the gate with the pack as it is.
        by_cost: forecasts, with fewer draws, for other costs of unlearning than the assumed one; none with a baseline.

    """

    format: str
    asked: tuple[Asked, ...]
    known: int
    clusters: int
    unknown: tuple[str, ...]
    forecast: Forecast
    grown: Forecast
    duration: Duration
    by_cost: tuple[AtCost, ...] = ()

    @property
    def enough(self) -> Forecast | None:
        """The forecast at the size that is enough; None if no size is."""
        return self.grown if self.grown.strong else None

    @property
    def enough_seconds(self) -> float | None:
        """Time of the gate at the size that is enough, by the numbers of clusters."""
        if self.enough is None:
            return None
        now = self.forecast.known + self.forecast.untrained
        then = self.enough.known + self.enough.untrained
        return self.duration.seconds * (then / now if now else 1.0)


@dataclass(frozen=True)
class PackCheck:
    """Whether a pack is strong and large enough for a base.

    Attributes:
        pack: its name.
        pack_sha256: digest of its probes.
        base: name of the base.
        assumed: what the forecast assumes about unlearning, in words.
        formats: one for each format.
        changes: what the check would change, the most useful first.
        texts: question and answer of the probes that changes name, by id; empty unless asked for.
        written: the files of the list; empty unless asked for.
        warnings: warnings of export and measurement.

    """

    pack: str
    pack_sha256: str
    base: str
    assumed: str
    formats: tuple[FormatCheck, ...]
    changes: tuple[Change, ...]
    texts: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)
    written: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def strong(self) -> bool:
        """Whether a good file passes nine times in ten, in every format."""
        return all(one.forecast.strong for one in self.formats)

    def to_json(self) -> dict[str, object]:
        """Return the check as JSON-compatible types."""
        return {
            "schema": 1,
            "pack": {"name": self.pack, "sha256": self.pack_sha256},
            "base": self.base,
            "strong": self.strong,
            "assumed": self.assumed,
            "formats": [_format_json(one) for one in self.formats],
            "changes": [
                change._asdict() | ({"texts": {name: self.texts[name] for name in change.probes}} if self.texts else {})
                for change in self.changes
            ],
            "warnings": list(self.warnings),
        }


def _format_json(one: FormatCheck) -> dict[str, object]:
    return {
        "format": one.format,
        "forget": {"known": one.known, "clusters": one.clusters, "unknown": list(one.unknown)},
        "sets": [row._asdict() for row in one.asked],
        "forecast": _forecast_json(one.forecast),
        "by_cost": [{"cost": round(at.cost, 3), **_forecast_json(at.forecast)} for at in one.by_cost],
        "enough": None
        if one.enough is None
        else {**_forecast_json(one.enough), "gate_seconds": round(one.enough_seconds or 0.0, 1)},
        "gate": {**one.duration._asdict(), "seconds": round(one.duration.seconds, 1)},
    }


def _forecast_json(forecast: Forecast) -> dict[str, object]:
    return {
        "forget_clusters": forecast.known,
        "untrained_retain_clusters": forecast.untrained,
        "share_of_pass": forecast.share,
        "files": forecast.draws,
        "pass": forecast.passes,
        "fail": forecast.fails,
        "inconclusive": forecast.draws - forecast.passes - forecast.fails,
        "open": dict(forecast.open),
    }
