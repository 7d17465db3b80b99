"""Reader for `genai_config.json`: names and sizes of the graph's inputs and outputs.

Its keys are those of onnxruntime-genai ("Generative AI Config reference", onnxruntime.ai); missing names of inputs have
onnxruntime-genai's defaults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import ArtifactError
from edgeproof.contracts.onnx_folder import NAME, named_graph, read_genai_config
from edgeproof.runtime.onnxruntime.loadable import check_values

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_NEXT = "export the folder again, or restore the genai_config.json of its graph"


class GenaiConfig(NamedTuple):
    """Content of genai_config.json.

    Attributes:
        graph: path of the graph that it names.
        layers: layers with a key-value memory.
        heads: query heads.
        kv_heads: key-value heads.
        head_size: width of one head.
        vocabulary: number of logits.
        context_length: the model's training context, in tokens.
        ends: ids that end a generation.
        bos: id of the BOS, if the tokenizer adds one; None if missing.
        input_ids: name of the token input.
        attention_mask: name of the mask input.
        position_ids: name of the position input, if the graph has one.
        logits: name of the logits output.
        past: names of the key-value inputs, key and value of each layer alternating.
        present: names of the key-value outputs, in the same order.

    """

    graph: Path
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    context_length: int
    ends: frozenset[int]
    bos: int | None
    input_ids: str
    attention_mask: str
    position_ids: str
    logits: str
    past: tuple[str, ...]
    present: tuple[str, ...]


def read_config(folder: Path) -> GenaiConfig:
    """Read `folder`/genai_config.json.

    Raises:
        ArtifactError: the file is missing, not JSON, lacks keys of a decoder, or refers to more than one decoder graph.

    """
    path = folder / NAME
    values = read_genai_config(folder)
    model = _table(path, values, "model")
    decoder = _table(path, model, "model.decoder")
    inputs = _table(path, decoder, "model.decoder.inputs")
    outputs = _table(path, decoder, "model.decoder.outputs")
    layers = _count(path, decoder, "model.decoder.num_hidden_layers")
    bos = model.get("bos_token_id")
    graph = named_graph(folder, values)
    check_values(path, values)
    return GenaiConfig(
        graph=graph,
        layers=layers,
        heads=_count(path, decoder, "model.decoder.num_attention_heads"),
        kv_heads=_count(path, decoder, "model.decoder.num_key_value_heads"),
        head_size=_count(path, decoder, "model.decoder.head_size"),
        vocabulary=_count(path, model, "model.vocab_size"),
        context_length=_count(path, model, "model.context_length"),
        ends=_ids(path, model),
        bos=bos if isinstance(bos, int) and bos >= 0 else None,
        input_ids=_text(path, inputs, "model.decoder.inputs.input_ids", "input_ids"),
        attention_mask=_text(path, inputs, "model.decoder.inputs.attention_mask", "attention_mask"),
        position_ids=_text(path, inputs, "model.decoder.inputs.position_ids", "position_ids"),
        logits=_text(path, outputs, "model.decoder.outputs.logits", "logits"),
        past=_names(path, inputs, "model.decoder.inputs.past", "past_key_values.%d", layers),
        present=_names(path, outputs, "model.decoder.outputs.present", "present.%d", layers),
    )


def _table(path: Path, values: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = values.get(key.rpartition(".")[2])
    if not isinstance(value, dict):
        raise ArtifactError(f"{path} has no table {key!r}", next_step=_NEXT)
    return value


def _count(path: Path, values: Mapping[str, object], key: str) -> int:
    value = values.get(key.rpartition(".")[2])
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ArtifactError(f"{path}: {key} is {value!r}, not a number of 1 or more", next_step=_NEXT)
    return value


def _text(path: Path, values: Mapping[str, object], key: str, default: str) -> str:
    value = values.get(key.rpartition(".")[2], default)
    if not isinstance(value, str) or not value:
        raise ArtifactError(f"{path}: {key} is {value!r}, not a name", next_step=_NEXT)
    return value


def _names(path: Path, values: Mapping[str, object], key: str, default: str, layers: int) -> tuple[str, ...]:
    """Return the names of key and value of each layer, from the file's patterns with one %d."""
    patterns = [_text(path, values, f"{key}_{what}_names", f"{default}.{what}") for what in ("key", "value")]
    for pattern in patterns:
        if pattern.count("%d") != 1 or pattern.count("%") != 1:
            raise ArtifactError(f"{path}: {key}_*_names is {pattern!r}, without its one %d", next_step=_NEXT)
    return tuple(pattern.replace("%d", str(layer)) for layer in range(layers) for pattern in patterns)


def _ids(path: Path, model: Mapping[str, object]) -> frozenset[int]:
    value = model.get("eos_token_id")
    ids = value if isinstance(value, list) else [value]
    if not ids or not all(isinstance(one, int) and not isinstance(one, bool) for one in ids):
        raise ArtifactError(f"{path}: model.eos_token_id is {value!r}, not one id or more", next_step=_NEXT)
    size = _count(path, model, "model.vocab_size")
    if min(ids) < 0 or max(ids) >= size:
        raise ArtifactError(
            f"{path}: model.eos_token_id is {value!r}; the vocabulary has the ids 0 to {size - 1:,}", next_step=_NEXT
        )
    return frozenset(ids)
