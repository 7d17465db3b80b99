"""Writer for report.html: a self-contained page about a judgement, for release managers.

report.html.jinja has the text, report.css the style, and report.js the sorting of the table; the page is readable
without scripts. Every external string (ids, names, answers) passes through `inert` and is always escaped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.eval.report.figures import PLOT, interval, scatter
from edgeproof.eval.report.page_template import render_page
from edgeproof.eval.report.survival import LOST, heat_map
from edgeproof.eval.stats.mean_bounds import CAUTION, MINIMUM_CLUSTERS, RESAMPLES, SEED
from edgeproof.eval.verdict.asking_table import surface_rows
from edgeproof.eval.verdict.wording import amount, bound_words, limit_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeproof.eval.report.context import ReportContext
    from edgeproof.eval.verdict.judgement import Judgement

NAMED = 12
"""Maximum number of leaking clusters named at the top; the table lists all."""


def html_report(
    judgement: Judgement, context: ReportContext, *, answers: Mapping[tuple[str, str], str] | None = None
) -> bytes:
    """Return the page, UTF-8. The same judgement and context give the same bytes."""
    return render_page(
        "report.html.jinja",
        scripts=("report.js",),
        judgement=judgement,
        context=context,
        answers=answers,
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


def _shade(projection: float) -> str:
    """Return the CSS class of a cell: p0 if nothing survives, p10 if all does."""
    return f"p{round(10 * min(1.0, max(0.0, projection)))}"
