"""Protocol for rounding weights to a format: implemented by the exporter, used by quantization-aware training.

```
  float32 weights of a tensor ── quantize as the exporter does ── dequantize ──▶ float32 weights in the artifact
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from edgeproof.contracts.tensors import Float32Array


class Rounding(Protocol):
    """Rounding of one base to one format. Rows are independent; calls may come from several threads."""

    @property
    def format(self) -> str:
        """The format's name ("gguf-q4_0")."""

    def __call__(self, name: str, weights: Float32Array) -> Float32Array:
        """Return `weights` as the artifact will hold them.

        Args:
            name: the tensor's Hugging Face name ("model.layers.0.self_attn.q_proj.weight").
            weights: all of its rows in the checkpoint's order, float32 [rows, columns], finite.

        Returns:
            A new array of the same shape and order. Tensors that the format keeps in float32 are returned unchanged.

        Raises:
            UnsupportedError: the base has no such tensor, or one of another shape.
            TrainingError: a weight is NaN or infinite, or too large for the type.

        """
