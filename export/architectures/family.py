"""What one file of a family offers: how to read its configuration, and how GGUF names what it finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.tensors import identity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeproof.contracts.tensors import Float32Array, MetadataEntry, OutputTensor

    from .config import Config
    from .hyper_parameters import HyperParameters


class TensorPlace(NamedTuple):
    """Where a checkpoint's tensor goes.

    Attributes:
        name: GGUF's name.
        shape: what the hyper-parameters imply for the checkpoint's tensor.
        transform, row_group: as in `OutputTensor`.
        required: its absence is an error.

    """

    name: str
    shape: tuple[int, ...]
    transform: Callable[[Float32Array], Float32Array] = identity
    row_group: int = 1
    required: bool = True


def nothing(_model: HyperParameters) -> tuple[()]:
    """Return nothing: most families need no constants, no early keys and no warnings."""
    return ()


class Family(NamedTuple):
    """One family of models.

    Attributes:
        gguf: llama.cpp's name of the architecture.
        read: hyper-parameters from `config.json`; refuses what llama.cpp's graph would compute otherwise.
        places: by the checkpoint's tensor name, for every tensor that the hyper-parameters imply.
        metadata: GGUF's keys behind the general ones.
        constants: tensors that no checkpoint holds; they come first in the file.
        early: keys that llama.cpp's converter happens to write before the general ones.
        warnings: where llama.cpp's graph differs from the checkpoint's in some use.
        prefixes: what to strip from the checkpoint's tensor names, with what replaces it.
        foreign: beginnings of the names of tensors that belong to other parts (a vision tower) and are left out.
        cuts_table: rows of the embedding table behind the tokenizer's last token are cut off.
        reads_output: the graph reads a stored output projection; without, it must equal the embedding table.

    """

    gguf: str
    read: Callable[[Config, str], HyperParameters]
    places: Callable[[HyperParameters], Mapping[str, TensorPlace]]
    metadata: Callable[[HyperParameters], list[MetadataEntry]]
    constants: Callable[[HyperParameters], tuple[OutputTensor, ...]] = nothing
    early: Callable[[HyperParameters], tuple[MetadataEntry, ...]] = nothing
    warnings: Callable[[HyperParameters], tuple[str, ...]] = nothing
    prefixes: tuple[tuple[str, str], ...] = ()
    foreign: tuple[str, ...] = ()
    cuts_table: bool = False
    reads_output: bool = True


def sliding_is_ignored(model: HyperParameters) -> tuple[str, ...]:
    """Warn where a model slides its attention and llama.cpp's graph for it does not."""
    window = model.sliding_window
    if window is None or window >= model.context_length:
        return ()
    limit = f"{model.class_name} attends to the last {window} tokens only; llama.cpp's graph attends to all"
    return (f"{limit}: the two agree on texts of up to {window} tokens",)
