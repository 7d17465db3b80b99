"""The model families that edgeproof describes itself: one entry each, for every output format.

A new family is one new file with a `Family`, and one line in `FAMILIES`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sized
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import CheckpointError, TokenizerError, UnsupportedError
from edgeproof.contracts.tensors import CHUNK_BYTES, MetadataEntry, ModelDescription, OutputTensor

from .config import WAYS_ROUND, Config, unsupported
from .gemma import GEMMA2, GEMMA3
from .general import general_metadata
from .lfm2 import LFM2
from .llama import LLAMA, MISTRAL
from .metadata import QUANTIZATION_VERSION, text
from .phi3 import PHI3
from .qwen import QWEN2, QWEN3

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.contracts.tensors import Checkpoint, TensorInfo

    from .family import Family, Place
    from .hyper_parameters import HyperParameters

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "LlamaForCausalLM": LLAMA,
        "MistralForCausalLM": MISTRAL,
        "Qwen2ForCausalLM": QWEN2,
        "Qwen3ForCausalLM": QWEN3,
        "Gemma2ForCausalLM": GEMMA2,
        "Gemma3ForCausalLM": GEMMA3,
        "Gemma3ForConditionalGeneration": GEMMA3,
        "Phi3ForCausalLM": PHI3,
        "Lfm2ForCausalLM": LFM2,
    }
)
"""By the class that `config.json` names first under "architectures"."""

FLOATS = frozenset({"F32", "F16", "BF16"})
DROPPED = re.compile(r"(\.rotary_emb\.inv_freq|\.attention\.bias|\.attention\.masked_bias)$")
"""Buffers that old checkpoints stored beside the weights; they follow from the configuration."""

TABLE = "model.embed_tokens.weight"
OUTPUT = "lm_head.weight"
SHOWN = 3
"""How many missing tensors a message names."""


def find_family(config: Mapping[str, object]) -> tuple[str, Family]:
    """Return the class that `config.json` names and the family that describes it.

    Raises:
        UnsupportedError: none does; names what was found and the ways round it.

    """
    names = Config(config).items("architectures") or []
    found = names[0] if names else None
    if isinstance(found, str) and found in FAMILIES:
        return found, FAMILIES[found]
    raise UnsupportedError(
        f"config.json names the architecture {found!r} (model_type {config.get('model_type')!r}); "
        f"edgeproof describes {', '.join(FAMILIES)}",
        next_step=WAYS_ROUND,
    )


def read_hyper_parameters(config: Mapping[str, object]) -> HyperParameters:
    """Read what defines the model from `config.json`, in the layout of transformers 5 or the older one.

    Raises:
        UnsupportedError: an unknown class, or an option that llama.cpp's graph would compute otherwise.
        CheckpointError: a key is missing or of another type.

    """
    class_name, family = find_family(config)
    return family.read(Config(config), class_name)


def describe(
    checkpoint: Checkpoint, tokenizer_metadata: Sequence[MetadataEntry], *, name: str | None
) -> ModelDescription:
    """Describe the GGUF file of `checkpoint`, as llama.cpp's converter would write it.

    Args:
        checkpoint: a Hugging Face folder's weights, merged or not. No rows are read, but for the one check that a
            stored output projection equals the embedding table where the graph has no other.
        tokenizer_metadata: the `tokenizer.*` entries; they come last.
        name: `general.name`; None takes the model card's or the configuration's (see `general`).

    Raises:
        UnsupportedError: an unknown class, or an option that llama.cpp's graph would compute otherwise.
        CheckpointError: a tensor is missing, has another shape than the configuration implies, or has no place.
        TokenizerError: the tokenizer has another number of tokens than the embedding table rows.

    """
    class_name, family = find_family(checkpoint.config)
    model = family.read(Config(checkpoint.config), class_name)
    tensors = [*family.constants(model), *_match(checkpoint, family, model, _tokens(tokenizer_metadata))]
    parameters = sum(math.prod(tensor.shape) for tensor in tensors)
    general, warnings = general_metadata(
        checkpoint.path, checkpoint.config, name=name, architecture=family.gguf, parameters=parameters
    )
    metadata = (
        text("general.architecture", family.gguf),
        *family.early(model),
        *general,
        *family.metadata(model),
        QUANTIZATION_VERSION,
        *tokenizer_metadata,
    )
    return ModelDescription(family.gguf, metadata, tuple(tensors), (*warnings, *family.warnings(model)))


def _match(checkpoint: Checkpoint, family: Family, model: HyperParameters, tokens: int | None) -> list[OutputTensor]:
    """Give every tensor of the checkpoint its place, in the checkpoint's order."""
    places = family.places(model)
    found: dict[str, OutputTensor] = {}
    for source, info in checkpoint.tensors.items():
        if DROPPED.search(source) or source.startswith(family.foreign):
            continue
        plain = _strip(source, family)
        place = places.get(plain)
        if place is None:
            raise CheckpointError(
                f"{checkpoint.path}: tensor {source} {list(info.shape)} has no place in a {model.class_name} of "
                f"{model.layers} layers{_hint(model, plain)}",
                next_step="check that config.json belongs to these weights",
            )
        if plain in found:
            raise CheckpointError(
                f"{checkpoint.path}: {source} and {found[plain].source} are the same tensor under two names",
                next_step="take one of them away",
            )
        _check(checkpoint, info, place)
        found[plain] = OutputTensor(place.name, source, _squeezed(place.shape), place.transform, place.row_group)
    missing = [source for source, place in places.items() if place.required and source not in found]
    if missing:
        raise CheckpointError(
            f"{checkpoint.path}: {len(missing)} of {len(places)} tensors are missing: {', '.join(missing[:SHOWN])}"
            f"{', …' if len(missing) > SHOWN else ''}",
            next_step="check that every shard is there and that config.json belongs to these weights",
        )
    if OUTPUT in found and not family.reads_output:
        _check_equal(checkpoint, found.pop(OUTPUT), found[TABLE])
    found[TABLE] = _fit_to_tokenizer(found[TABLE], tokens, cut=family.cuts_table)
    return list(found.values())


