"""Writer of adapters as a GGUF LoRA, llama.cpp's format, for releases where a merge would not survive quantization.

llama.cpp adds `scale · B(A·x)` at run time, with scale = alpha / rank if the file has an alpha, else 1. This file has
none: B is stored multiplied by PEFT's scaling, so rsLoRA's alpha / sqrt(rank), rank patterns and several adapters
(factors concatenated: B₁A₁ + B₂A₂ = [B₁ B₂]·[A₁; A₂]) are exact.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from edgeproof.contracts.atomic import commit, refuse_existing, write_failed
from edgeproof.contracts.errors import AdapterError, UnsupportedError
from edgeproof.contracts.tensors import TensorRecord
from edgeproof.export.artifact.folder import made_at
from edgeproof.export.merge.names import MergeTarget

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.contracts.tensors import Float32Array, ModelDescription
    from edgeproof.export.adapter.adapter import Adapter

_NO_LORA = {"token_embd.weight", "per_layer_token_embd.weight"}


class _Factors(NamedTuple):
    A: Float32Array  # [rank, in]
    B: Float32Array  # [out, rank], scaled


def hf_targets(description: ModelDescription) -> dict[str, MergeTarget]:
    """Return the position of each Hugging Face tensor in the GGUF that `description` describes."""
    return {
        output.source: MergeTarget(output.name, output.transform) for output in description.tensors if output.source
    }


def collect_factors(
    adapters: Sequence[Adapter], description: ModelDescription, names: Mapping[str, MergeTarget]
) -> dict[str, _Factors]:
    """Collect A and scaled B by GGUF tensor name, concatenating the factors of several adapters.

    Args:
        adapters: PEFT adapters, plain or rank-stabilized LoRA.
        description: description of the base's GGUF.
        names: the base's tensor and row order, by Hugging Face tensor name.

    Raises:
        UnsupportedError: an adapter does more than add B·A to linear layers, which llama.cpp's format cannot express.
        AdapterError: a module has no tensor in the base, or another shape.

    """
    shapes = {output.name: output.shape for output in description.tensors}
    found: dict[str, list[_Factors]] = {}
    for adapter in adapters:
        _refuse_beyond_lora(adapter)
        for module, lora in adapter.low_rank.items():
            target = names.get(f"{module}.weight")
            if target is None or target.name not in shapes:
                raise AdapterError(
                    f"the adapter {adapter.path} changes {module}, which the base's GGUF does not hold",
                    next_step="check that it was trained on this base; a LoRA on a tied lm_head must be merged",
                )
            if lora.embedding or target.name in _NO_LORA:
                raise UnsupportedError(
                    f"the adapter {adapter.path} changes the embedding {module}; unmerged, llama.cpp would "
                    "apply it wrongly to the input or the tied output",
                    next_step="export it merged (without --unmerged)",
                )
            A, B = lora.A.read(), lora.B.read()
            out, width = shapes[target.name]
            if (B.shape[0], A.shape[1]) != (out, width):
                raise AdapterError(
                    f"{module} of {adapter.path} is a LoRA for a [{B.shape[0]}, {A.shape[1]}] weight; the base's "
                    f"{target.name} is [{out}, {width}]",
                    next_step="check that the adapter was trained on this base",
                )
            scaled = target.transform(B) * np.float32(lora.scaling)
            found.setdefault(target.name, []).append(_Factors(A, scaled))
    return {
        name: _Factors(np.concatenate([f.A for f in factors]), np.concatenate([f.B for f in factors], axis=1))
        for name, factors in found.items()
    }


def write_lora(
    adapters: Sequence[Adapter],
    description: ModelDescription,
    names: Mapping[str, MergeTarget],
    target: Path,
    *,
    name: str,
    inside: Path | None = None,
    force: bool,
) -> tuple[TensorRecord, ...]:
    """Write `adapters` as one float32 GGUF LoRA for the base that `description` describes.

    With `inside` the file is left in that folder, under the target's name.

    Raises:
        UnsupportedError: llama.cpp's format cannot express the adapter.
        AdapterError: the adapter does not fit the base.
        OutputError: `target` exists (without `force`) or cannot be written.

    """
    refuse_existing(target, force=force)
    factors = collect_factors(adapters, description, names)
    order = [output.name for output in description.tensors if output.name in factors]
    pairs = [
        (tensor + suffix, np.ascontiguousarray(values, np.float32))
        for tensor in order
        for suffix, values in zip((".lora_a", ".lora_b"), factors[tensor], strict=True)
    ]
    made = made_at(target, inside)
    try:
        with tempfile.TemporaryDirectory(prefix=".edgeproof-", dir=made.parent) as folder:
            temporary = Path(folder) / target.name
            _write(temporary, description.architecture, name, pairs)
            with temporary.open("rb") as file:
                os.fsync(file)
            commit(temporary, made, force=force)
    except OSError as error:
        raise write_failed(target, error) from error
    return tuple(TensorRecord(tensor, values.shape, "F32", values.nbytes) for tensor, values in pairs)


def _write(path: Path, architecture: str, name: str, pairs: Sequence[tuple[str, Float32Array]]) -> None:
    import gguf

    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    for tensor, values in pairs:
        writer.add_tensor(tensor, values)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def _refuse_beyond_lora(adapter: Adapter) -> None:
    beyond = [
        *(f"replaces {name}" for name in adapter.replaced),
        *(f"replaces rows of {name}" for name in adapter.token_rows),
        *(f"rescales {lora.module} (DoRA)" for lora in adapter.low_rank.values() if lora.magnitude),
        *(f"changes the bias of {lora.module}" for lora in adapter.low_rank.values() if lora.bias),
    ]
    if beyond:
        raise UnsupportedError(
            f"the adapter {adapter.path} does more than llama.cpp's LoRA format can express: it {beyond[0]}"
            + (f", and {len(beyond) - 1} more" if len(beyond) > 1 else ""),
            next_step="export it merged (without --unmerged)",
        )
