"""Merged model: a `Checkpoint` whose rows are W + scaling·(B·A) in float32, computed on demand.

The order of operations is that of peft's `merge_and_unload`, with several adapters in the given order, as with its
`adapter_names`. Embeddings are untied if an adapter changed only the input embedding or only the output head, since one
table can then not serve both (peft 0.21 adds such a change to both: its issue 2777).
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from edgeproof.contracts.errors import AdapterError
from edgeproof.export.adapter.checks import FAINT_LIMIT, IDLE_LIMIT
from edgeproof.export.merge.blas import one_blas_thread
from edgeproof.export.merge.plan import plan_merge
from edgeproof.export.merge.steps import BLOCK_VALUES, Block

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeproof.contracts.tensors import Checkpoint, Float32Array, TensorInfo
    from edgeproof.export.adapter.adapter import Adapter
    from edgeproof.export.merge.names import MergeTarget


class Effect(NamedTuple):
    """Change of a tensor over the rows merged so far: Frobenius norms of merged − base and of base."""

    name: str
    delta_norm: float
    weight_norm: float


class MergedModel:
    """A base with adapters merged in; itself a `Checkpoint`. Rows are computed on demand, from any thread.

    Args:
        base: the base's weights.
        adapters: adapters in merge order; none gives the base.
        names: tensor and row order by Hugging Face tensor name, for a base with other names than the adapters' (a
            GGUF).

    Raises:
        AdapterError: a tensor of an adapter has no place in the base or another shape, an adapter discards an earlier
            one's changes, or has no effect.

    Attributes:
        warnings: warnings about this merge, for the user.

    """

    def __init__(
        self, base: Checkpoint, adapters: Sequence[Adapter], names: Mapping[str, MergeTarget] | None = None
    ) -> None:
        one_blas_thread()
        self._base = base
        plan = plan_merge(base, adapters, names)
        self._steps = plan.steps
        self._sources = plan.sources
        self.config: Mapping[str, object] = plan.config
        self.tensors: Mapping[str, TensorInfo] = plan.tensors
        self._sums: dict[str, tuple[float, float]] = dict.fromkeys(plan.steps, (0.0, 0.0))
        self._lock = threading.Lock()
        faint = [_refuse_faint(base, adapter, plan.touched[position]) for position, adapter in enumerate(adapters)]
        self.warnings: tuple[str, ...] = (*plan.warnings, *(warning for warning in faint if warning))

    @property
    def path(self) -> Path:
        """The base's folder or file."""
        return self._base.path

    def rows(self, name: str, start: int, stop: int) -> Float32Array:
        """Merged rows `start` to `stop` as a fresh, C-contiguous float32 array [stop - start, columns]. Thread-safe.

        Raises:
            CheckpointError: a weight of the base is NaN or Inf.
            AdapterError: a value of the adapter is NaN or Inf, or the merged value overflows.

        """
        source = self._sources.get(name, name)
        steps = self._steps.get(name)
        if not steps:
            return self._base.rows(source, start, stop)
        info = self.tensors[name]
        # BLAS sums in another order at the edges of a product, so its bounds must not depend on the caller's.
        height = max(1, BLOCK_VALUES // info.columns)
        first, last = start // height * height, min(-(-stop // height) * height, info.rows)
        loaded = [step.load(first, last) for step in steps]
        merged = np.empty((stop - start, info.columns), np.float32)
        spare = np.empty((2, min(height, last - first), info.columns), np.float32)
        delta_square = weight_square = 0.0
        for top in range(first, last, height):
            bottom = min(top + height, last)
            original = self._base.rows(source, top, bottom)
            inside = slice(max(start, top) - top, min(stop, bottom) - top)
            wanted = merged[max(start, top) - start : min(stop, bottom) - start]
            scratch = spare[1, : bottom - top]
            out = wanted if len(wanted) == bottom - top else spare[0, : bottom - top]
            block = Block(top, bottom, original, original, out, scratch)
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # non-finite values are refused below
                for apply in loaded:
                    apply(block)
                if block.current is not wanted:
                    np.copyto(wanted, block.current[inside])
                moved = np.subtract(wanted, original[inside], out=scratch[inside])
            square = _square(moved)
            if not math.isfinite(square):
                _refuse_overflow(name, max(start, top), wanted)
            delta_square += square
            weight_square += _square(original[inside])
        with self._lock:
            before = self._sums[name]
            self._sums[name] = (before[0] + delta_square, before[1] + weight_square)
        return merged

    def base_rows(self, name: str, start: int, stop: int) -> Float32Array:
        """Return the base's rows of the merged model's tensor `name` (an untied head's are the embedding's)."""
        return self._base.rows(self._sources.get(name, name), start, stop)

    def effects(self) -> tuple[Effect, ...]:
        """Return the change of each tensor that an adapter touches, over the rows merged so far."""
        with self._lock:
            return tuple(
                Effect(name, math.sqrt(delta), math.sqrt(weight)) for name, (delta, weight) in self._sums.items()
            )

    def refuse_idle(self) -> None:
        """Refuse a merge that equals its base; call this after all rows were merged, before the file gets its name.

        Raises:
            AdapterError: ‖merged − base‖/‖base‖ over all touched tensors is below `IDLE_LIMIT`.

        """
        effects = self.effects()
        if not effects:
            return
        delta, weight = (math.hypot(*norms) for norms in list(zip(*effects, strict=True))[1:])
        if delta < IDLE_LIMIT * weight or delta == 0:
            raise AdapterError(
                f"the merged model equals its base: ‖ΔW‖/‖W‖ = {delta:.3g}/{weight:.3g} over the {len(effects)} "
                f"tensors that the adapters touch, below {IDLE_LIMIT:g}",
                next_step="check that training changed the loss, and that this is its last saved adapter",
            )


def _refuse_faint(base: Checkpoint, adapter: Adapter, touched: Mapping[str, str]) -> str:
    """Refuse an adapter whose ΔW is negligible relative to W, before any work is done; return a warning, or "".

    ‖ΔW‖ is exact, ‖W‖ is estimated from a few rows of each tensor, which suffices for the limit. Adapters that also
    replace or rescale tensors (DoRA) are checked after all rows were merged.

    Args:
        base: the base.
        adapter: one adapter.
        touched: the base's tensor of each module with a LoRA.

    """
    if adapter.replaced or adapter.token_rows or not touched:
        return ""
    if any(lora.magnitude or lora.bias for lora in adapter.low_rank.values()):
        return ""
    delta_square = weight_square = 0.0
    for module, name in touched.items():
        info = base.tensors[name]
        sample = sorted({info.rows * part // 4 for part in range(4)})
        square = sum(_square(base.rows(name, row, row + 1)) for row in sample)
        weight_square += square * info.rows / len(sample)
        delta_square += adapter.low_rank[module].delta_norm ** 2
    ratio = math.sqrt(delta_square / weight_square) if weight_square else math.inf
    if ratio < IDLE_LIMIT:
        raise AdapterError(
            f"the adapter {adapter.path} has almost no effect: ‖ΔW‖/‖W‖ = {ratio:.3g} over its {len(touched)} modules, "
            f"below {IDLE_LIMIT:g} (‖ΔW‖ = {math.sqrt(delta_square):.3g})",
            next_step="check that training changed the loss, and that this is its last saved adapter",
        )
    if ratio < FAINT_LIMIT:
        return (
            f"the adapter {adapter.path} changes its modules by {ratio:.2g} of their norm: rounding to 16 bits "
            "or fewer undoes most of it"
        )
    return ""


def _square(values: Float32Array) -> float:
    flat = values.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.dot(flat, flat))


def _refuse_overflow(name: str, top: int, rows: Float32Array) -> None:
    bad = np.argwhere(~np.isfinite(rows))
    if len(bad):
        row, column = bad[0]
        raise AdapterError(
            f"the merged {name} is {rows[row, column]} in row {top + row}, column {column}: base and adapter are "
            "finite, their sum is not",
            next_step="training diverged: take an earlier save of the adapter",
        )
