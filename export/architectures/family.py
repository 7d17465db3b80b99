"""Interface of a model family: reader of its configuration, GGUF names of its tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.tensors import identity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeproof.contracts.tensors import Float32Array, MetadataEntry, OutputTensor

    from .config import Config
    from .hyper_parameters import HyperParameters


class TensorPlace(NamedTuple):
    """Destination of a checkpoint's tensor.

    Attributes:
        name: GGUF's name.
        shape: the checkpoint tensor's shape implied by the hyper-parameters.
        transform, row_group: as in `OutputTensor`.
        required: whether its absence is an error.

    """

    name: str
    shape: tuple[int, ...]
    transform: Callable[[Float32Array], Float32Array] = identity
    row_group: int = 1
    required: bool = True


def nothing(_model: HyperParameters) -> tuple[()]:
    """Return nothing: most families have no constants, early keys or warnings."""
    return ()


class Family(NamedTuple):
    """A family of models.

    Attributes:
        gguf: llama.cpp's name of the architecture.
        read: reads hyper-parameters from `config.json`; refuses what llama.cpp's graph computes differently.
        places: places by the checkpoint's tensor name, for every tensor that the hyper-parameters imply.
        metadata: GGUF keys after the general ones.
        constants: tensors that no checkpoint holds; they come first in the file.
        early: keys that llama.cpp's converter writes before the general ones.
        warnings: differences between llama.cpp's graph and the checkpoint's.
        prefixes: prefixes of the checkpoint's tensor names, with their replacements.
        foreign: name prefixes of tensors that belong to other parts (a vision tower) and are left out.
        cuts_table: whether rows of the embedding table after the tokenizer's last token are cut off.
        reads_output: whether the graph reads a stored output projection; if not, it must equal the embedding table.

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
    """Warn if a model has sliding attention and llama.cpp's graph for it does not."""
    window = model.sliding_window
    if window is None or window >= model.context_length:
        return ()
    limit = f"{model.class_name} attends to the last {window} tokens only; llama.cpp's graph attends to all"
    return (f"{limit}: the two agree on texts of up to {window} tokens",)
