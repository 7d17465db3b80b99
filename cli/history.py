"""`export-edge history`: the reports of a folder, a line a release."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
from edgeproof.cli import options as opt

if TYPE_CHECKING:
    from pathlib import Path


@click.command("history")
@click.argument("folder", type=opt.PATH, metavar="DIR")
@click.option("--out", type=opt.PATH, metavar="FILE", help="The HTML page to write, with trends over the releases.")
@opt.FORCE
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(folder: Path, *, out: Path | None, force: bool, as_json: bool) -> int:
    """Print a line for every report.json in DIR and below, in the order of time.

    Reports that cannot be read, copies, and releases that are not comparable with the one before, are named. The
    reports are read, not verified (docs/releases.md).

    Exit codes: 0 at least one report was read; 3 none could be.
    """
    from edgeproof.release.history import history, show

    found = history(folder, out=out, force=force)
    show(found)
    if as_json:
        click.echo(json.dumps(found.to_json(), allow_nan=False))
    return 0
