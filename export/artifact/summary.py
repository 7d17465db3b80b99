"""Summary of an artifact or adapter: name, format, bits per weight, digests, provenance."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import ArtifactError
from edgeproof.contracts.gguf_header import read_header
from edgeproof.contracts.gguf_split import read_tensors
from edgeproof.contracts.tensors import TensorRecord
from edgeproof.export.adapter.load import load_adapter
from edgeproof.export.artifact.kind import identify_format
from edgeproof.export.artifact.manifest import digest_artifact, digest_source, read_provenance
from edgeproof.export.formats import LORA_FORMAT, effective_bits

if TYPE_CHECKING:
    from pathlib import Path


def describe_adapter(path: Path) -> dict[str, object]:
    """Describe a PEFT folder; errors as for `load_adapter`."""
    adapter = load_adapter(path)
    config = adapter.config
    method = "DoRA" if config.use_dora else "rsLoRA" if config.use_rslora else "LoRA"
    return {
        "kind": "adapter",
        "name": path.resolve().name,
        "method": method,
        "rank": config.rank,
        "alpha": config.alpha,
        "modules": dict(sorted(Counter(name.rpartition(".")[2] for name in adapter.low_rank).items())),
        "replaced": sorted(adapter.replaced) + sorted(adapter.token_rows),
        "delta_norm": math.sqrt(sum(lora.delta_norm**2 for lora in adapter.low_rank.values())),
        "base": config.base_name,
        "files": {found.file: found.sha256 for found in digest_source(path, adapter.files).files},
        "warnings": list(adapter.warnings),
    }


def describe_artifact(path: Path) -> dict[str, object]:
    """Describe a GGUF file (a model or a LoRA) or an ONNX folder.

    Raises:
        ArtifactError: the artifact is damaged, or differs from its manifest.

    """
    name, architecture, lora = path.name, None, False
    if path.is_dir():
        form, records = identify_format(path), _onnx_records(path)
    else:
        header = read_header(path, ArtifactError)
        values = {entry.key: entry.value for entry in header.metadata}
        lora = values.get("general.type") == "adapter"
        name, architecture = str(values.get("general.name", name)), values.get("general.architecture")
        form = LORA_FORMAT if lora else identify_format(path)
        tensors = read_tensors(path, ArtifactError)
        records = [TensorRecord(tensor.name, tensor.shape, tensor.kind.name, tensor.bytes) for tensor in tensors]
    whole, files = digest_artifact(path)
    manifest = read_provenance(path, whole.sha256)
    return {
        "kind": "adapter beside a GGUF" if lora else "artifact",
        "name": name,
        "format": form,
        "architecture": architecture,
        "weights": sum(math.prod(record.shape) for record in records),
        "effective_bits": round(effective_bits(records), 4) if records else None,
        "types": dict(Counter(record.type for record in records).most_common()),
        "bytes": whole.bytes,
        "sha256": whole.sha256,
        "files": {found.file: found.sha256 for found in files},
        "provenance": "unknown" if manifest is None else _provenance(manifest),
    }


def _provenance(manifest: dict[str, object]) -> dict[str, object]:
    """Return the manifest's fields that a user needs."""
    kept = ("base", "adapters", "adapter_effect", "survival", "training", "options", "warnings", "command", "versions")
    found = {key: manifest[key] for key in kept if manifest.get(key) is not None}
    if isinstance(survival := found.get("survival"), dict):
        found["survival"] = {key: value for key, value in survival.items() if key != "tensors"}
    return found


def _onnx_records(path: Path) -> list[TensorRecord]:
    from edgeproof.export.survival.artifact import OnnxArtifact

    file = OnnxArtifact(path)
    return [
        TensorRecord(
            tensor.name,
            (tensor.rows, tensor.columns),
            tensor.codec.type,
            tensor.rows * sum(array.nbytes for array in file.read(tensor.name, 0, 1)),
        )
        for tensor in file.tensors.values()
    ]
