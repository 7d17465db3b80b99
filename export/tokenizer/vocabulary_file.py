"""Write a GGUF that holds a vocabulary and no weights: a tokenizer is proved before gigabytes are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from edgeproof.contracts.tensors import MetadataEntry


def write_vocab_gguf(entries: Iterable[MetadataEntry], architecture: str, path: Path) -> None:
    """Write `entries` to `path` as llama.cpp's `vocab_only` loads them.

    Args:
        entries: the keys `tokenizer.*`; others are written too. Pass `general.name` as it will be in the final file:
            llama.cpp lets markers of a model named "phi-3" swallow the spaces after them.
        architecture: a name of llama.cpp ("llama", "qwen3", …).
        path: the file; it is replaced.

    """
    from gguf import GGUFValueType, GGUFWriter

    writer = GGUFWriter(path, architecture)
    for entry in entries:
        if entry.key == "general.architecture":
            continue  # the writer's own
        item = None if entry.item_kind is None else GGUFValueType[entry.item_kind]
        writer.add_key_value(entry.key, entry.value, GGUFValueType[entry.kind], item)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
