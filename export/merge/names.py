"""Finds the base's tensor for the name that an adapter gives it, under whichever of its spellings."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.tensors import identity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeproof.contracts.tensors import Checkpoint, Float32Array, TensorInfo

EMBEDDINGS = {"embed_tokens", "wte", "word_embeddings", "embed_in", "tok_embeddings", "token_embd"}
"""Last part of the name of a module that is the input embedding."""
HEADS = {"lm_head", "embed_out", "output"}
"""Last part of the name of a module that is the output head."""
_PREFIXES = ("model.", "transformer.")
"""What a checkpoint of the bare model lacks, or has, before a module's name."""
_TEXT_MODEL = "language_model."
"""What marks the text model within one that also sees or hears."""


class MergeTarget(NamedTuple):
    """Where a Hugging Face tensor stands in a base with names of its own.

    `transform` gives rows in the order of the Hugging Face tensor the base's order; it is applied to B [out, rank], to
    DoRA magnitudes and biases as [out, 1], and to whole tensors that are replaced.
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
        """Return the place of `tensor`; the head's is known even where it is tied and not stored."""
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
        """Return shape and type of `name`, of the embedding for a head that is not stored."""
        return self.base.tensors[self.source(name)]

    def source(self, name: str) -> str:
        """Return the base's tensor that the rows of `name` come from."""
        return name if name in self.base.tensors or self.embedding is None else self.embedding

    def modules(self) -> dict[str, str]:
        """Return the base's matrices by module name, under every Hugging Face name that stands for them."""
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
    """Return the names that checkpoints of the same model may have for `tensor`, itself first.

    A bare model's checkpoint lacks the prefix; the text model of a multimodal one stands under "model.language_model."
    in transformers 5 and under "language_model.model." in checkpoints, and by its own in a text-only base.
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
