"""The baseline file: saved and loaded as canonical JSON, and held against what is to be judged by it.

One file holds a pack's scores by every backend that will gate: numbers of different engines differ by more than the
margins should have to cover. It holds scores, ids, cluster names, digests and carrier sentences; never a question, an
answer or a reply. A carrier has the probe's own words taken out, and one that comes from the base's replies stands in
replies about several clusters (`asking/carriers.py`). Ids and clusters are the pack author's own words: whoever
publishes a baseline keeps people's names out of them (docs/packs.md).
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from edgeproof.contracts.atomic import write_all
from edgeproof.contracts.errors import BaselineError
from edgeproof.eval import attestation
from edgeproof.eval.baselines.format import baselines_from_json, baselines_to_json
from edgeproof.eval.measurement import Baseline
from edgeproof.eval.verdict.consistency import check_prompt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from edgeproof.eval.measurement import Carrier, Measurement, Sources
    from edgeproof.eval.packs.pack import Pack

__all__ = [
    "assemble_baseline",
    "check_baseline",
    "choose_baseline",
    "load_baselines",
    "record_command",
    "save_baselines",
]

MAX_FILE_BYTES = 2**30
_HEAD = 12


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
    """Put the measurements together; `reference` is of `asking.reference.reference_pack`.

    Raises:
        BaselineError: they are not all of this pack and one tokenizer, or one of them lacks a score.

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
    # What could not be loaded again is refused now, not in CI.
    return baselines_from_json(baselines_to_json([baseline]), "the new baseline")[baseline.backend]


def save_baselines(
    baselines: Sequence[Baseline], path: Path, *, force: bool = False, signing_key: Ed25519PrivateKey | None = None
) -> None:
    """Write `baselines`, a backend each, to `path` at once or not at all; log-probabilities as float32, as they came.

    With `signing_key` also a signature beside it; without, one that lies there from before is removed.

    Raises:
        OutputError: `path` exists and `force` is not given, or cannot be written.

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
    """Read a baseline file strictly: what it holds, by backend.

    Raises:
        BaselineError: no such file; damaged JSON; another schema; a missing, surplus or impossible value.

    """
    name = path.name
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise BaselineError(f"{name}: {size} bytes; a baseline has at most {MAX_FILE_BYTES}", next_step=_AGAIN)
        content = path.read_bytes()
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
    """Return what `backend` recorded.

    Raises:
        BaselineError: it recorded nothing; says which did, and in which formats.

    """
    if backend in baselines:
        return baselines[backend]
    known = ", ".join(f"{name} ({', '.join(found.base_in_format)})" for name, found in baselines.items())
    raise BaselineError(
        f"the baseline was recorded with the backend {known}; this is {backend}",
        next_step=f"record it anew, with every format that ships: {record_command(format_name)}",
    )


def check_baseline(baseline: Baseline, pack: Pack, measurement: Measurement, *, format_name: str) -> tuple[str, ...]:
    """Make sure that `measurement`, of an artifact in `format_name`, can be judged by `baseline`.

    Returns:
        What differs without being an error, for the report: another engine version, processor or option.

    Raises:
        BaselineError: another pack, tokenizer, backend or format; or the measurement has other probes than the pack.

    """
    again = record_command(format_name)
    check_match(
        baseline, pack, measurement.tokenizer_digest, format_name=format_name, prompt_digest=measurement.prompt_digest
    )
    if measurement.pack_digest != pack.digest:
        raise BaselineError(_other("pack", pack.digest, measurement.pack_digest), next_step="measure with this pack")
    if tuple((score.probe, score.surface) for score in measurement.scores) != pack.keys():
        raise BaselineError(
            f"the measurement {measurement.label!r} has {len(measurement.scores)} scores, which are not the pack's "
            f"{len(pack.keys())}",
            next_step="measure it again with this pack",
        )
    ours, theirs = measurement.backend, baseline.base_in_format[format_name].backend
    if ours.get("backend") != theirs.get("backend"):
        raise BaselineError(
            f"the baseline was recorded with the backend {theirs.get('backend')}; this is {ours.get('backend')}",
            next_step=f"gate with --backend {theirs.get('backend')}, or record it anew: {again}",
        )
    return tuple(
        f"{key}: {theirs.get(key, 'not set')} when the baseline was recorded, {ours.get(key, 'not set')} now"
        for key in sorted({*ours, *theirs})
        if ours.get(key) != theirs.get(key)
    )


def check_match(
    baseline: Baseline, pack: Pack, tokenizer_digest: str, *, format_name: str, prompt_digest: str | None = None
) -> None:
    """Refuse a baseline of another pack, tokenizer or format: all that can be known before anything is measured.

    `prompt_digest` is that of what is to be measured; None where it was compared before (`verify`).

    Raises:
        BaselineError: says which, with both digests' heads and the command to record it anew.

    """
    again = record_command(format_name)
    if not baseline.prompt_digest:
        raise BaselineError(
            "the baseline was recorded by an older version of edgeproof: it does not say with which chat template, "
            "special tokens and pre-tokenizer",
            next_step=f"record it anew: {again}",
        )
    for what, recorded, found in (
        ("pack", baseline.pack_digest, pack.digest),
        ("tokenizer", baseline.tokenizer_digest, tokenizer_digest),
    ):
        if recorded != found:
            raise BaselineError(
                _other(what, recorded, found), next_step=f"use the {what} it was made with, or record it anew: {again}"
            )
    if prompt_digest is not None:
        check_prompt(prompt_digest, baseline.prompt_digest, "the artifact")
    asked = (pack.facts(), pack.surface_names(), pack.kinds(), pack.asked_twice())
    if (baseline.probes, baseline.surfaces, baseline.kinds, baseline.asked_twice) != asked:
        raise BaselineError("the baseline's probes are not the pack's, though its digest is", next_step=_AGAIN)
    if format_name not in baseline.base_in_format:
        known = ", ".join(sorted(baseline.base_in_format)) or "none"
        raise BaselineError(
            f"the baseline has no scores of the base in {format_name} (it has: {known}): without that control nothing "
            "tells whether the pack can see a leak in this format",
            next_step=f"record it anew: {again}",
        )


def _other(what: str, recorded: str, found: str) -> str:
    return f"the baseline was recorded with another {what}: {recorded[:_HEAD]}… there, {found[:_HEAD]}… here"


def record_command(format_name: str = "FORMAT") -> str:
    """Return the command that records a baseline for `format_name`."""
    return f"export-edge baseline --base BASE --adapter ADAPTER --format {format_name} --probes PACK --out FILE"


_AGAIN = f"record it anew: {record_command()}"


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no number")
