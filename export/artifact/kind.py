"""Identification of an artifact's format from its bytes, whichever program wrote it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.advice import command
from edgeproof.contracts.errors import ArtifactError
from edgeproof.contracts.gguf_header import read_header
from edgeproof.export.formats import FORMATS

if TYPE_CHECKING:
    from pathlib import Path

_SCHEMES = {
    "ALL_F32": "F32",
    "MOSTLY_F16": "F16",
    "MOSTLY_Q4_0": "Q4_0",
    "MOSTLY_Q4_1": "Q4_1",
    "MOSTLY_Q4_K_S": "Q4_K_S",
    "MOSTLY_Q4_K_M": "Q4_K_M",
    "MOSTLY_IQ4_NL": "IQ4_NL",
    "MOSTLY_Q8_0": "Q8_0",
}
"""Schemes by their names in `gguf.LlamaFileType`."""


def rounds_activations(artifact: Path) -> bool:
    """Whether some matrix products round activations: those of an ONNX folder at accuracy level 4.

    Raises:
        ArtifactError: as for `identify_format`.

    """
    if not artifact.is_dir():
        return False
    from edgeproof.export.onnx.identify import accuracy_levels

    return bool(accuracy_levels(artifact) - {0})


def identify_format(artifact: Path) -> str | None:
    """Name the format that a GGUF or ONNX folder declares; None if it is not one of `FORMATS`.

    Raises:
        ArtifactError: the file is missing, truncated, not a GGUF, or an adapter instead of a model; the folder holds no
            ONNX graph.

    """
    from gguf import LlamaFileType

    if artifact.is_dir():
        from edgeproof.export.onnx.identify import identify_folder

        return identify_folder(artifact)
    if not artifact.is_file():
        raise ArtifactError(
            f"the artifact {artifact} does not exist", next_step="give the .gguf file or the ONNX folder that ships"
        )
    values = {entry.key: entry.value for entry in read_header(artifact, ArtifactError).metadata}
    if values.get("general.type") == "adapter":
        raise ArtifactError(
            f"{artifact} is a LoRA adapter, not a model",
            next_step=f"gate it with the model that it is for: {command('gate-lora')}",
        )
    stored = values.get("general.file_type")
    if not isinstance(stored, int) or stored not in set(LlamaFileType):
        return None
    scheme = _SCHEMES.get(LlamaFileType(stored).name)
    return next((form.name for form in FORMATS.values() if form.scheme == scheme), None)
