"""The part of a pack that a model knows: the same files, without the lines of probes that it does not know."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import PackError
from edgeproof.contracts.parsing import parse_toml
from edgeproof.eval.measurement import Role
from edgeproof.eval.packs import fields
from edgeproof.eval.packs.files import is_hidden
from edgeproof.eval.packs.reader import FILE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

_OTHERWISE = "make a pack from your data, which asks the model: export-edge pack new"


def pack_folder_files(folder: Path) -> dict[str, bytes]:
    """Return the bytes of each file of a pack's folder that is not hidden, by its path inside.

    Raises:
        PackError: it is no folder, or a set cannot be filtered line by line.

    """
    if not folder.is_dir():
        raise PackError(
            f"{folder} is an encrypted pack, and its known part would be written without encryption",
            next_step="decrypt it into a private folder, and give that",
        )
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    files = {name: path.read_bytes() for name, path in paths.items() if not is_hidden(name)}
    for entry in _sets(files):
        form, cluster = entry.get("format", "jsonl"), str(entry.get("cluster", ""))
        if form != "jsonl" or cluster.startswith("block:"):
            what = f"cluster = {cluster!r}" if form == "jsonl" else f"format = {form!r}"
            raise PackError(
                f"{folder}: the set of {entry.get('file')} has {what}: it cannot be cut down line by line",
                next_step=_OTHERWISE,
            )
    return files


def known_part(files: Mapping[str, bytes], known: Collection[str]) -> dict[str, bytes]:
    """Return `files` without the lines of forget and retain probes whose id is not in `known`.

    Raises:
        PackError: nothing of a set is left.

    """
    found = dict(files)
    for entry in _sets(files):
        if entry.get("role") == Role.HOLDOUT:
            continue
        name = str(entry["file"])
        lines = [line for line in found[name].decode().split("\n") if line.strip()]
        kept = [line for line in lines if json.loads(line)["id"] in known]
        if not kept:
            raise PackError(
                f"the model knows none of the {len(lines)} probes in {name}",
                next_step=f"take the set out of {FILE}, or ask a model that knows them",
            )
        found[name] = "".join(f"{line}\n" for line in kept).encode()
    return found


def _sets(files: Mapping[str, bytes]) -> tuple[Mapping[str, object], ...]:
    try:
        table: dict[str, object] = parse_toml(files.get(FILE, b"").decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PackError(f"{FILE}: {error}", next_step="correct it") from error
    return tuple(fields.tables_of(table, "set", FILE))
