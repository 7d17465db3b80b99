"""Sources of a baseline and of an artifact: are both made of one base and the same adapters?"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import ArtifactError, BaselineError
from edgeproof.eval.records import ModelSource, Sources

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_HEAD = 12


def source_digest(files: Iterable[str]) -> str:
    """Give one digest for a source's files: sha256 over their sha256s, sorted; a file's name changes nothing."""
    return hashlib.sha256("".join(f"{one}\n" for one in sorted(files)).encode()).hexdigest()


def read_sources(manifests: Sequence[Mapping[str, object] | None]) -> Sources | None:
    """Read what an artifact was made of from its manifest, and from that of a LoRA beside it.

    Returns:
        The base of the first, and the adapters of all; None where the first has no manifest.

    Raises:
        ArtifactError: a manifest does not say.

    """
    if not manifests or manifests[0] is None:
        return None
    try:
        base = _source(manifests[0]["base"])
        adapters = [_source(item) for found in manifests if found is not None for item in _list(found["adapters"])]
    except (KeyError, TypeError) as error:
        raise ArtifactError(
            f"the manifest beside the artifact is damaged: base and adapters cannot be read ({error!r})",
            next_step="export again, or remove the manifest to gate the file with provenance unknown",
        ) from error
    return Sources(base, tuple(adapters))


def check_sources(recorded: Sources | None, found: Sources | None, *, again: str) -> None:
    """Refuse a baseline of another base or of other adapters than the artifact's manifest names.

    An artifact of the same base without any adapter is the original itself, the control that must fail.

    Raises:
        BaselineError: names both, with the heads of their digests; `again` is the command that records it anew.

    """
    if recorded is None or found is None:
        return
    if recorded.base.sha256 != found.base.sha256:
        raise BaselineError(
            f"the baseline was recorded of another base: {_named(recorded.base)} there, {_named(found.base)} in the "
            "artifact's manifest",
            next_step=f"gate with the baseline of this base, or record it: {again}",
        )
    ours, theirs = ([one.sha256 for one in source.adapters] for source in (found, recorded))
    if ours and ours != theirs:
        raise BaselineError(
            f"the baseline was recorded with other adapters: {_all(recorded)} there, {_all(found)} in the artifact's "
            "manifest",
            next_step=f"gate with the baseline of these adapters, in this order, or record it: {again}",
        )


def _source(value: object) -> ModelSource:
    if not isinstance(value, dict):
        raise TypeError("no table")
    found = [item["sha256"] for item in _list(value["files"])]
    files = [one for one in found if isinstance(one, str)]
    if not files or len(files) != len(found):
        raise TypeError("no digests")
    return ModelSource(str(value["name"]), source_digest(files))


def _list(value: object) -> list[dict[str, object]]:
    if not isinstance(value, list):
        raise TypeError("no list")
    return value


def _named(source: ModelSource) -> str:
    return f"{source.name!r} ({source.sha256[:_HEAD]}…)"


def _all(sources: Sources) -> str:
    return ", ".join(map(_named, sources.adapters)) or "none"
