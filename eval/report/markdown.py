"""Writer for the Markdown summary of a judgement, for a CI step or merge request, without texts of probes."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from edgeproof.eval.report.sanitize import inert
from edgeproof.eval.verdict.asking_table import surface_rows
from edgeproof.eval.verdict.wording import amount, bound_words

if TYPE_CHECKING:
    from edgeproof.eval.report.context import ReportContext
    from edgeproof.eval.verdict.judgement import Judgement

NAMED = 12
"""Maximum number of leaking clusters named; report.html lists all."""
LONGEST = 1000

_MARKUP = re.compile(r"([\\`*_\[\]|~#$!@])")


def markdown_summary(judgement: Judgement, context: ReportContext) -> bytes:
    """Return the document, UTF-8; external names are formatted as code, so that they cannot contain markup."""
    reasons = "; ".join(str(reason) for reason in (judgement.reason, *judgement.also))
    what = (context.artifact, judgement.format_name, judgement.artifact_sha256)
    lines = [
        f"## {judgement.verdict}{', waived' if context.waived else ''}: {prose(reasons)}",
        "",
        *([] if context.waived is None else [f"**{prose(context.waived.words)}**", ""]),
        " · ".join(map(code, what)),
        "",
        prose(judgement.summary),
        "",
    ]
    leaking = [subject.cluster for subject in judgement.subjects if subject.leaks]
    if leaking:
        more = f" and {len(leaking) - NAMED} more" if len(leaking) > NAMED else ""
        lines += [f"Leaking: {', '.join(map(code, leaking[:NAMED]))}{more}.", ""]
    lines += ["| criterion | | found | limit |", "|---|---|---|---|"]
    for criterion in judgement.criteria:
        limit = "" if criterion.limit is None else amount(criterion.limit, criterion.unit)
        found = prose(f"{criterion.found}{bound_words(criterion)}")
        lines.append(f"| {prose(criterion.title)} | {criterion.status} | {found} | {limit} |")
    for control in judgement.controls:
        lines.append(f"| control: {prose(control.title)} | {control.status} | {prose(control.found)} | |")
    if judgement.precise is not None:
        precise = judgement.precise
        lines.append(f"| {precise.how} | {precise.verdict} | {prose(precise.reason)} | |")
    lines += _asking_lines(judgement)
    lines += ["", *(f"{number}. {prose(step)}" for number, step in enumerate(judgement.next_steps, start=1))]
    if judgement.notes:
        lines += ["", "Notes:", "", *(f"- {prose(note)}" for note in judgement.notes)]
    return "\n".join(lines).encode() + b"\n"


def _asking_lines(judgement: Judgement) -> list[str]:
    """Give the table of what each surface brings out of the base."""
    asking = judgement.asking
    lines = [
        "",
        f"Brought out of the base in this format, of {asking.known} {asking.unit} that it gives away on any asking:",
        "",
        "| surface | kind | | greedy | extraction | samples |",
        "|---|---|---|---|---|---|",
    ]
    for row in surface_rows(asking):
        cells = " | ".join(map(prose, (row.standing, row.greedy, row.extraction, row.samples)))
        lines.append(f"| {code(row.surface)} | {row.kind} | {cells} |")
    return lines


def code(text: str) -> str:
    """Format an external name as code, in which nothing is markup."""
    return "`" + inert(text).replace("`", "ˋ").replace("|", "¦") + "`"


def prose(text: str) -> str:
    """Escape markup and HTML in a sentence."""
    return _MARKUP.sub(r"\\\1", html.escape(inert(text, LONGEST), quote=False))
