"""`export-edge compare`: what changed from one release's report to the next one's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
from edgeproof.cli import options as opt

if TYPE_CHECKING:
    from pathlib import Path


@click.command("compare")
@click.argument("old", type=opt.PATH)
@click.argument("new", type=opt.PATH)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Markdown on stdout, for a comment on a pull request.")
def command(old: Path, new: Path, *, as_json: bool, as_markdown: bool) -> int:
    """Compare two reports of the gate (report.json or its folder): leaks, costs, speed and size.

    The reports are read, not verified: `export-edge verify` does that. What "worse" and "better" mean:
    docs/releases.md.

    Exit codes: 0 compared, whatever was found; 3 a report cannot be read, or the two are not comparable.
    """
    from edgeproof.release.compare import compare, markdown, show

    if as_json and as_markdown:
        raise click.UsageError("--json and --markdown both write to stdout: give one of them")
    found = compare(old, new)
    show(found)
    if as_json:
        click.echo(json.dumps(found.to_json(), allow_nan=False))
    if as_markdown:
        click.echo(markdown(found), nl=False)
    return 0
