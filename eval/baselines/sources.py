"""Sources of a baseline and of an artifact: are both made of one base and the same adapters?"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import ArtifactError, BaselineError
from edgeproof.eval.measurement import ModelSource, Sources

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_HEAD = 12


def source_digest(files: Iterable[str]) -> str:
    """Give one digest for a source's files: sha256 over their sha256s, sorted; a file's name changes nothing."""
    return hashlib.sha256("".join(f"{one}\n" for one in sorted(files)).encode()).hexdigest()


def read_sources(manifests: Sequence[Mapping[str, object] | None]) -> Sources | None:
    """Read what an artifact was made of from its manifest, and from that of a LoRA beside it.

    Returns:
        Their base, and the adapters of all; None where there is no manifest.

    Raises:
        ArtifactError: a manifest does not say, or they name different bases.

    """
    known = [found for found in manifests if found is not None]
    if not known:
        return None
    try:
        base, *others = (_source(found["base"]) for found in known)
        adapters = [_source(item) for found in known for item in _list(found["adapters"])]
    except (KeyError, TypeError) as error:
        raise ArtifactError(
            f"the manifest beside the artifact is damaged: base and adapters cannot be read ({error!r})",
            next_step="export again, or remove the manifest to gate the file with provenance unknown",
        ) from error
    for other in others:
        if other.sha256 != base.sha256:
            raise ArtifactError(
                f"the artifact was made of the base {_named(base)}, the LoRA beside it for {_named(other)}",
                next_step="gate the LoRA with the base that it was exported with (--unmerged)",
            )
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
