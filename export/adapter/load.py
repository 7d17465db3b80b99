"""Loader for PEFT adapter folders: `adapter_config.json` and `adapter_model.safetensors`, checked for consistency.

```
  ΔW = scaling · B·A          lora_A [rank, in], lora_B [out, rank]            W [out, in]
  ΔW = scaling · (B·A)ᵀ       lora_embedding_A [rank, tokens], _B [width, rank]  W [tokens, width]
```
Factors stay in the file until the merge reads them: a loaded adapter holds names, shapes and norms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from edgeproof.contracts.errors import AdapterError
from edgeproof.contracts.own_names import refuse_unwritable_name
from edgeproof.export.adapter.adapter import WEIGHTS, Adapter, AdapterTensor, LowRank, TokenRows
from edgeproof.export.adapter.checks import quantization_hint, refuse_idle
from edgeproof.export.adapter.config import CONFIG, read_config
from edgeproof.export.adapter.keys import parse_key
from edgeproof.export.adapter.module_patterns import LONGEST
from edgeproof.export.base.mapped_file import BYTES_PER_VALUE
from edgeproof.export.base.safetensors_file import SafetensorsFile
from edgeproof.export.merge.blas import one_blas_thread

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeproof.contracts.tensors import Float32Array
    from edgeproof.export.adapter.config import AdapterConfig

_PICKLES = ("adapter_model.bin", "adapter_model.pt", "adapter_model.pth", "pytorch_model.bin")


def load_adapter(path: Path) -> Adapter:
    """Load the PEFT folder `path`; each LoRA factor is read once, for its norm.

    Raises:
        AdapterError: the folder or a file is missing, empty, pickled or damaged, a tensor holds NaN, parts of a LoRA
            are missing or of another rank than the config says, or the adapter does nothing (every B·A is zero).
        UnsupportedError: the adapter type or an option cannot be merged here.
        InputError: its name is not UTF-8.

    """
    one_blas_thread()
    refuse_unwritable_name(path)
    file = _open_weights(path)
    config = read_config(path)
    parts = _sort_keys(file)
    modules = sorted({target for part, target in parts if part in {"lora_A", "lora_B"}})
    embeddings = sorted({target for part, target in parts if part.startswith("lora_embedding_")})
    low_rank = {module: _low_rank(file, config, parts, module, "lora_") for module in modules}
    for module in embeddings:
        if module in low_rank:
            raise AdapterError(f"{file.path} has both lora_A and lora_embedding_A for {module}")
        low_rank[module] = _low_rank(file, config, parts, module, "lora_embedding_")
    _refuse_untargeted(path, config, low_rank)
    for part, target in parts:
        if part in {"magnitude", "lora_bias"} and target not in low_rank:
            raise AdapterError(
                f"{parts[part, target]} in {file.path} belongs to no LoRA: {target} has no lora_A and lora_B"
            )
    replaced = {target: AdapterTensor(file, key) for (part, target), key in parts.items() if part == "replaced"}
    saved_base = {target: AdapterTensor(file, key) for (part, target), key in parts.items() if part == "base_layer"}
    for name in config.modules_to_save:
        if not any(tensor.rpartition(".")[0].endswith(name) or f".{name}." in f".{tensor}" for tensor in replaced):
            raise AdapterError(
                f"{path / CONFIG} lists {name!r} in modules_to_save, and {file.path} holds no such tensor",
                next_step="save the adapter again with peft's save_pretrained",
            )
    token_rows = _token_rows(file, config, parts)
    idle = refuse_idle(path, low_rank, touches_more=bool(replaced or token_rows))
    hint = quantization_hint(path, config.base_name)
    warnings = tuple(warning for warning in (idle, hint) if warning)
    return Adapter(path, config, low_rank, replaced, saved_base, token_rows, warnings)


def _refuse_untargeted(path: Path, config: AdapterConfig, low_rank: Mapping[str, LowRank]) -> None:
    """Refuse weights that peft would load into no module: weights and config are then of different saves."""
    untargeted = [module for module in low_rank if config.leaves_out(module)]
    if untargeted:
        raise AdapterError(
            f"{path / WEIGHTS} has LoRAs on {len(low_rank)} modules; {len(untargeted)} of them, {untargeted[0]} first, "
            f"are not in target_modules (without exclude_modules) of {CONFIG}, and peft leaves them out",
            next_step="weights and config are of different saves: copy both again, or write into target_modules what "
            "was trained",
        )


def _open_weights(path: Path) -> SafetensorsFile:
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise AdapterError(
            f"the adapter {path} {what}; a PEFT folder is needed",
            next_step=f"give the folder that holds {CONFIG} and {WEIGHTS}",
        )
    if not any(path.iterdir()):
        raise AdapterError(f"the adapter folder {path} is empty", next_step=f"it must hold {CONFIG} and {WEIGHTS}")
    if not (path / WEIGHTS).is_file():
        pickled = next((name for name in _PICKLES if (path / name).is_file()), None)
        if pickled:
            raise AdapterError(
                f"{path} holds its weights as {pickled}, a pickle, which can run code when it is read",
                next_step="where you trust the file, load the adapter with peft and save it again with "
                f"save_pretrained(FOLDER), which writes {WEIGHTS}",
            )
        raise AdapterError(f"{path} has no {WEIGHTS}", next_step="give the folder that peft's save_pretrained wrote")
    file = SafetensorsFile(path / WEIGHTS, AdapterError)
    if not file.tensors:
        raise AdapterError(
            f"{file.path} holds no tensors",
            next_step="under DeepSpeed ZeRO-3 or FSDP the shards must be gathered before save_pretrained",
        )
    for info, _ in file.tensors.values():
        if info.dtype not in BYTES_PER_VALUE or 0 in info.shape:
            raise AdapterError(
                f"{info.name} in {file.path} is {info.dtype} {info.shape}; float32, float16 or bfloat16 with values is "
                "needed",
                next_step="under DeepSpeed ZeRO-3 or FSDP the shards must be gathered before save_pretrained",
            )
    return file


def _sort_keys(file: SafetensorsFile) -> dict[tuple[str, str], str]:
    """Map (part, target) to the key in the file; all keys must parse, be unique and belong to one adapter."""
    parts: dict[tuple[str, str], str] = {}
    adapters = set()
    for key in file.tensors:
        parsed = parse_key(key)
        if parsed is None:
            raise AdapterError(
                f"{key} in {file.path} is not a tensor of a LoRA",
                next_step="save the adapter with peft's save_pretrained, not the whole model's state_dict",
            )
        if len(parsed.target) > LONGEST:
            raise AdapterError(
                f"{file.path} names a module of {len(parsed.target):,} characters: {parsed.target[:40]}…; "
                f"{LONGEST:,} at most are read",
                next_step="copy the adapter again, or save it with peft's save_pretrained",
            )
        slot = (parsed.part, parsed.target)
        if slot in parts:
            raise AdapterError(f"{key} and {parts[slot]} in {file.path} are the same tensor under two names")
        parts[slot] = key
        if parsed.adapter:
            adapters.add(parsed.adapter)
    if len(adapters) > 1:
        raise AdapterError(
            f"{file.path} holds the tensors of several adapters: {', '.join(sorted(adapters))}",
            next_step="save each adapter to a folder of its own and give the folders in the order of merging",
        )
    return parts


def _low_rank(
    file: SafetensorsFile, config: AdapterConfig, parts: Mapping[tuple[str, str], str], module: str, prefix: str
) -> LowRank:
    keys = [parts.get((f"{prefix}{letter}", module)) for letter in "AB"]
    if keys[0] is None or keys[1] is None:
        missing = f"{prefix}{'A' if keys[0] is None else 'B'}"
        raise AdapterError(
            f"{file.path} has no {missing} for {module}", next_step="save the adapter again; it is incomplete"
        )
    A, B = (AdapterTensor(file, key) for key in keys if key)
    rank = config.rank_of(module)
    for letter, tensor, axis in (("A", A, 0), ("B", B, 1)):
        if len(tensor.shape) != 2:
            raise AdapterError(
                f"{tensor.key} in {file.path} has the shape {tensor.shape}; a matrix is needed",
                next_step="LoRA on convolutions is not supported; one shard of an FSDP or ZeRO-3 save looks so too",
            )
        if tensor.shape[axis] != rank:
            raise AdapterError(
                f"{prefix}{letter} of {module} in {file.path} has rank {tensor.shape[axis]}, {CONFIG} says {rank}",
                next_step="weights and config are of different saves: copy them again",
            )
    magnitude = _vector(file, parts.get(("magnitude", module)), B.shape[0])
    if config.use_dora != (magnitude is not None):
        has = "has a DoRA magnitude" if magnitude else "has no DoRA magnitude"
        raise AdapterError(
            f"{file.path} {has} for {module}, and use_dora is {str(config.use_dora).lower()} in {CONFIG}"
        )
    bias = _vector(file, parts.get(("lora_bias", module)), B.shape[0])
    scaling = config.scaling_of(module)
    norm = abs(scaling) * _product_norm(A.read(), B.read())
    return LowRank(module, A, B, scaling, prefix == "lora_embedding_", magnitude, bias, norm)


def _vector(file: SafetensorsFile, key: str | None, length: int) -> AdapterTensor | None:
    if key is None:
        return None
    tensor = AdapterTensor(file, key)
    if tensor.read().size != length:
        raise AdapterError(f"{key} in {file.path} has the shape {tensor.shape}; {length} values are needed")
    return tensor


def _token_rows(
    file: SafetensorsFile, config: AdapterConfig, parts: Mapping[tuple[str, str], str]
) -> dict[str, TokenRows]:
    found: dict[str, TokenRows] = {}
    for (part, module), key in parts.items():
        if part != "tokens":
            continue
        tensor = AdapterTensor(file, key)
        names = [name for name in config.token_indices if name and (module == name or module.endswith(f".{name}"))]
        indices = config.token_indices.get(names[0] if names else "")
        if indices is None or tensor.shape[:1] != (len(indices),) or len(tensor.shape) != 2:
            raise AdapterError(
                f"{key} in {file.path} has the shape {tensor.shape}, and trainable_token_indices names "
                f"{len(indices or ())} tokens for {module}",
                next_step="weights and config are of different saves: copy them again",
            )
        found[module] = TokenRows(module, indices, tensor)
    if config.token_indices and not found:
        raise AdapterError(f"{file.path} holds no rows for the trainable_token_indices of {CONFIG}")
    return found


def _product_norm(A: Float32Array, B: Float32Array) -> float:
    """Return ‖B·A‖ without computing B·A: ‖B·A‖² = Σ (Bᵀ·B) ∘ (A·Aᵀ), in float64."""
    left, right = B.astype(np.float64), A.astype(np.float64)
    return float(np.sqrt(max(0.0, float(np.sum((left.T @ left) * (right @ right.T))))))
