"""Lookup of the base's tensor for an adapter's tensor name, in any of its spellings."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.tensors import identity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeproof.contracts.tensors import Checkpoint, Float32Array, TensorInfo

EMBEDDINGS = {"embed_tokens", "wte", "word_embeddings", "embed_in", "tok_embeddings", "token_embd"}
"""Last part of the module name of an input embedding."""
HEADS = {"lm_head", "embed_out", "output"}
"""Last part of the module name of an output head."""
_PREFIXES = ("model.", "transformer.")
"""Prefix of module names that checkpoints of the bare model lack."""
_TEXT_MODEL = "language_model."
"""Name part of the text model within a multimodal model."""


class MergeTarget(NamedTuple):
    """Position of a Hugging Face tensor in a base with its own names.

    `transform` reorders rows from Hugging Face's order to the base's; it is applied to B [out, rank], to DoRA
    magnitudes and biases as [out, 1], and to replaced tensors.
    """

    name: str
    transform: Callable[[Float32Array], Float32Array] = identity


class BaseNames:
    """Finds the base's tensor for a Hugging Face name."""

    def __init__(self, base: Checkpoint, names: Mapping[str, MergeTarget] | None) -> None:
        self.base = base
        self._names = names
        self.embedding = self._first(EMBEDDINGS)
        self.head = self._first(HEADS) or (names or {}).get("lm_head.weight", MergeTarget("lm_head.weight")).name
        self.tied = self.embedding is not None and (
            self.head not in base.tensors or base.config.get("tie_word_embeddings") is True
        )

    def find(self, tensor: str) -> MergeTarget | None:
        """Return the position of `tensor`; that of the head also if it is tied and not stored."""
        for name in _spellings(tensor):
            if self._names is None:
                if name in self.base.tensors:
                    return MergeTarget(name)
            elif (target := self._names.get(name)) is not None and target.name in self.base.tensors:
                return target
        module, _, leaf = tensor.rpartition(".")
        if self.tied and leaf == "weight" and module.rpartition(".")[2] in HEADS:
            return MergeTarget(self.head)
        return None

    def info(self, name: str) -> TensorInfo:
        """Return shape and type of `name`; those of the embedding for a head that is not stored."""
        return self.base.tensors[self.source(name)]

    def source(self, name: str) -> str:
        """Return the base's tensor that the rows of `name` come from."""
        return name if name in self.base.tensors or self.embedding is None else self.embedding

    def modules(self) -> dict[str, str]:
        """Return the base's matrices by module name, under all their Hugging Face names."""
        known = (
            {name: name for name in self.base.tensors}
            if self._names is None
            else {name: target.name for name, target in self._names.items() if target.name in self.base.tensors}
        )
        return {
            name.removesuffix(".weight"): stored
            for name, stored in known.items()
            if name.endswith(".weight") and len(self.base.tensors[stored].shape) == 2
        }

    def _first(self, endings: set[str]) -> str | None:
        found = (name for name in self.base.tensors if name.removesuffix(".weight").rpartition(".")[2] in endings)
        return next((name for name in found if name.endswith(".weight")), None)


def _spellings(tensor: str) -> list[str]:
    """Return the names that checkpoints of one model may use for `tensor`, itself first.

    A bare model's checkpoint lacks the prefix; the text model of a multimodal one has "model.language_model." in
    transformers 5, "language_model.model." in checkpoints, and no prefix in a text-only base.
    """
    spellings = [tensor]
    for prefix in _PREFIXES:
        spellings += [tensor.removeprefix(prefix), prefix + tensor]
    if _TEXT_MODEL in tensor:
        own = tensor.replace(_TEXT_MODEL, "", 1)
        spellings += [
            own,
            _TEXT_MODEL + own,
            own.removeprefix("model."),
            f"model.{_TEXT_MODEL}{own.removeprefix('model.')}",
        ]
    return spellings
