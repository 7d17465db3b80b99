"""Hugging Face folder as a `Checkpoint`: config.json and safetensors, one file or shards with an index."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from edgeproof.contracts.errors import CheckpointError, UnsupportedError
from edgeproof.contracts.parsing import parse_json, read_file
from edgeproof.export.base.mapped_file import BYTES_PER_VALUE
from edgeproof.export.base.safetensors_file import SafetensorsFile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeproof.contracts.tensors import Float32Array, TensorInfo

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
LONGEST_NAME = 255
TABLE = "embed_tokens.weight"
_PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt")
_BUFFERS = {"I64", "BOOL"}
"""Types of buffers in old checkpoints (position ids, causal masks); weights never have these types."""


class FolderCheckpoint:
    """A Hugging Face folder. `files` are the files read, config.json first."""

    def __init__(self, path: Path, config: Mapping[str, object], shards: tuple[SafetensorsFile, ...]) -> None:
        self.path = path
        self.config = config
        self.files = (path / "config.json", *(shard.path for shard in shards))
        self._shard_of = {name: shard for shard in shards for name in shard.tensors}
        self.tensors: Mapping[str, TensorInfo] = {
            name: shard.tensors[name].info
            for name, shard in self._shard_of.items()
            if shard.tensors[name].info.dtype not in _BUFFERS
        }

    def rows(self, name: str, start: int, stop: int) -> Float32Array:
        """Rows `start` to `stop` as a fresh, C-contiguous float32 array [stop - start, columns]. Thread-safe.

        Raises:
            CheckpointError: a value is NaN or Inf; the message names the tensor and the row.

        """
        return self._shard_of[name].values(name, start, stop)


def open_checkpoint(path: Path) -> FolderCheckpoint:
    """Open the Hugging Face folder `path`; no weight is read yet.

    Weights are float32, float16 or bfloat16 in `model.safetensors`, or in the shards that
    `model.safetensors.index.json` names, all within the folder.

    Raises:
        CheckpointError: the folder, a shard or a tensor is missing, a file is truncated or inconsistent, a shard
            lies outside the folder, config.json is missing or broken, or the weights are pickled.
        UnsupportedError: the weights are quantized.

    """
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise CheckpointError(
            f"the base {path} {what}; a Hugging Face folder or a GGUF file is needed",
            next_step="give the folder that holds config.json and model.safetensors",
        )
    config = _read_object(path / "config.json")
    if not isinstance(kind := config.get("model_type"), str | None):
        raise CheckpointError(
            f"{path / 'config.json'}: `model_type` is a {type(kind).__name__}, not the name of a family of models",
            next_step="download config.json again",
        )
    quantization = config.get("quantization_config")
    if quantization:
        method = quantization.get("quant_method", "unknown") if isinstance(quantization, dict) else quantization
        raise _quantized(path, f"its config.json has a quantization_config (quant_method {method!r})")
    shards = _open_shards(path)
    for shard in shards:
        for info, _ in shard.tensors.values():
            if info.dtype not in BYTES_PER_VALUE and info.dtype not in _BUFFERS:
                raise _quantized(path, f"{info.name} is stored as {info.dtype}")
    checkpoint = FolderCheckpoint(path, config, shards)
    _refuse_other_sizes(checkpoint)
    return checkpoint


def _refuse_other_sizes(checkpoint: FolderCheckpoint) -> None:
    """Refuse counts that contradict the weights, before anything of that size is allocated."""
    text = checkpoint.config.get("text_config")
    config = {**checkpoint.config, **text} if isinstance(text, dict) else checkpoint.config
    tokens, layers, count = config.get("vocab_size"), config.get("num_hidden_layers"), len(checkpoint.tensors)
    for name, info in checkpoint.tensors.items():
        if name.endswith(TABLE) and info.shape and isinstance(tokens, int) and tokens > info.shape[0]:
            raise CheckpointError(
                f"{checkpoint.path}: config.json says vocab_size = {tokens:,}; {name} has {info.shape[0]:,} rows",
                next_step="check that config.json belongs to these weights",
            )
    if isinstance(layers, int) and layers > count:
        raise CheckpointError(
            f"{checkpoint.path}: config.json says num_hidden_layers = {layers:,}; there are {count:,} tensors in all",
            next_step="check that config.json belongs to these weights",
        )


def _open_shards(path: Path) -> tuple[SafetensorsFile, ...]:
    if (path / INDEX).is_file():
        return _open_indexed(path)
    if (path / SINGLE).is_file():
        return (SafetensorsFile(path / SINGLE, CheckpointError),)
    pickled = sorted(found.name for pattern in _PICKLES for found in path.glob(pattern))
    if pickled:
        raise CheckpointError(
            f"{path} holds its weights as {pickled[0]}, a pickle, which can run code when it is read",
            next_step="if you trust the file, load the model with transformers and save it again with "
            "save_pretrained(FOLDER), which writes model.safetensors",
        )
    raise CheckpointError(
        f"{path} holds neither {SINGLE} nor {INDEX}",
        next_step="give the folder of a whole checkpoint (is the download complete?)",
    )


def _open_indexed(path: Path) -> tuple[SafetensorsFile, ...]:
    weight_map = _read_object(path / INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{path / INDEX} has no weight_map", next_step="copy or download the file again")
    promised: dict[str, set[str]] = {}
    for name, shard in weight_map.items():
        if not isinstance(shard, str):
            raise CheckpointError(f"{path / INDEX} gives {name} the shard {shard!r}, which is not a file name")
        promised.setdefault(shard, set()).add(name)
    shards = []
    for file_name in sorted(promised):
        shard = SafetensorsFile(_within(path, file_name), CheckpointError)
        missing = sorted(promised[file_name] - shard.tensors.keys())
        if missing:
            raise CheckpointError(
                f"{path / INDEX} says that {file_name} holds {missing[0]}, and it does not ({len(missing)} such "
                "tensors)",
                next_step="index and shards are of different saves: copy or download them again",
            )
        extra = sorted(shard.tensors.keys() - promised[file_name])
        if extra:
            raise CheckpointError(
                f"{file_name} holds {extra[0]}, which {path / INDEX} does not list in it ({len(extra)} such tensors)",
                next_step="index and shards are of different saves: copy or download them again",
            )
        shards.append(shard)
    return tuple(shards)


def _within(path: Path, file_name: str) -> Path:
    """Return the shard's path, which must lie in the folder itself.

    The only links allowed out of it are those of the Hugging Face cache, where a snapshot's files are links into the
    `blobs` folder of the same repository.
    """
    shard = path / file_name
    allowed = [path.resolve()]
    if path.resolve().parent.name == "snapshots":
        allowed.append(path.resolve().parent.parent / "blobs")
    plain = not set(file_name) & set("/\\\0") and file_name not in {"", ".", ".."} and len(file_name) <= LONGEST_NAME
    if plain and not shard.is_file():
        raise CheckpointError(
            f"{path / INDEX} names the shard {file_name}, which is missing", next_step="complete the download"
        )
    if not plain or shard.resolve().parent not in allowed:
        raise CheckpointError(
            f"{path / INDEX} names the shard {file_name[:80]!r}, which lies outside the folder",
            next_step="do not use this checkpoint unless you know who made it; put real files into one folder",
        )
    return shard


def _read_object(path: Path) -> dict[str, object]:
    """Read a JSON object of the checkpoint."""
    try:
        value = parse_json(read_file(path).decode())
    except OSError as failure:
        raise CheckpointError(
            f"cannot read {path}: {failure.strerror}", next_step="give the folder of a whole checkpoint"
        ) from failure
    except ValueError as failure:
        raise CheckpointError(f"{path} is not JSON: {failure}", next_step="copy or download it again") from failure
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is not a JSON object")
    return cast("dict[str, object]", value)


def _quantized(path: Path, why: str) -> UnsupportedError:
    return UnsupportedError(
        f"the base {path} is quantized: {why}. A merge into rounded weights would be quantized twice",
        next_step="give the float checkpoint from which it was made (float32, float16 or bfloat16)",
    )
