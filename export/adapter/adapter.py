"""Data types of a loaded PEFT adapter: names, shapes and norms. Values stay in the file until the merge reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.export.adapter.config import CONFIG

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeproof.contracts.tensors import Float32Array
    from edgeproof.export.adapter.config import AdapterConfig
    from edgeproof.export.base.safetensors_file import SafetensorsFile

WEIGHTS = "adapter_model.safetensors"


class AdapterTensor(NamedTuple):
    """A tensor in the adapter's file, read on demand."""

    file: SafetensorsFile
    key: str

    @property
    def shape(self) -> tuple[int, ...]:
        """The stored shape."""
        return self.file.tensors[self.key].info.shape

    def read(self) -> Float32Array:
        """All values, float32, in the stored shape; `AdapterError` for NaN or Inf."""
        return self.file.values(self.key).reshape(self.shape)

    def rows(self, start: int, stop: int) -> Float32Array:
        """Rows `start` to `stop`, float32 [stop - start, columns]; `AdapterError` for NaN or Inf."""
        return self.file.values(self.key, start, stop)


@dataclass(frozen=True)
class LowRank:
    """The LoRA on one module.

    Attributes:
        module: its name in the model ("model.layers.0.self_attn.q_proj").
        A: [rank, in]; for an embedding [rank, tokens].
        B: [out, rank]; for an embedding [width, rank].
        scaling: alpha / rank, or alpha / sqrt(rank) for rsLoRA.
        embedding: whether it was trained on an `nn.Embedding`: ΔW is then transposed.
        magnitude: DoRA's vector, [out] or, for an embedding, [width]; None without DoRA.
        bias: lora_B's bias, added to the layer's bias after scaling, [out]; None where it has none.
        delta_norm: ‖scaling · B·A‖, Frobenius.

    """

    module: str
    A: AdapterTensor
    B: AdapterTensor
    scaling: float
    embedding: bool
    magnitude: AdapterTensor | None
    bias: AdapterTensor | None
    delta_norm: float

    @property
    def rank(self) -> int:
        """The rank."""
        return self.A.shape[0]


@dataclass(frozen=True)
class TokenRows:
    """Individually trained rows of an embedding: row `indices[i]` becomes `rows[i]`, float32 [n, width]."""

    module: str
    indices: tuple[int, ...]
    rows: AdapterTensor


@dataclass(frozen=True)
class Adapter:
    """A PEFT adapter.

    Attributes:
        path: its folder.
        config: the parsed adapter_config.json.
        low_rank: the LoRAs, by module name.
        replaced: tensors that replace the base's (modules_to_save, trained biases), by tensor name.
        saved_base: the base's tables at training time, which peft saves with a LoRA on an embedding, by tensor name.
        token_rows: rows of embeddings that replace the base's, by module name.
        warnings: doubts raised by its files, for the user.

    """

    path: Path
    config: AdapterConfig
    low_rank: Mapping[str, LowRank]
    replaced: Mapping[str, AdapterTensor]
    saved_base: Mapping[str, AdapterTensor]
    token_rows: Mapping[str, TokenRows]
    warnings: tuple[str, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that determine the adapter's effect."""
        return (self.path / CONFIG, self.path / WEIGHTS)
