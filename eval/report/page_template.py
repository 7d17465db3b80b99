"""Renders a self-contained HTML page: one style sheet for all, inline, and every external string sanitized.

figures.css and report.css have the style; a page names no address and its Content-Security-Policy allows none.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from edgeproof.eval.report.sanitize import inert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jinja2 import Template

LONGEST = 4000
"""Maximum characters shown of a string; the JSON has the complete string."""
STYLES = ("figures.css", "report.css")


def render_page(template: str, *, scripts: Sequence[str] = (), **values: object) -> bytes:
    """Render a template of `page/`, UTF-8. The same values give the same bytes.

    The template gets `values`, and `style`, `script` and their digests for the policy.
    """
    from markupsafe import Markup

    style, script = ("".join(map(_resource, names)) for names in (STYLES, scripts))
    page = compiled(template).render(
        style=Markup(style),  # noqa: S704 (a file of this package)
        script=Markup(script),  # noqa: S704 (the same)
        style_digest=_source_digest(style),
        script_digest=_source_digest(script),
        **values,
    )
    return page.encode() + b"\n"


@cache
def compiled(template: str) -> Template:
    """Compile a template of `page/`, once: it takes longer than to render it."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    def finalize(value: object) -> object:
        if isinstance(value, Markup):
            return value
        return inert(value, LONGEST) if isinstance(value, str) else value

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=finalize, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = _number
    environment.filters["percent"] = lambda value: "–" if value is None else f"{100 * value:.1f}%"
    return environment.from_string(_resource(template))


def _resource(name: str) -> str:
    return files("edgeproof.eval").joinpath("report", "page", name).read_text(encoding="utf-8")


def _source_digest(text: str) -> str:
    """Return the digest of an inline style or script for the Content-Security-Policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _number(value: float | None, digits: int = 2) -> str:
    """Format a number for a table cell: "–" for None, few digits for very large values."""
    if value is None:
        return "–"
    return f"{value:.{digits}f}" if abs(value) < 1e4 else f"{value:.2e}"
