"""Makes rows of reports, and a table of rows: method × format → recovery, leaks, utility, verdict."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import UsageError
from edgeproof.release.steps.arguments import as_path, as_paths

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.release.steps.arguments import StrPath


@dataclass(frozen=True)
class TableResult:
    """Rows, and the table of them.

    Attributes:
        rows: flat names and values of each, in the order given.
        markdown: the table.
        written: the rows' files, and their signatures; empty without `out`.

    """

    rows: tuple[Mapping[str, str | int | float], ...]
    markdown: str
    written: tuple[Path, ...]


def table(
    results: StrPath | Sequence[StrPath],
    *,
    method: str = "",
    evaluation: StrPath | Sequence[StrPath] = (),
    out: StrPath | None = None,
    sign: StrPath | None = None,
    key: StrPath | Sequence[StrPath] = (),
    force: bool = False,
) -> TableResult:
    """Make a row of each report, read rows that others made, and put all into one table.

    Reports are read, not verified: `verify` does that, and with `row` checks a row against its report. A row is checked
    by itself: its arithmetic, and with `key` its signature.

    Args:
        results: report.json of a gate or its folder; a row, or a folder of rows.
        method: the unlearning method, for reports that name none.
        evaluation: files of `evaluate`, whose metrics go into the rows of the same artifacts.
        out: the folder for the rows of the reports, a file each; nothing is written by default.
        sign: a PEM file with an ed25519 key: each row gets a signature beside it.
        key: public keys: refuse a row that none of them signed.
        force: replace rows that exist.

    Raises:
        EvidenceError: a report or a row is missing, damaged, or contradicts itself; or a file is there twice.
        InputError: a report names no method and `method` is not given; or an evaluation is of none of these artifacts.

    """
    from edgeproof.contracts.file_sets import write_all
    from edgeproof.eval.attestation import read_private_key, signature_path
    from edgeproof.eval.table.markdown import markdown_table
    from edgeproof.eval.table.row import encode, file_name
    from edgeproof.eval.table.signing import sign_row
    from edgeproof.release.steps.rows import gather, refuse_same

    folder, secret = as_path(out), as_path(sign)
    if secret is not None and folder is None:
        raise UsageError("--sign signs what --out writes", next_step="give --out DIR, or leave --sign out")
    signing_key = None if secret is None else read_private_key(secret)
    made, read = gather(as_paths(results), as_paths(evaluation), method, as_paths(key))
    refuse_same([*made, *read])
    files: dict[str, bytes] = {}
    for row in made if folder is not None else ():
        name, content = file_name(row), encode(row)
        files[name] = content
        if signing_key is not None:
            files[signature_path(Path(name)).name] = sign_row(name, hashlib.sha256(content).hexdigest(), signing_key)
    if folder is not None and files:
        folder.mkdir(parents=True, exist_ok=True)
        write_all(folder, files, force=force)
    written = () if folder is None else tuple(folder / name for name in files)
    return TableResult((*made, *read), markdown_table([*made, *read]), written)
