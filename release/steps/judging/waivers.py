"""Reads a waiver and holds it against a judgement. One that does not hold is ignored, with a warning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.errors import EvidenceError, UsageError

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from edgeproof.contracts.progress import Progress
    from edgeproof.eval.report.context import Waived
    from edgeproof.eval.verdict.judgement import Judgement
    from edgeproof.eval.waiver import Waiver


def read_signed_waiver(
    waiver: Path | None, waiver_key: Path | None, progress: Progress, *, accept: bool
) -> Waiver | None:
    """Read a waiver whose signature holds; None, with a warning, where it does not.

    Raises:
        InputError: the waiver or the key is missing.
        UsageError: a waiver without a key, or the reverse.

    """
    if waiver is None:
        if waiver_key is not None or accept:
            raise UsageError("--waiver-key and --accept-waivers are about a --waiver", next_step="add --waiver FILE")
        return None
    if waiver_key is None:
        raise UsageError(
            "--waiver without --waiver-key: anybody could have written it", next_step="add --waiver-key PUB"
        )
    from edgeproof.eval.waiver import read_waiver

    try:
        return read_waiver(waiver, waiver_key)
    except EvidenceError as error:
        progress.warn(f"WAIVER IGNORED: {error.message}")
        return None


def holding(
    waiver: Waiver | None, judgement: Judgement, *, pack: str, baseline: str, today: date, progress: Progress
) -> Waived | None:
    """Return what a report shows of a waiver that covers the judgement; otherwise warn and return None.

    `pack` is the digest of the pack's files, `baseline` that of the baseline's file, `today` in UTC.
    """
    if waiver is None:
        return None
    from edgeproof.eval.measurement import Verdict
    from edgeproof.eval.waiver import refusal

    if judgement.verdict == Verdict.PASS:
        progress.warn("the waiver is not needed: PASS")
        return None
    why = refusal(waiver, judgement, pack=pack, baseline=baseline, today=today)
    if why:
        progress.warn(f"WAIVER IGNORED: {why}")
        return None
    return waiver.shown()
