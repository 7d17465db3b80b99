"""Refuses an ONNX folder that onnxruntime-genai would not run as it is measured here: by another graph, or not at all.

One graph is measured: the one that genai_config.json names as the decoder. A pipeline, an encoder, a second graph
beside it, a library of operators or weights taken from elsewhere would run on the device without having been asked.
The ranges of numbers are those that onnxruntime-genai 0.18 loads (src/config.cpp).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

GRAPHS = frozenset({".onnx", ".ort"})
DECODER = "model.decoder.filename"
_ELSEWHERE = re.compile(r"filename|librar|path|initializer|pipeline|ep_context|ep\.context", re.IGNORECASE)
"""Keys by which genai_config.json leads to another file."""
_NOT_LESS: Mapping[str, int | None] = {
    "model.vocab_size": 1, "model.context_length": 1, "model.bos_token_id": None, "model.pad_token_id": None,
    "model.sep_token_id": None, "model.decoder_start_token_id": None,
    "model.decoder.hidden_size": 1, "model.decoder.head_size": 1, "model.decoder.num_attention_heads": 1,
    "model.decoder.num_key_value_heads": 1, "model.decoder.num_hidden_layers": 1,
    "search.max_length": 0, "search.min_length": 0, "search.num_beams": 1, "search.num_return_sequences": 1,
    "search.batch_size": 1, "search.top_k": 0, "search.no_repeat_ngram_size": 0,
}  # fmt: skip
"""Whole numbers of 32 bits, and what each is at least."""
_LARGEST = 2**31 - 1


def refuse_other_graphs(folder: Path, path: Path, values: Mapping[str, object], graph: str) -> None:
    """Check the folder's files and what its genai_config.json, at `path` with the content `values`, leads to.

    Args:
        folder: what is measured.
        path: of genai_config.json.
        values: its content.
        graph: the file name of the decoder's graph.

    Raises:
        ArtifactError: a second graph in the folder; a graph, library or path beside the decoder's in the file.

    """
    others = sorted(one.name for one in folder.iterdir() if one.suffix.lower() in GRAPHS and one.name != graph)
    if others:
        raise ArtifactError(
            f"{folder} holds {len(others)} graphs beside {graph}: {', '.join(others[:3])}; only {graph} is measured",
            next_step="take away what does not belong to this model, or export again",
        )
    for key, value in _leaves(values, ""):
        if key != DECODER and _ELSEWHERE.search(key) and value not in (None, "", False):
            raise ArtifactError(
                f"{path}: {key} is {str(value)[:80]!r}: it leads to what is not measured; one decoder graph is",
                next_step="remove the key, or gate a folder with one decoder graph",
            )


def check_numbers(path: Path, values: Mapping[str, object]) -> None:
    """Check the numbers of genai_config.json that onnxruntime-genai refuses folders for.

    Raises:
        ArtifactError: one is null, no whole number, or out of its range.

    """
    for key, value in _leaves(values, ""):
        if key not in _NOT_LESS:
            continue
        least = _NOT_LESS[key]
        least = -_LARGEST if least is None else least
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _LARGEST:
            raise ArtifactError(
                f"{path}: {key} is {value!r}, not a whole number from {least:,} to {_LARGEST:,}: onnxruntime-genai "
                "does not load it",
                next_step="export the folder again, or put the genai_config.json back that belongs to its graph",
            )


def _leaves(values: Mapping[str, object], place: str) -> Iterator[tuple[str, object]]:
    """All values that are no tables, by their place in the file; an empty table or list has none."""
    for key, value in values.items():
        where = f"{place}.{key}" if place else str(key)
        parts = [value] if isinstance(value, dict) else value if isinstance(value, list) else []
        tables = [part for part in parts if isinstance(part, dict)]
        for table in tables:
            yield from _leaves(table, where)
        if not tables and value != {}:
            yield where, value
