"""What a format makes of a weight: the promise between the exporter, which rounds, and training, which sees it rounded.

```
  float32 weights of a tensor ── quantize as the exporter does ── dequantize ──▶ float32 weights in the artifact
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from edgeproof.contracts.tensors import Float32Array


class Rounding(Protocol):
    """One format, for one base. Rows are independent of each other; calls may come from several threads."""

    @property
    def format(self) -> str:
        """The format's name ("gguf-q4_0")."""

    def __call__(self, name: str, weights: Float32Array) -> Float32Array:
        """Return what the artifact will hold of `weights`.

        Args:
            name: the tensor's Hugging Face name ("model.layers.0.self_attn.q_proj.weight").
            weights: all of its rows in the checkpoint's order, float32 [rows, columns], finite.

        Returns:
            A new array of the same shape and order. What the format keeps in float32 comes back as it is.

        Raises:
            UnsupportedError: the base has no such tensor, or of another shape.
            TrainingError: a weight is NaN or infinite, or too large for the type.

        """
