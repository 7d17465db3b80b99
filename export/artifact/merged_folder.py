"""Writer of a merge as a float32 Hugging Face folder, the input of external converters.

The safetensors format is 8 bytes of header length, a JSON header, the data (github.com/huggingface/safetensors, README,
"Format").
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import OutputError
from edgeproof.contracts.tensors import CHUNK_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from edgeproof.contracts.progress import Progress
    from edgeproof.contracts.tensors import Checkpoint

WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".onnx", ".h5", ".msgpack", ".index.json")
"""Suffixes of files that hold the base's weights and are not copied."""


def write_merged_folder(
    model: Checkpoint, source: Path, folder: Path, *, progress: Progress, option: str = "--converter"
) -> None:
    """Write `model` to the empty `folder` as one float32 `model.safetensors`, with `source`'s other files.

    Args:
        model: the merge; its `config` is written as `config.json`, with the stored type set to float32.
        source: the base's folder; tokenizer and model card are copied from it.
        folder: an existing, empty folder. The caller removes it.
        progress: receives progress in bytes.
        option: the option that needs the folder, for messages.

    Raises:
        OutputError: the disk is full or the folder cannot be written.

    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for info in model.tensors.values():
        size = 4 * info.rows * info.columns
        header[info.name] = {"dtype": "F32", "shape": list(info.shape), "data_offsets": [offset, offset + size]}
        offset += size
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    progress.start(f"Merge for {option}", offset, "bytes")
    try:
        for path in sorted(source.iterdir()):
            if path.is_file() and not path.name.endswith(WEIGHTS) and path.name != "config.json":
                shutil.copyfile(path, folder / path.name)
        config = dict(model.config) | {"torch_dtype": "float32"}
        config.pop("dtype", None)
        (folder / "config.json").write_text(json.dumps(config, indent=2))
        with (folder / "model.safetensors").open("wb") as file:
            file.write(len(encoded).to_bytes(8, "little") + encoded)
            for info in model.tensors.values():
                step = max(1, CHUNK_BYTES // (4 * info.columns))
                for start in range(0, info.rows, step):
                    rows = model.rows(info.name, start, min(start + step, info.rows))
                    file.write(rows.tobytes())
                    progress.advance(rows.nbytes)
    except OSError as error:
        raise OutputError(
            f"cannot write the merged checkpoint ({offset / 2**20:.0f} MB) to {folder}: {error.strerror}",
            next_step=f"{option} needs space for two float32 checkpoints; free some, or put --out on another disk",
        ) from error
