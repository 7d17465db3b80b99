"""Waives a verdict: signs that a file may be released although it did not pass, for a reason and until a date."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import EvidenceError, InputError

if TYPE_CHECKING:
    from edgeproof.release.steps.arguments import StrPath


def waive(
    report: StrPath, *, reason: str, role: str, until: str | date, sign: StrPath, out: StrPath, force: bool = False
) -> tuple[str, ...]:
    """Sign a waiver of all that is unmet in `report`, for the very file that it judges; return what it waives.

    The report is read, not verified. The gate takes a waiver only for the same file, pack, baseline, policy and engine,
    and only while nothing else is unmet.

    Args:
        report: report.json or its folder, of a gate that ended with FAIL or INCONCLUSIVE.
        reason: why the file may be released all the same; it stands in reports.
        role: the role of whoever answers for it; it stands in reports.
        until: the last day on which the waiver holds, YYYY-MM-DD (UTC), at most a year ahead.
        sign: a PEM file with the ed25519 key of whoever may waive.
        out: the file to write.
        force: replace a file that exists.

    Raises:
        EvidenceError: the report is damaged, or says PASS.
        InputError: the reason or role is empty or too long, or the date is past, too far, or none.

    """
    from edgeproof.contracts.file_sets import write_all
    from edgeproof.eval import attestation
    from edgeproof.eval.report.read import has_its_digest, read_report
    from edgeproof.eval.report.write import REPORT
    from edgeproof.eval.waiver import statement, unmet_of

    path, out = Path(report), Path(out)
    path = path / REPORT if path.is_dir() else path
    key = attestation.read_private_key(Path(sign))
    for name, text in (("reason", reason), ("role", role)):
        _refuse_text(name, text)
    last = _last_day(until)
    content, told = read_report(path)
    if not has_its_digest(content):
        raise EvidenceError(f"{path} is not what its own digest says", next_step="gate again, and waive that report")
    if told["verdict"] == "PASS":
        raise EvidenceError(f"{path} is a PASS: nothing is there to be waived", next_step="release it")
    signed = attestation.sign(statement(told, role=role, reason=reason, until=last), key)
    write_all(out.absolute().parent, {out.name: signed}, force=force)
    return unmet_of(told)


def _refuse_text(name: str, text: str) -> None:
    from edgeproof.eval.waiver import LONGEST_TEXT

    if not text.strip() or len(text) > LONGEST_TEXT:
        raise InputError(
            f"the {name} has {len(text.strip())} characters; between 1 and {LONGEST_TEXT} are needed",
            next_step=f"give --{name} in a sentence",
        )


def _last_day(until: str | date) -> date:
    from edgeproof.eval.waiver import LONGEST_DAYS

    try:
        last = until if isinstance(until, date) else date.fromisoformat(until)
    except ValueError as error:
        raise InputError(f"{until} is no date", next_step="give --until YYYY-MM-DD") from error
    today = datetime.now(UTC).date()
    if last < today:
        raise InputError(f"{last} is past; today is {today} (UTC)", next_step="give a later --until")
    if last > today + timedelta(days=LONGEST_DAYS):
        raise InputError(
            f"{last} is more than {LONGEST_DAYS} days ahead",
            next_step="give an earlier --until and renew the waiver, or change the policy",
        )
    return last
