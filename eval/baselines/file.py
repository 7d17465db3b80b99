"""The baseline file: saved and loaded as canonical JSON.

One file holds a pack's scores by every backend that will gate: differences between engines exceed the margins of the
verdict. It holds scores, ids, cluster names, digests and carrier sentences; never a question, an answer or a reply. The
probe's own words are removed from a carrier, and a carrier from the base's replies occurs in replies about several
clusters (`asking/carriers.py`). Ids and cluster names are chosen by the pack's author: keep people's names out of them
before publishing a baseline (docs/packs.md).
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import BaselineError
from edgeproof.contracts.file_sets import write_all
from edgeproof.contracts.parsing import read_file
from edgeproof.eval import attestation
from edgeproof.eval.baselines.fit import record_command
from edgeproof.eval.baselines.format import baselines_to_json
from edgeproof.eval.baselines.read import baselines_from_json
from edgeproof.eval.measurement import Baseline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from edgeproof.eval.measurement import Carrier, Measurement, Sources
    from edgeproof.eval.packs.pack import Pack

__all__ = [
    "assemble_baseline",
    "choose_baseline",
    "load_baselines",
    "save_baselines",
]

MAX_FILE_BYTES = 2**30


def assemble_baseline(
    pack: Pack,
    *,
    base: Measurement,
    merged: Measurement,
    base_in_format: Mapping[str, Measurement],
    ignorance: Mapping[str, float],
    sources: Sources | None = None,
    carriers: Sequence[Carrier] = (),
    reference: Mapping[str, Measurement] | None = None,
    reference_kinds: Mapping[str, str] | None = None,
) -> Baseline:
    """Assemble a baseline from measurements; `reference` measures `asking.reference.reference_pack`.

    Raises:
        BaselineError: the measurements are of other packs or several tokenizers, or one lacks a score.

    """
    baseline = Baseline(
        pack_name=pack.name,
        pack_digest=pack.digest,
        tokenizer_digest=base.tokenizer_digest,
        probes=pack.facts(),
        surfaces=pack.surface_names(),
        base=base,
        merged=merged,
        base_in_format=dict(base_in_format),
        ignorance=dict(ignorance),
        prompt_digest=base.prompt_digest,
        sources=sources,
        kinds=pack.kinds(),
        carriers=tuple(carriers),
        reference={name: replace(found, pack_digest=pack.digest) for name, found in (reference or {}).items()},
        reference_kinds=dict(reference_kinds or {}),
        asked_twice=pack.asked_twice(),
    )
    # Refuse here what could not be loaded in CI.
    return baselines_from_json(baselines_to_json([baseline]), "the new baseline")[baseline.backend]


def save_baselines(
    baselines: Sequence[Baseline], path: Path, *, force: bool = False, signing_key: Ed25519PrivateKey | None = None
) -> None:
    """Write `baselines`, one per backend, to `path` atomically; log-probabilities as float32.

    With `signing_key` also write a signature beside it; without, remove an existing one.

    Raises:
        OutputError: `path` exists and `force` is not given, or `path` cannot be written.

    """
    table = baselines_to_json(baselines)
    text = json.dumps(table, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    content = text.encode() + b"\n"
    contents, beside = {path.name: content}, attestation.signature_path(path).name
    if signing_key is not None:
        statement = attestation.baseline_statement(path.name, content, baselines[0])
        contents[beside] = attestation.sign(statement, signing_key)
    write_all(path.parent, contents, force=force, without=() if signing_key is not None else (beside,))


def load_baselines(path: Path) -> dict[str, Baseline]:
    """Read a baseline file strictly; return its baselines by backend.

    Raises:
        BaselineError: the file is missing; damaged JSON; another schema; a missing, surplus or impossible value.

    """
    name = path.name
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise BaselineError(f"{name}: {size} bytes; a baseline has at most {MAX_FILE_BYTES}", next_step=_AGAIN)
        content = read_file(path)
    except OSError as error:
        raise BaselineError(
            f"{path} cannot be read: {error.strerror or error}", next_step=f"record it: {record_command()}"
        ) from error
    try:
        table = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BaselineError(f"{name} is damaged: {error}", next_step=_AGAIN) from error
    return baselines_from_json(table, name)


def choose_baseline(baselines: Mapping[str, Baseline], backend: str, *, format_name: str) -> Baseline:
    """Return the baseline of `backend`.

    Raises:
        BaselineError: there is none; the message lists the recorded backends and formats.

    """
    if backend in baselines:
        return baselines[backend]
    known = ", ".join(f"{name} ({', '.join(found.base_in_format)})" for name, found in baselines.items())
    raise BaselineError(
        f"the baseline was recorded with the backend {known}; this is {backend}",
        next_step=f"record it again, with every format that ships: {record_command(format_name)}",
    )


_AGAIN = f"record it again: {record_command()}"


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a number")
