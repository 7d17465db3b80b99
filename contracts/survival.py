"""What an artifact's manifest says is left of the adapters: the schema that the exporter writes and a gate reads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple


class TensorLeft(NamedTuple):
    """How much of the change of one tensor of the checkpoint is left.

    Attributes:
        name: the checkpoint's.
        layer: its layer; None for embedding, head and last norm.
        projection: ⟨Δ_effective, Δ⟩/‖Δ‖²: 1 where all of it is left, 0 where nothing is.
        projection_error: its standard error.

    """

    name: str
    layer: int | None
    projection: float
    projection_error: float


@dataclass(frozen=True)
class AdapterSurvival:
    """What is left of the adapters in a file.

    Attributes:
        projection: over all tensors.
        projection_error: its standard error.
        codes_moved: share of the stored codes that the adapters move; None where that is not known.
        sampled: weights in the sample.
        tensors: one by one, in the artifact's order.

    """

    projection: float
    projection_error: float
    codes_moved: float | None
    sampled: int
    tensors: tuple[TensorLeft, ...]

    def to_json(self) -> dict[str, object]:
        """Return plain data, as a manifest and a report hold it."""
        return {
            "projection": self.projection,
            "projection_error": self.projection_error,
            "codes_moved": self.codes_moved,
            "sampled": self.sampled,
            "tensors": [tensor._asdict() for tensor in self.tensors],
        }


def parse_survival(table: object) -> AdapterSurvival | None:
    """Make an `AdapterSurvival` of plain data, as a manifest or a report holds it.

    Raises:
        KeyError, TypeError, ValueError: something is missing, of another kind, or not finite.

    """
    if not isinstance(table, dict):
        raise TypeError("no table")
    tensors = table["tensors"]
    if not isinstance(tensors, list) or not all(isinstance(item, dict) for item in tensors):
        raise TypeError("no list of tensors")
    if not tensors:
        return None
    moved = table["codes_moved"]
    return AdapterSurvival(
        _finite(table["projection"]),
        _finite(table["projection_error"]),
        None if moved is None else _finite(moved),
        _whole(table["sampled"]),
        tuple(
            TensorLeft(
                _text(item["name"]),
                None if item["layer"] is None else _whole(item["layer"]),
                _finite(item["projection"]),
                _finite(item["projection_error"]),
            )
            for item in tensors
        ),
    )


def _finite(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} for a number")
    return float(value)


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} for a count")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("no name")
    return value
