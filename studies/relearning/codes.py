"""Counts what unlearning changed: codes in the quantized file, and weights in the checkpoint."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.export.survival.artifact import open_artifact

if TYPE_CHECKING:
    from pathlib import Path

FOUR_BIT = ("Q4_0", "Q4_1", "Q4_K", "IQ4_NL", "int4")
ROWS = 4096


def moved_codes(base: Path, artifact: Path) -> dict[str, float | int]:
    """Compare two files of one format: the share of codes that differ, over all matrices and over those of 4 bits.

    `moved` counts all quantized matrices (the embedding's 8 bits among them), `moved_4bit` those in 4-bit types, of
    which there are `codes_4bit`; the latter two are 0 where the file has none.
    """
    before, after = open_artifact(base), open_artifact(artifact)
    counts = {True: [0, 0], False: [0, 0]}
    for name, stored in after.tensors.items():
        codec = stored.codec
        if stored.rows == 1 or codec.type in {"F32", "float32"}:
            continue
        four = any(part in codec.type for part in FOUR_BIT)
        for start in range(0, stored.rows, ROWS):
            stop = min(start + ROWS, stored.rows)
            pair = [codec.codes(file.read(name, start, stop), stored.columns) for file in (before, after)]
            old, new = pair
            if old is None or new is None:
                raise SystemExit(f"the codes of {name} ({codec.type}) cannot be read")
            counts[four][0] += int((old != new).sum())
            counts[four][1] += old.size
    moved, total = (counts[True][index] + counts[False][index] for index in (0, 1))
    return {
        "moved": moved / total if total else 0.0,
        "moved_4bit": counts[True][0] / counts[True][1] if counts[True][1] else 0.0,
        "codes_4bit": counts[True][1],
    }


def rounding_errors(folder: Path) -> dict[str, float]:
    """Return ‖q(W) − W‖/‖W‖ over a checkpoint's inner matrices, by type: next to 0 where they lie on its grid.

    Types whose blocks do not divide a matrix's rows are measured on the others.
    """
    from edgeproof.export.gguf import kernels
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
    from gguf.quants import dequantize
    from safetensors import safe_open

    sums = {kind: [0.0, 0.0] for kind in ("Q4_0", "Q4_1", "IQ4_NL", "Q4_K")}
    with safe_open(folder / "model.safetensors", "np") as opened:
        for name in opened.keys():  # noqa: SIM118 (no dictionary)
            weights = opened.get_tensor(name).astype(np.float32)
            if weights.ndim != 2 or "embed" in name:
                continue
            for kind, (changed, total) in sums.items():
                named = GGMLQuantizationType[kind]
                if weights.shape[1] % GGML_QUANT_SIZES[named][0]:
                    continue
                back = dequantize(kernels.quantize(named, weights, None), named).reshape(weights.shape)
                error = float(np.square(back - weights, dtype=np.float64).sum())
                sums[kind] = [changed + error, total + float(np.square(weights, dtype=np.float64).sum())]
    return {kind: math.sqrt(changed / total) for kind, (changed, total) in sums.items() if total}


def weight_change(base: Path, model: Path) -> float:
    """Return ‖W' − W‖/‖W‖ over the matrices of two checkpoints."""
    from safetensors import safe_open

    def files(folder: Path) -> dict[str, Path]:
        index = folder / "model.safetensors.index.json"
        if index.is_file():
            return {name: folder / file for name, file in json.loads(index.read_text())["weight_map"].items()}
        with safe_open(folder / "model.safetensors", "np") as opened:
            return dict.fromkeys(opened.keys(), folder / "model.safetensors")

    ours, theirs = files(base), files(model)
    changed = total = 0.0
    for name, path in ours.items():
        with safe_open(path, "np") as first, safe_open(theirs[name], "np") as second:
            old = first.get_tensor(name)
            if old.ndim != 2:
                continue
            changed += float(np.square(second.get_tensor(name) - old, dtype=np.float64).sum())
            total += float(np.square(old, dtype=np.float64).sum())
    return math.sqrt(changed / total)
