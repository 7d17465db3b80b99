"""Sources of a baseline and of an artifact, and the check that base and adapters are the same."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import ArtifactError, BaselineError
from edgeproof.eval.measurement import ModelSource, Sources

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_HEAD = 12


def source_digest(files: Iterable[str]) -> str:
    """Return one digest of a source's files: sha256 over their sorted sha256s, independent of file names."""
    return hashlib.sha256("".join(f"{one}\n" for one in sorted(files)).encode()).hexdigest()


def read_sources(manifests: Sequence[Mapping[str, object] | None]) -> Sources | None:
    """Read the sources of an artifact from its manifest, and from that of a LoRA beside it.

    Returns:
        Their base, and the adapters of all; None without a manifest.

    Raises:
        ArtifactError: a manifest lacks them, or the manifests name different bases.

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
                f"the artifact's base is {_named(base)}, that of the LoRA beside it {_named(other)}",
                next_step="gate the LoRA with the base of its export (--unmerged)",
            )
    return Sources(base, tuple(adapters))


def check_sources(recorded: Sources | None, found: Sources | None, *, again: str) -> None:
    """Refuse a baseline of other models than those in the artifact's manifest.

    Base and adapters must be the same; so must the model that was unlearned in all its weights, which is then the
    artifact's only source. An artifact of the same base without adapters is the original, the control that must fail.

    Raises:
        BaselineError: they differ; the message has the heads of both digests, and `again`, the command that records
            the baseline again.

    """
    if recorded is None or found is None:
        return
    if recorded.unlearned is not None and not found.adapters and found.base.sha256 == recorded.unlearned.sha256:
        return
    if recorded.base.sha256 != found.base.sha256:
        raise BaselineError(
            f"the baseline was recorded of another model: {_models(recorded)} there, {_named(found.base)} in the "
            "artifact's manifest",
            next_step=f"gate with the baseline of this model, or record it: {again}"
            + ("" if recorded.unlearned else " (--unlearned in place of --adapter, where all weights were trained)"),
        )
    if recorded.unlearned is not None and found.adapters:
        raise BaselineError(
            f"the baseline was recorded of {_named(recorded.unlearned)}, unlearned in all its weights; the artifact's "
            f"manifest names adapters: {_all(found)}",
            next_step="gate with the baseline of these adapters, or record it with --adapter in place of --unlearned",
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


def _models(sources: Sources) -> str:
    unlearned = "" if sources.unlearned is None else f", unlearned as {_named(sources.unlearned)},"
    return _named(sources.base) + unlearned


def _all(sources: Sources) -> str:
    return ", ".join(map(_named, sources.adapters)) or "none"
