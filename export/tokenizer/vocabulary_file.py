"""Writer of a GGUF with a vocabulary and no weights, to prove a tokenizer before the weights are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from edgeproof.contracts.tensors import MetadataEntry


def write_vocab_gguf(entries: Iterable[MetadataEntry], architecture: str, path: Path) -> None:
    """Write `entries` to `path` in the form that llama.cpp's `vocab_only` loads.

    Args:
        entries: the keys `tokenizer.*`; others are written too. Pass the final file's `general.name`: llama.cpp strips
            the spaces after markers of a model named "phi-3".
        architecture: llama.cpp's name ("llama", "qwen3", …).
        path: the file, replaced if it exists.

    """
    from gguf import GGUFValueType, GGUFWriter

    writer = GGUFWriter(path, architecture)
    for entry in entries:
        if entry.key == "general.architecture":
            continue  # set by the writer
        item = None if entry.item_kind is None else GGUFValueType[entry.item_kind]
        writer.add_key_value(entry.key, entry.value, GGUFValueType[entry.kind], item)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
