"""What an artifact's manifest says is left of the adapters, tensor by tensor: read strictly, laid out by layers.

The exporter quantizes a few rows of every tensor that the adapters touch, with and without them (docs/inspect.md); its
numbers come here as data. They explain a verdict and are no part of it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Mapping

_LAYER = re.compile(r"(?:^|\.)(?:blk|layers|h)\.\d+\.")
_TAIL = re.compile(r"\.weight$")
_EXPERT = re.compile(r"\bexperts\.\d+\b")
LOST = 0.5
"""Below this projection most of a tensor's change is gone; the exporter warns from here on, too."""


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

    @property
    def kind(self) -> str:
        """The name without layer and ".weight": the same in every layer; experts of a layer share one."""
        found = _LAYER.search(self.name)
        return _EXPERT.sub("experts", _TAIL.sub("", self.name[found.end() :] if found else self.name))


@dataclass(frozen=True)
class Survival:
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


class Cell(NamedTuple):
    """A place in the map: the mean projection of the tensors of one kind in one layer."""

    projection: float
    error: float


class HeatMap(NamedTuple):
    """Layers × kinds of tensors.

    Attributes:
        kinds: the columns, in the order of the file.
        rows: layer and a cell for each kind; None where the adapters do not touch that tensor.
        outside: tensors outside of the layers.
        lost: how many tensors have lost more than half of their change.
        worst: the tensor of which the least is left.

    """

    kinds: tuple[str, ...]
    rows: tuple[tuple[int, tuple[Cell | None, ...]], ...]
    outside: tuple[TensorLeft, ...]
    lost: int
    worst: TensorLeft


def read_survival(manifest: Mapping[str, object] | None) -> Survival | None:
    """Read what `manifest` says; None where it says nothing of single tensors.

    Raises:
        ArtifactError: what it says is damaged.

    """
    table = None if manifest is None else manifest.get("survival")
    if table is None or (isinstance(table, dict) and "tensors" not in table):
        return None  # no adapters, another program's file, or an older manifest
    try:
        return parse_survival(table)
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"the manifest beside the artifact is damaged: its survival map has {type(error).__name__} {error}",
            next_step="export again, or remove the manifest to gate the file with provenance unknown",
        ) from error


def parse_survival(table: object) -> Survival | None:
    """Make a `Survival` of plain data, as a manifest or a report holds it.

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
    return Survival(
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


def heat_map(survival: Survival) -> HeatMap:
    """Lay the tensors out by layer and kind."""
    inside = [tensor for tensor in survival.tensors if tensor.layer is not None]
    kinds = tuple(dict.fromkeys(tensor.kind for tensor in inside))
    places: dict[tuple[int, str], list[TensorLeft]] = {}
    for tensor in inside:
        assert tensor.layer is not None
        places.setdefault((tensor.layer, tensor.kind), []).append(tensor)
    layers = sorted({layer for layer, _ in places})
    return HeatMap(
        kinds,
        tuple((layer, tuple(_cell(places.get((layer, kind), [])) for kind in kinds)) for layer in layers),
        tuple(tensor for tensor in survival.tensors if tensor.layer is None),
        sum(tensor.projection < LOST for tensor in survival.tensors),
        min(survival.tensors, key=lambda tensor: tensor.projection),
    )


def _cell(tensors: list[TensorLeft]) -> Cell | None:
    if not tensors:
        return None
    count = len(tensors)
    return Cell(
        math.fsum(tensor.projection for tensor in tensors) / count,
        math.sqrt(math.fsum(tensor.projection_error**2 for tensor in tensors)) / count,
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
