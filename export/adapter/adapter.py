"""A loaded PEFT adapter: names, shapes and norms; its values stay in the file until a merge asks for them."""

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
    """A tensor in the adapter's file, read when asked for."""

    file: SafetensorsFile
    key: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape as stored."""
        return self.file.tensors[self.key].info.shape

    def read(self) -> Float32Array:
        """All values, float32, in the stored shape. NaN or Inf: `AdapterError`."""
        return self.file.values(self.key).reshape(self.shape)

    def rows(self, start: int, stop: int) -> Float32Array:
        """Rows `start` to `stop`, float32 [stop - start, columns]. NaN or Inf: `AdapterError`."""
        return self.file.values(self.key, start, stop)


@dataclass(frozen=True)
class LowRank:
    """The LoRA on one module.

    Attributes:
        module: its name in the model ("model.layers.0.self_attn.q_proj").
        A: [rank, in]; of an embedding [rank, tokens].
        B: [out, rank]; of an embedding [width, rank].
        scaling: alpha / rank, or alpha / sqrt(rank) for rsLoRA.
        embedding: whether it was trained on an `nn.Embedding`: ΔW is then transposed.
        magnitude: DoRA's vector, [out] or, of an embedding, [width]; None without DoRA.
        bias: what lora_B adds to the layer's bias before scaling, [out]; None where it has none.
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
    """Rows of an embedding that were trained by themselves: row `indices[i]` becomes `rows[i]`, float32 [n, width]."""

    module: str
    indices: tuple[int, ...]
    rows: AdapterTensor


@dataclass(frozen=True)
class Adapter:
    """A PEFT adapter.

    Attributes:
        path: its folder.
        config: what adapter_config.json says.
        low_rank: the LoRAs, by module name.
        replaced: tensors that take the base's place (modules_to_save, trained biases), by tensor name.
        saved_base: tables that peft saves with a LoRA on an embedding: the base's own at training, by tensor name.
        token_rows: rows of embeddings that take the base's place, by module name.
        warnings: what its files make doubtful, for people.

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
        """The files that its effect comes from."""
        return (self.path / CONFIG, self.path / WEIGHTS)
