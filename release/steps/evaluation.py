"""Input files, output files and provenance of an evaluation."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import UsageError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from edgeproof.contracts.backend import Backend
    from edgeproof.eval.suites.encoding import Asking
    from edgeproof.eval.suites.files import Data, Source


def read_source(given: str | os.PathLike[str]) -> Source:
    """Read `ROLE=FILE`, or a path alone."""
    from edgeproof.eval.suites.files import ROLES, Source

    if not isinstance(given, str):
        return Source(Path(given))
    role, equals, path = given.partition("=")
    if not equals or Path(given).exists():
        return Source(Path(given))
    if any(role in roles for roles in ROLES.values()) and path:
        return Source(Path(path), role)
    if not path:
        raise UsageError(f"--data {given} names no file", next_step="--data ROLE=FILE")
    known = ", ".join(name for roles in ROLES.values() for name in roles)
    raise UsageError(f"--data {given}: no file has the role {role!r}", next_step=f"roles: {known}")


def summary_path(out: Path) -> Path:
    """Name the summary: `TOFU_SUMMARY.json` beside `TOFU_EVAL.json`."""
    return out.with_name(f"{out.stem.removesuffix('_EVAL')}_SUMMARY.json")


def check_targets(paths: tuple[Path, ...], read: tuple[Path, ...], *, force: bool) -> None:
    """Refuse before anything is measured what could not be written after it, and never write over what is read."""
    from edgeproof.contracts.atomic import refuse_to_write, write_failed

    inputs = {path.resolve() for path in read}
    for path in paths:
        if inputs.intersection((path.resolve(), *path.resolve().parents)):
            raise UsageError(f"{path} is, or lies in, what is to be evaluated", next_step="give another --out")
        refuse_to_write(path, force=force)
    folder = paths[0].parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise write_failed(paths[0], error) from error


def circumstances(
    data: Data, digests: Mapping[str, str], engine: Backend, asking: Asking, command: tuple[str, ...]
) -> dict[str, object]:
    """Return the provenance of a measurement: data, prompts, backend, versions and command."""
    from edgeproof.eval.measuring.results import flat_info
    from edgeproof.export.artifact.manifest import package_versions

    return {
        "data": {role: {"file": path.name, "sha256": digests[role]} for role, path in sorted(data.files.items())},
        "asking": asking._asdict() | ({} if data.suite == "TOFU" else {"prompt": "muse_bench's"}),
        "backend": flat_info(engine.info),
        "versions": package_versions(),
        "command": list(command),
    }
