"""What an artifact's manifest says is left of the adapters, tensor by tensor: read strictly, laid out by layers.

The exporter quantizes a few rows of every tensor that the adapters touch, with and without them (docs/inspect.md); its
numbers come here as data. They explain a verdict and are no part of it.
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
"""Below this projection most of a tensor's change is gone; the exporter warns from here on, too."""


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


def read_survival(manifest: Mapping[str, object] | None) -> AdapterSurvival | None:
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


def heat_map(survival: AdapterSurvival) -> HeatMap:
    """Lay the tensors out by layer and kind."""
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
