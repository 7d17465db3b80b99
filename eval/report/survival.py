"""Survival map in a report: read strictly from the artifact's manifest, arranged by layers.

The exporter quantizes some rows of every tensor that the adapters touch, with and without the adapters
(docs/inspect.md). The numbers explain a verdict but do not affect it.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import ArtifactError
from edgeproof.contracts.survival import parse_survival

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeproof.contracts.survival import AdapterSurvival, TensorLeft

_LAYER = re.compile(r"(?:^|\.)(?:blk|layers|h)\.\d+\.")
_TAIL = re.compile(r"\.weight$")
_EXPERT = re.compile(r"\bexperts\.\d+\b")
LOST = 0.5
"""Projection below which most of a tensor's change is lost; also the exporter's warning level."""


class Cell(NamedTuple):
    """A cell of the map: the mean projection of the tensors of one kind in one layer."""

    projection: float
    error: float


class HeatMap(NamedTuple):
    """Layers × kinds of tensors.

    Attributes:
        kinds: the columns, in the file's order.
        rows: layer, and a cell per kind; None if the adapters do not touch that tensor.
        outside: tensors outside of the layers.
        lost: number of tensors that lost more than half of their change.
        worst: the tensor with the smallest surviving share.

    """

    kinds: tuple[str, ...]
    rows: tuple[tuple[int, tuple[Cell | None, ...]], ...]
    outside: tuple[TensorLeft, ...]
    lost: int
    worst: TensorLeft


def read_survival(manifest: Mapping[str, object] | None) -> AdapterSurvival | None:
    """Read the survival map of `manifest`; None if it has none per tensor.

    Raises:
        ArtifactError: the map is damaged.

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


def heat_map(survival: AdapterSurvival) -> HeatMap:
    """Arrange the tensors by layer and kind."""
    inside = [tensor for tensor in survival.tensors if tensor.layer is not None]
    kinds = tuple(dict.fromkeys(_kind(tensor) for tensor in inside))
    places: dict[tuple[int, str], list[TensorLeft]] = {}
    for tensor in inside:
        assert tensor.layer is not None
        places.setdefault((tensor.layer, _kind(tensor)), []).append(tensor)
    layers = sorted({layer for layer, _ in places})
    return HeatMap(
        kinds,
        tuple((layer, tuple(_cell(places.get((layer, kind), [])) for kind in kinds)) for layer in layers),
        tuple(tensor for tensor in survival.tensors if tensor.layer is None),
        sum(tensor.projection < LOST for tensor in survival.tensors),
        min(survival.tensors, key=lambda tensor: tensor.projection),
    )


def _kind(tensor: TensorLeft) -> str:
    """Return the name without layer and ".weight": the same in every layer; experts of a layer share one."""
    found = _LAYER.search(tensor.name)
    return _EXPERT.sub("experts", _TAIL.sub("", tensor.name[found.end() :] if found else tensor.name))


def _cell(tensors: list[TensorLeft]) -> Cell | None:
    if not tensors:
        return None
    count = len(tensors)
    return Cell(
        math.fsum(tensor.projection for tensor in tensors) / count,
        math.sqrt(math.fsum(tensor.projection_error**2 for tensor in tensors)) / count,
    )
