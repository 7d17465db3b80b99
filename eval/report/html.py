"""Writer for report.html: a self-contained page about a judgement, for release managers.

report.html.jinja has the text, report.css the style, and report.js the sorting of the table; the page is readable
without scripts. Every external string (ids, names, answers) passes through `inert` and is always escaped.
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
"""Maximum characters shown of a string; report.json has the complete string."""
NAMED = 12
"""Maximum number of leaking clusters named at the top; the table lists all."""


def html_report(
    judgement: Judgement, context: ReportContext, *, answers: Mapping[tuple[str, str], str] | None = None
) -> bytes:
    """Return the page, UTF-8. The same judgement and context give the same bytes."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    def finalize(value: object) -> object:
        if isinstance(value, Markup):
            return value
        return inert(value, LONGEST) if isinstance(value, str) else value

    script, template = _resource("report.js"), _resource("report.html.jinja")
    style = _resource("figures.css") + _resource("report.css")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=finalize, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = _number
    environment.filters["percent"] = lambda value: "–" if value is None else f"{100 * value:.1f}%"
    page = environment.from_string(template).render(
        judgement=judgement,
        context=context,
        answers=answers,
        style=Markup(style),  # noqa: S704 (a file of this package)
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
    """Return the digest of an inline style or script for the Content-Security-Policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _shade(projection: float) -> str:
    """Return the CSS class of a cell: p0 if nothing survives, p10 if all does."""
    return f"p{round(10 * min(1.0, max(0.0, projection)))}"


def _number(value: float | None, digits: int = 2) -> str:
    """Format a number for a table cell: "–" for None, few digits for very large values."""
    if value is None:
        return "–"
    return f"{value:.{digits}f}" if abs(value) < 1e4 else f"{value:.2e}"