def _strip(source: str, family: Family) -> str:
    for prefix, replacement in family.prefixes:
        if source.startswith(prefix):
            return replacement + source.removeprefix(prefix)
    return source


def _hint(model: HyperParameters, source: str) -> str:
    layer = re.match(r"model\.layers\.(\d+)\.", source)
    if layer and int(layer[1]) >= model.layers:
        return f": the weights have layer {layer[1]} and more"
    if source.endswith(".bias"):
        return " without that bias"
    return ""


def _check(checkpoint: Checkpoint, info: TensorInfo, place: Place) -> None:
    if info.dtype not in FLOATS:
        raise unsupported(
            f"{checkpoint.path}: tensor {info.name} is stored as {info.dtype}; known: {', '.join(sorted(FLOATS))}"
        )
    if info.shape != place.shape:
        raise CheckpointError(
            f"{checkpoint.path}: tensor {info.name} is {list(info.shape)}; config.json implies {list(place.shape)}",
            next_step="check that config.json belongs to these weights",
        )


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Drop the channel of a depthwise convolution, [hidden, 1, taps]: llama.cpp's has two dimensions."""
    return shape if len(shape) < 3 else (shape[0], shape[-1])


def _check_equal(checkpoint: Checkpoint, output: OutputTensor, table: OutputTensor) -> None:
    rows, columns = table.shape
    step = max(1, CHUNK_BYTES // (4 * columns))
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        ours, theirs = checkpoint.rows(output.source, start, stop), checkpoint.rows(table.source, start, stop)
        if not (ours == theirs).all():
            raise unsupported(
                f"{checkpoint.path}: {output.source} differs from {table.source} between rows {start} and {stop}; "
                "llama.cpp's graph for this family uses the embedding table for both"
            )


def _fit_to_tokenizer(table: OutputTensor, tokens: int | None, *, cut: bool) -> OutputTensor:
    """Hold the embedding table against the tokenizer; llama.cpp wants a row for each token and no more."""
    rows, columns = table.shape
    if tokens is None or tokens == rows:
        return table
    if cut and tokens < rows:
        return replace(table, shape=(tokens, columns))
    raise TokenizerError(
        f"the tokenizer has {tokens} tokens, {table.source} has {rows} rows",
        next_step="use the tokenizer that belongs to these weights",
    )


def _tokens(tokenizer_metadata: Sequence[MetadataEntry]) -> int | None:
    """Return the number of tokens, None where no list of tokens is given."""
    for entry in tokenizer_metadata:
        if entry.key == "tokenizer.ggml.tokens":
            assert isinstance(entry.value, Sized)
            return len(entry.value)
    return None
