"""GGUF file as a Hugging Face checkpoint: names, shapes, row order, configuration.

```
  model.gguf ─┬─ metadata ──▶ config.json's content ──▶ places of all tensors (architectures)
              ├─ tensors ───▶ rows, un-permuted as they are read, norms less 1 for Gemma
              └─ vocabulary ▶ tokenizer.json and its companions, proved equal to llama.cpp's
```
Nothing is copied: rows are read from the file on demand and put into Hugging Face's order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.contracts.errors import CheckpointError, UnsupportedError
from edgeproof.contracts.tensors import ModelDescription, OutputTensor, TensorInfo, identity
from edgeproof.export.architectures import find_family, read_hyper_parameters
from edgeproof.export.architectures.rope import separate_rows
from edgeproof.export.base.gguf_config import gguf_config
from edgeproof.export.base.gguf_file import GgufBase, open_gguf_base, untied_head
from edgeproof.export.tokenizer.rebuild.rebuild import rebuild_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edgeproof.contracts.tensors import Float32Array
    from edgeproof.export.architectures.family import TensorPlace
    from edgeproof.export.architectures.hyper_parameters import HyperParameters
    from edgeproof.export.tokenizer.proof import Proof

HEAD = "lm_head.weight"
FROM_CONFIGURATION = frozenset({"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"})
"""Tensors that store settings of config.json, not weights."""


@dataclass(frozen=True)
class _Source:
    """Position of a Hugging Face tensor in the file. Rows are read in groups of `group`; `restore` inverts `place`."""

    place: TensorPlace
    restore: Callable[[Float32Array], Float32Array] = identity
    group: int = 1


class GgufCheckpoint:
    """A GGUF file as a Hugging Face checkpoint (`edgeproof.contracts.tensors.Checkpoint`).

    Permutations are inverted exactly. Gemma's norms are stored as w + 1, rounded to float32: the restored w is within
    half an ulp of w + 1 (2⁻²⁴ around 1) of the folder's w, and adding 1 again gives the stored value, bit for bit, for
    every w + 1 that was rounded to float32 or float16, or is 0.5 or larger.

    Attributes:
        path: the file.
        files: the files read.
        config: content of an equivalent config.json.
        tensors: tensors by Hugging Face name, in the order of names; `dtype` is the file's.
        tokenizer_files: content by name: tokenizer.json, tokenizer_config.json, generation_config.json,
            chat_template.jinja (if there is a template).
        proof: proof that these give llama.cpp's ids; show its `limits` to the user.

    """

    def __init__(
        self, base: GgufBase, config: Mapping[str, object], tokenizer_files: Mapping[str, bytes], proof: Proof
    ) -> None:
        self._base = base
        self._sources = _sources(base, config)
        self.path = base.path
        self.files = base.files
        self.config = config
        self.tokenizer_files = tokenizer_files
        self.proof = proof
        self.tensors: Mapping[str, TensorInfo] = MappingProxyType(
            {
                name: TensorInfo(
                    name, self._sources[name].place.shape, base.tensors[self._sources[name].place.name].dtype
                )
                for name in sorted(self._sources)
            }
        )

    def rows(self, name: str, start: int, stop: int) -> Float32Array:
        """Rows `start` to `stop` as a fresh, C-contiguous float32 array [stop - start, columns]. Thread-safe.

        Raises:
            CheckpointError: a value is NaN or Inf; the message names the tensor and the row in the file.

        """
        source = self._sources[name]
        first, last = start // source.group * source.group, -(-stop // source.group) * source.group
        restored = source.restore(self._base.rows(source.place.name, first, last))
        return np.ascontiguousarray(restored[start - first : stop - first])

    def describe_gguf(self, tensors: Mapping[str, TensorInfo] | None = None) -> ModelDescription:
        """Describe the file itself in terms of this checkpoint's rows, so that one stream feeds GGUF and ONNX writers.

        Metadata and tensor order are the file's; every tensor's `transform` reapplies what `rows` inverted.

        Args:
            tensors: the merge's tensors, if they differ from the base's (an untied `lm_head.weight`).

        Raises:
            UnsupportedError: the head is untied, and the architecture's graph in llama.cpp does not read it.

        """
        stored = self._base.describe()
        by_place = {source.place.name: (name, source.place) for name, source in self._sources.items()}
        outputs = [self._output(output, by_place) for output in stored.tensors]
        if tensors is not None and HEAD in tensors and HEAD not in self._sources:
            if not find_family(self.config)[1].reads_output:
                raise untied_head(self.path, self._base.architecture)
            outputs.insert(0, OutputTensor("output.weight", HEAD, tensors[HEAD].shape))
        return replace(stored, tensors=tuple(outputs))

    def _output(self, output: OutputTensor, by_place: Mapping[str, tuple[str, TensorPlace]]) -> OutputTensor:
        if output.name in by_place:
            name, place = by_place[output.name]
            return OutputTensor(output.name, name, output.shape, place.transform, place.row_group)
        rows = self._base.tensors[output.name].rows
        values = self._base.rows(output.name, 0, rows).reshape(output.shape)
        return OutputTensor(output.name, "", output.shape, constant=values)


def open_gguf_checkpoint(path: Path, *, texts: Sequence[str] = (), allow_requantize: bool = False) -> GgufCheckpoint:
    """Open the GGUF file `path` as a Hugging Face checkpoint; no matrix is read yet.

    Args:
        path: a float GGUF of Llama (SmolLM, Mistral), Qwen 2 and 3, Gemma 2 and 3, or Phi-3.
        texts: additional texts for the proof that the tokenizer equals llama.cpp's (those of a probe pack).
        allow_requantize: accept quantized tensors, which are dequantized while reading.

    Raises:
        CheckpointError: the file is missing, truncated, inconsistent, or lacks a tensor or key.
        UnsupportedError: another architecture or tokenizer; a tensor, key or setting that the Hugging Face class cannot
            express; or the file is quantized, and `allow_requantize` is not given.
        TokenizerError: the tokenizer rebuilt from the vocabulary gives other ids than llama.cpp.
        BackendError: llama.cpp cannot load the vocabulary.

    """
    base = open_gguf_base(path, allow_requantize=allow_requantize)
    config = gguf_config(base)
    rebuilt = rebuild_tokenizer(base.path, base.metadata, rows=base.tensors["token_embd.weight"].shape[0], texts=texts)
    return GgufCheckpoint(base, MappingProxyType(config), MappingProxyType(rebuilt.files), rebuilt.proof)


def _sources(base: GgufBase, config: Mapping[str, object]) -> dict[str, _Source]:
    """Find every Hugging Face tensor in the file; none may be missing, and none left over."""
    model = read_hyper_parameters(config)
    _, family = find_family(config)
    places = family.places(model)
    found = {name: place for name, place in places.items() if place.name in base.tensors}
    missing = [place.name for name, place in places.items() if place.required and name not in found]
    if missing:
        raise CheckpointError(
            f"{base.path} lacks {len(missing)} of {len(places)} tensors of a {model.class_name} of {model.layers} "
            f"layers, the first: {missing[0]}",
            next_step="give the GGUF of a whole model, made by a recent converter",
        )
    for place in found.values():
        shape = base.tensors[place.name].shape
        if shape != place.shape:
            raise CheckpointError(
                f"{base.path}: {place.name} is {list(shape)}; the metadata imply {list(place.shape)}",
                next_step="convert the model again",
            )
    known = {place.name for place in found.values()} | FROM_CONFIGURATION
    foreign = [name for name in base.tensors if name not in known]
    if foreign:
        raise UnsupportedError(
            f"{base.path}: a {model.class_name} has no place for {len(foreign)} tensors of the file, the first being "
            f"{foreign[0]} {list(base.tensors[foreign[0]].shape)}",
            next_step="give the model's Hugging Face folder as --base",
        )
    return {name: _source(place, model) for name, place in found.items()}


def _source(place: TensorPlace, model: HyperParameters) -> _Source:
    if place.row_group > 1:
        return _Source(place, separate_rows(place.row_group), place.row_group)
    if place.transform is identity:
        return _Source(place)
    if len(place.shape) == 1 and place.name.endswith("norm.weight"):
        return _Source(place, partial(_subtract, offset=np.float32(model.norm_offset)))
    assert place.name.endswith((".attn_q.bias", ".attn_k.bias"))  # all that remain: one row of all heads' values
    return _Source(place, partial(_separate_row, head_dim=model.head_dim))


def _subtract(rows: Float32Array, *, offset: np.float32) -> Float32Array:
    return rows - offset


def _separate_row(rows: Float32Array, *, head_dim: int) -> Float32Array:
    return separate_rows(head_dim)(rows.reshape(-1, 1)).reshape(rows.shape)
