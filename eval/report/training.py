"""Training runs in a report: read strictly from the manifests beside the artifact. They do not affect a verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.errors import ArtifactError
from edgeproof.contracts.training import parse_training

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edgeproof.contracts.training import Training


def read_training(manifests: Iterable[Mapping[str, object] | None]) -> tuple[Training, ...]:
    """Read the runs behind an artifact, and those of a LoRA beside it, each once; none without manifests.

    Raises:
        ArtifactError: a manifest is damaged.

    """
    try:
        found = [one for manifest in manifests if manifest for one in parse_training(manifest.get("training"))]
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"the manifest beside the artifact is damaged: its training has {type(error).__name__} {error}",
            next_step="export again, or remove the manifest to gate the file with provenance unknown",
        ) from error
    return tuple(dict.fromkeys(found))
