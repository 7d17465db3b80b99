"""Makes the manifest of each artifact of an export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeproof.contracts.survival import AdapterSurvival, TensorLeft
from edgeproof.export.artifact.manifest import (
    BUILDER_PACKAGES,
    ONNX_PACKAGES,
    PACKAGES,
    Manifest,
    digest_artifact,
    package_versions,
)
from edgeproof.export.formats import effective_bits
from edgeproof.export.onnx.beside_gguf import list_different
from edgeproof.export.onnx.weights.shared_scales import SHARED
from edgeproof.export.options import recorded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeproof.contracts.tensors import TensorRecord
    from edgeproof.contracts.training import Training
    from edgeproof.export.artifact.manifest import Source
    from edgeproof.export.formats import Format
    from edgeproof.export.merge.merged import MergedModel
    from edgeproof.export.onnx.weights.layout import StoredMatrix
    from edgeproof.export.plan import Plan
    from edgeproof.export.survival.preflight import Preflight


@dataclass(frozen=True)
class Manifests:
    """What the manifests of one export share.

    Attributes:
        plan: how the artifacts were made.
        base: digests of the base's files.
        adapters: of each adapter's.
        foretold: what a sample showed of each format, by name.
        records: what was stored, by format.
        warnings: those given so far; later ones are added by the caller.
        command: the command line.
        training: how the base was trained to forget, and each adapter; None where nothing says so.

    """

    plan: Plan
    base: Source
    adapters: tuple[Source, ...]
    foretold: Mapping[str, Preflight]
    records: Mapping[Format, tuple[TensorRecord, ...]]
    warnings: Sequence[str]
    command: Sequence[str]
    training: Sequence[Training | None]

    def make(
        self,
        format_name: str,
        path: Path,
        tensors: tuple[TensorRecord, ...],
        *,
        adapted: bool,
        matrices: tuple[StoredMatrix, ...] = (),
    ) -> Manifest:
        """Make the manifest of the finished artifact at `path`.

        Args:
            format_name: what it calls itself.
            path: where the artifact lies now.
            tensors: what is stored in it.
            adapted: the adapters are in it.
            matrices: of an ONNX folder that was written here; none for a GGUF, or where the builder wrote it.

        """
        artifact, files = digest_artifact(path)
        onnx_packages = ONNX_PACKAGES if matrices else BUILDER_PACKAGES
        used = self.adapters if adapted else ()
        trained = self.training if adapted else self.training[:1]
        return Manifest(
            format=format_name,
            artifact=artifact,
            effective_bits=round(effective_bits(tensors), 4),
            base=self.base,
            adapters=used,
            adapter_effect=_effect(self.plan.model) if used else None,
            tokenizer=dict(self.plan.described.tokenizer),
            tensors=tensors,
            options=recorded(self.plan.inputs.options),
            warnings=tuple(self.warnings),
            command=tuple(self.command),
            versions=package_versions((*PACKAGES, *(onnx_packages if files else ()))),
            files=files,
            survival=_survival(self.foretold.get(format_name)),
            not_shared=self._not_shared(matrices) if matrices else None,
            training=tuple(found.to_json() for found in trained if found is not None),
        )

    def _not_shared(self, matrices: tuple[StoredMatrix, ...]) -> tuple[str, ...] | None:
        """List what differs from the Q4_0 file of the same export; None where there is none, or nothing is shared."""
        gguf = self.plan.described.gguf
        beside = next((found for form, found in self.records.items() if form.scheme == SHARED), None)
        if not self.plan.inputs.options.shared_scales or beside is None or gguf is None:
            return None
        return tuple(list_different(matrices, gguf, beside))


def _survival(found: Preflight | None) -> dict[str, object] | None:
    if found is None:
        return None
    tensors = [
        TensorLeft(tensor.name, tensor.layer, round(tensor.projection, 4), round(tensor.error, 4))
        for tensor in found.tensors
    ]
    table = AdapterSurvival(
        projection=round(found.projection, 4),
        projection_error=round(found.error, 4),
        codes_moved=None if found.moved is None else round(found.moved, 6),
        sampled=found.sampled,
        tensors=tuple(tensors),
    ).to_json()
    return {"codes_moved": table["codes_moved"], **table}  # the order that manifests have


def _effect(model: MergedModel) -> float | None:
    """‖ΔW‖/‖W‖ over all tensors that the adapters touched."""
    delta = sum(effect.delta_norm**2 for effect in model.effects())
    weight = sum(effect.weight_norm**2 for effect in model.effects())
    return (delta / weight) ** 0.5 if weight else None
