"""Matching of a checkpoint's tensors with those that its configuration implies: none missing, extra or misshapen."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import CheckpointError, TokenizerError
from edgeproof.contracts.tensors import CHUNK_BYTES, OutputTensor

from .config import unsupported

if TYPE_CHECKING:
    from edgeproof.contracts.tensors import Checkpoint, TensorInfo

    from .family import Family, TensorPlace
    from .hyper_parameters import HyperParameters

FLOATS = frozenset({"F32", "F16", "BF16"})
DROPPED = re.compile(r"(\.rotary_emb\.inv_freq|\.attention\.bias|\.attention\.masked_bias)$")
"""Buffers that old checkpoints store beside the weights; they follow from the configuration."""

TABLE = "model.embed_tokens.weight"
OUTPUT = "lm_head.weight"
SHOWN = 3
"""Number of missing tensors that a message names."""


def place_tensors(
    checkpoint: Checkpoint, family: Family, model: HyperParameters, *, tokens: int | None
) -> list[OutputTensor]:
    """Assign a place to every tensor of the checkpoint, in the checkpoint's order.

    `tokens`: number of the tokenizer's tokens; None leaves the embedding table as it is.

    Raises the errors of `describe`.
    """
    found = {
        plain: OutputTensor(place.name, source, _squeezed(place.shape), place.transform, place.row_group)
        for plain, (source, place) in match_tensors(checkpoint, family, model).items()
    }
    if OUTPUT in found and not family.reads_output:
        output, table = found.pop(OUTPUT), found[TABLE]
        check_equal(checkpoint, output.source, table.source, *table.shape)
    found[TABLE] = _fit_to_tokenizer(found[TABLE], tokens, cut=family.cuts_table)
    return list(found.values())


def match_tensors(checkpoint: Checkpoint, family: Family, model: HyperParameters) -> dict[str, tuple[str, TensorPlace]]:
    """Find every tensor that the hyper-parameters imply; return the checkpoint's name by the family's own name.

    Raises:
        UnsupportedError: a tensor's stored type is not a type of weights.
        CheckpointError: a tensor is missing, has another shape than the configuration implies, or has no place.

    """
    places = family.places(model)
    found: dict[str, tuple[str, TensorPlace]] = {}
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
                f"{checkpoint.path}: {source} and {found[plain][0]} are the same tensor under two names",
                next_step="remove one of them",
            )
        _check(checkpoint, info, place)
        found[plain] = source, place
    missing = [source for source, place in places.items() if place.required and source not in found]
    if missing:
        raise CheckpointError(
            f"{checkpoint.path}: {len(missing)} of {len(places)} tensors are missing: {', '.join(missing[:SHOWN])}"
            f"{', …' if len(missing) > SHOWN else ''}",
            next_step="check that every shard is there and that config.json belongs to these weights",
        )
    return found


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


def _check(checkpoint: Checkpoint, info: TensorInfo, place: TensorPlace) -> None:
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
    """Drop the channel dimension of a depthwise convolution, [hidden, 1, taps]: llama.cpp's has two dimensions."""
    return shape if len(shape) < 3 else (shape[0], shape[-1])


def check_equal(checkpoint: Checkpoint, output: str, table: str, rows: int, columns: int) -> None:
    """Compare a stored output projection with the embedding table, both [rows, columns]; the graph has one table.

    Raises:
        UnsupportedError: they differ.

    """
    step = max(1, CHUNK_BYTES // (4 * columns))
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        ours, theirs = checkpoint.rows(output, start, stop), checkpoint.rows(table, start, stop)
        if not (ours == theirs).all():
            raise unsupported(
                f"{checkpoint.path}: {output} differs from {table} between rows {start} and {stop}; "
                "the graph of this model uses the embedding table for both"
            )


def _fit_to_tokenizer(table: OutputTensor, tokens: int | None, *, cut: bool) -> OutputTensor:
    """Fit the embedding table to the tokenizer; llama.cpp requires exactly one row per token."""
    rows, columns = table.shape
    if tokens is None or tokens == rows:
        return table
    if cut and tokens < rows:
        return replace(table, shape=(tokens, columns))
    raise TokenizerError(
        f"the tokenizer has {tokens} tokens, {table.source} has {rows} rows",
        next_step="use the tokenizer that belongs to these weights",
    )
