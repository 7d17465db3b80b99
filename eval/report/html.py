"""Writes a judgement as report.html: one page that asks no network for anything, for people who decide about a release.

The words of the page stand in report.html.jinja, its looks in report.css, and its table's sorting in report.js: without
scripts everything can still be read. Every string that comes from outside (ids, names, answers) passes through `inert`
and is escaped, whatever the template forgets.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING

from edgeproof.eval.report.figures import PLOT, interval, scatter
from edgeproof.eval.report.sanitize import inert
from edgeproof.eval.report.survival import LOST, heat_map
from edgeproof.eval.stats.mean_bounds import CAUTION, MINIMUM_CLUSTERS, RESAMPLES, SEED
from edgeproof.eval.verdict.asking_table import surface_rows
from edgeproof.eval.verdict.wording import amount, bound_words, limit_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeproof.eval.report.context import ReportContext
    from edgeproof.eval.verdict.judgement import Judgement

LONGEST = 4000
"""Characters shown of one string; report.json has them all."""
NAMED = 12
"""Leaking clusters named in the first screen; the table names all."""


def html_report(
    judgement: Judgement, context: ReportContext, *, answers: Mapping[tuple[str, str], str] | None = None
) -> bytes:
    """Give the page, UTF-8. The same judgement and context give the same bytes."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    def finalize(value: object) -> object:
        if isinstance(value, Markup):
            return value
        return inert(value, LONGEST) if isinstance(value, str) else value

    style, script, template = (_resource(name) for name in ("report.css", "report.js", "report.html.jinja"))
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=finalize, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = _number
    environment.filters["percent"] = lambda value: "–" if value is None else f"{100 * value:.1f}%"
    page = environment.from_string(template).render(
        judgement=judgement,
        context=context,
        answers=answers,
        style=Markup(style),  # noqa: S704 (our own file)
        script=Markup(script),  # noqa: S704 (the same)
        style_digest=_source_digest(style),
        script_digest=_source_digest(script),
        leaking=[subject.cluster for subject in judgement.subjects if subject.leaks],
        subjects=sorted(judgement.subjects, key=lambda subject: (not subject.leaks, subject.clean)),
        rows=sorted(judgement.probes, key=lambda row: (not row.leaks, not row.judged)),
        asking=surface_rows(judgement.asking),
        figures={criterion.name: interval(criterion) for criterion in judgement.criteria},
        scatter=scatter(judgement.probes),
        survival=context.survival,
        heat=None if context.survival is None else heat_map(context.survival),
        shade=_shade,
        lost=LOST,
        plot=PLOT,
        named=NAMED,
        amount=amount,
        bound_words=bound_words,
        limit_words=limit_words,
        bootstrap={
            "resamples": RESAMPLES,
            "seed": SEED,
            "caution": CAUTION,
            "minimum clusters": MINIMUM_CLUSTERS,
        },
    )
    return page.encode() + b"\n"


def _resource(name: str) -> str:
    return files("edgeproof.eval").joinpath("report", "page", name).read_text(encoding="utf-8")


def _source_digest(text: str) -> str:
    """Give what a Content-Security-Policy names an inline style or script by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _shade(projection: float) -> str:
    """Give the class of a cell's colour: p0 where nothing is left, p10 where all is."""
    return f"p{round(10 * min(1.0, max(0.0, projection)))}"


def _number(value: float | None, digits: int = 2) -> str:
    """Give a number for a table's cell: "–" for none, few digits for what is far too large."""
    if value is None:
        return "–"
    return f"{value:.{digits}f}" if abs(value) < 1e4 else f"{value:.2e}"
