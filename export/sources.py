"""Digests of the models that an export would read, without an export."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.export.adapter.load import load_adapter
from edgeproof.export.artifact.manifest import digest_source
from edgeproof.export.base.opening import open_base
from edgeproof.export.formats import find_format

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeproof.export.artifact.manifest import Source


def digest_base(path: Path, format_name: str, *, allow_requantize: bool) -> Source:
    """Return name and digests of a base, as the manifest of an artifact in this format has them."""
    opened = open_base(path, {find_format(format_name).kind}, texts=(), allow_requantize=allow_requantize)
    return digest_source(opened.path, opened.files)


def digest_adapters(paths: Sequence[Path]) -> tuple[Source, ...]:
    """Return name and digests of each adapter."""
    return tuple(digest_source(adapter.path, adapter.files) for adapter in map(load_adapter, paths))
