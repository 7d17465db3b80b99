"""Share of a weak adapter that survives each format, and the smallest relearning detectable above rounding noise.

    python benchmarks/weak_adapters.py --base HF_FOLDER --adapter DIR --work SCRATCH [--out weak_adapters.json]

The adapter's lora_B is scaled until ‖ΔW‖/‖W‖ has each of the sizes asked for; Δ is what it adds at float32, Δ' what it
adds in the file (the stored weights with it minus those without). Given are, over the matrices that it touches (in a
GGUF those with blocks of 32), the share of codes that moved, and the projection ⟨Δ', Δ⟩/‖Δ‖²: 1 keeps all of it, 0
nothing.

Noise: the standard deviation over the forget clusters of examples/capitals, asked raw, of NLL(file) − NLL(float merge),
in nat per token. A one-sided test at 5 % with 80 % power tells a mean relearning of 2.49·sd/√n from it with n clusters.
"""

from __future__ import annotations

import json
import math
import shutil
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import edgeproof
import numpy as np
from adapter_options import parse_options
from edgeproof.contracts.backend import ScoreRequest
from edgeproof.eval.asking.tokens import encode_pack
from edgeproof.eval.measurement import Role
from edgeproof.eval.packs.reader import load_pack
from edgeproof.export.survival.artifact import open_artifact
from edgeproof.runtime import backend_for, open_backend
from export_gguf import machine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeproof.eval.packs.pack import Pack
    from numpy.typing import NDArray

PACK = Path(__file__).resolve().parents[1] / "examples" / "capitals" / "pack"
FORMATS = ("gguf-q4", "gguf-q4_0", "gguf-iq4_nl", "gguf-q4_1", "gguf-q8_0", "onnx-int4", "onnx-int8")
SIZES = (0.001, 0.002, 0.005, 0.01, 0.02)
Z = 1.6449 + 0.8416
FLOATS = ("gguf-f32", "onnx-fp32")
K_QUANTS = frozenset({"Q4_K", "Q5_K", "Q6_K"})
"""Types of a GGUF with blocks of 256, left out."""


class Stored(NamedTuple):
    """A matrix as a file holds it: its codes (the weights themselves in float32), and the weights they stand for."""

    codes: NDArray[np.generic]
    weights: NDArray[np.float32]


def main() -> None:
    """Read the options, run, print a Markdown table, write JSON."""
    given = parse_options(__doc__, FORMATS, "sizes", SIZES)
    shutil.rmtree(given.work, ignore_errors=True)
    pack = load_pack(PACK)
    before = _exported(given.base, None, given.formats, given.work / "base", given.threads)
    (whole,) = edgeproof.export(
        base=given.base, adapter=given.adapter, format="gguf-q8_0", out=given.work / "whole"
    ).artifacts
    full = whole.manifest.adapter_effect
    assert full
    rows = []
    print(
        "| ‖ΔW‖/‖W‖ | format | codes moved | projection | noise, nat | told from noise with 55 clusters | for 0.5 nat |"
    )
    print("|---|---|---|---|---|---|---|")
    for size in given.sizes:
        adapter = _scaled(given.adapter, size / full, given.work / f"adapter-{size}")
        after = _exported(given.base, adapter, given.formats, given.work / f"merged-{size}", given.threads)
        references = {name[:4]: _nll(after[name], pack, given.threads) for name in FLOATS}
        for name in given.formats:
            reference = references[name[:4]]
            row = {"size": size, "format": name, **_survived(before, after, name)}
            found = _nll(after[name], pack, given.threads)
            noise = statistics.stdev(found[cluster] - reference[cluster] for cluster in reference)
            row |= {"noise": noise, "detectable": Z * noise / math.sqrt(len(reference))}
            row |= {"clusters_for_half_a_nat": math.ceil((Z * noise / 0.5) ** 2)}
            rows.append(row)
            print(
                f"| {size:.1%} | `{name}` | {row['moved']:.2%} | {row['projection']:.2f} | {noise:.2f} "
                f"| {row['detectable']:.2f} nat | {row['clusters_for_half_a_nat']} clusters |",
                flush=True,
            )
        shutil.rmtree(given.work / f"merged-{size}")
    if given.out:
        given.out.write_text(json.dumps({"machine": machine(), "results": rows}, indent=2) + "\n")


def _exported(base: Path, adapter: Path | None, formats: list[str], out: Path, threads: int | None) -> dict[str, Path]:
    adapters = [] if adapter is None else [adapter]
    made = edgeproof.export(base=base, adapter=adapters, format=[*FLOATS, *formats], out=out, threads=threads)
    return {item.format: item.path for item in made.artifacts}


def _scaled(adapter: Path, factor: float, out: Path) -> Path:
    """Copy the adapter with every lora_B times `factor`."""
    from safetensors.numpy import load_file, save_file

    out.mkdir()
    shutil.copy(adapter / "adapter_config.json", out)
    tensors = load_file(adapter / "adapter_model.safetensors")
    save_file(
        {
            name: value.astype(np.float32) * np.float32(factor if "lora_B" in name else 1)
            for name, value in tensors.items()
        },
        out / "adapter_model.safetensors",
    )
    return out


def _survived(before: Mapping[str, Path], after: Mapping[str, Path], name: str) -> dict[str, float]:
    """Compare matrices with and without the adapter: in float32, and as `name` stores them."""
    reference = FLOATS[0] if name.startswith("gguf-") else FLOATS[1]
    floats = [_matrices(files[reference]) for files in (before, after)]
    stored = [_matrices(files[name]) for files in (before, after)]
    moved = codes = inner = norm = 0.0
    for tensor in floats[0]:
        delta = floats[1][tensor].weights - floats[0][tensor].weights
        if tensor not in stored[0] or not delta.any():
            continue
        old, new = (found[tensor] for found in stored)
        moved += float((old.codes != new.codes).sum())
        codes += old.codes.size
        inner += float(np.vdot(new.weights - old.weights, delta))
        norm += float(np.vdot(delta, delta))
    return {"moved": moved / codes, "projection": inner / norm}


def _matrices(path: Path) -> dict[str, Stored]:
    """Read the matrices of a GGUF file or an ONNX folder, by their names in it."""
    file = open_artifact(path)
    found = {}
    for name, tensor in file.tensors.items():
        codec, columns = tensor.codec, tensor.columns
        if tensor.rows > 1 and codec.type not in K_QUANTS:
            raw = file.read(name, 0, tensor.rows)
            codes = codec.codes(raw, columns)
            assert codes is not None, f"{name} in {path}: the codes of {codec.type} are not read here"
            found[name] = Stored(codes, codec.weights(raw, columns))
    return found


def _nll(path: Path, pack: Pack, threads: int | None) -> dict[str, float]:
    """Return the NLL per token of each forget cluster's answer, asked raw."""
    with open_backend(backend_for(path), path, threads=threads) as backend:
        asks = [
            ask for ask in encode_pack(pack, backend) if ask.probe.role == Role.FORGET and ask.surface.kind == "raw"
        ]
        scores = backend.score([ScoreRequest(ask.context, ask.continuation) for ask in asks])
        return {ask.probe.cluster: -float(score.logprobs.mean()) for ask, score in zip(asks, scores, strict=True)}


if __name__ == "__main__":
    main()
