"""Rope factors of a GGUF: llama.cpp takes the short ones or the long ones, by the size of the context.

```
cells of a sequence   256 … original context │ beyond
factors               short                  │ long      whatever the length of the text
```
One file therefore computes two functions (Phi-3, Phi-3.5 and Phi-4-mini: longrope). llama.cpp compares the sequence's
cells with `rope.scaling.original_context_length` (`llama_model::get_rope_factors`), which is used for nothing else
unless the scaling is YaRN. With that number overridden by 1 on loading, small contexts compute with the long factors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import ArtifactError, UnsupportedError
from edgeproof.contracts.gguf_header import read_header, read_metadata
from edgeproof.contracts.gguf_split import split_parts

if TYPE_CHECKING:
    from pathlib import Path


class RopeFactors(NamedTuple):
    """Where a file's factors change.

    Attributes:
        key: metadata key of the original context.
        original: the largest context, in tokens, that is computed with the short factors.
        scaling: the file's kind of scaling ("longrope").

    """

    key: str
    original: int
    scaling: str

    def override(self) -> dict[str, int]:
        """Return the metadata to override so that every context is computed with the long factors.

        Raises:
            UnsupportedError: the original context has another use in this file.

        """
        if self.scaling == "yarn":
            raise UnsupportedError(
                "the GGUF has long rope factors and YaRN's scaling: its long factors cannot be computed alone",
                next_step="export the file again from its checkpoint; longrope is the scaling of long factors",
            )
        return {self.key: 1}


def rope_factors(artifact: Path) -> RopeFactors | None:
    """Return the factors of `artifact`; None for a folder, and for a GGUF that has one set of factors or none.

    Raises:
        ArtifactError: the file is missing, truncated, or not a GGUF.

    """
    if artifact.is_dir():
        return None
    headers = (
        read_header(part, ArtifactError, text_errors="surrogateescape") for part in split_parts(artifact, ArtifactError)
    )
    if not any("rope_factors_" in tensor.name for header in headers for tensor in header.tensors):
        return None
    values = {entry.key: entry.value for entry in read_metadata(artifact, ArtifactError)}
    name = values.get("general.architecture")
    key = f"{name}.rope.scaling.original_context_length"
    original = values.get(key, values.get(f"{name}.context_length"))
    if not isinstance(original, int) or original < 1:
        raise ArtifactError(
            f"{artifact} has short and long rope factors, and {key} is {original!r}: no number of tokens",
            next_step="export it again",
        )
    return RopeFactors(key, original, str(values.get(f"{name}.rope.scaling.type", "none")))
