"""`export-edge table`: reports of several methods and formats as rows, and as a table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from edgeproof.cli import options as opt

if TYPE_CHECKING:
    from pathlib import Path


@click.command("table")
@click.argument("results", nargs=-1, required=True, type=opt.PATH, metavar="REPORT|ROW …")
@click.option("--method", default="", metavar="NAME", help="The unlearning method, for reports that name none.")
@click.option(
    "--evaluation", type=opt.PATH, multiple=True, metavar="FILE", help="What `evaluate` measured on the same artifacts."
)
@click.option("--out", type=opt.PATH, metavar="DIR", help="Where the rows of the reports go, a JSON file each.")
@click.option("--sign", type=opt.PATH, metavar="KEY", help="Sign each row: a PEM file with an ed25519 key ([sign]).")
@click.option(
    "--key", type=opt.PATH, multiple=True, metavar="PUB", help="Refuse a row that none of these public keys signed."
)
@opt.FORCE
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, in place of the table.")
def command(results: tuple[Path, ...], *, as_json: bool, **options: Any) -> int:
    """Print a table in Markdown: method × format → verdict, leaks, recovery, utility, costs, size.

    REPORT is report.json of a gate or its folder; ROW is what --out wrote, or a folder of it. Reports are read, not
    verified; `export-edge verify REPORT --row ROW` checks a row against its report (docs/community.md).

    Exit codes: 0 printed, whatever the verdicts are; 3 a report or a row cannot be read, or does not hold.
    """
    from edgeproof.release.table import table

    found = table(results, **options)
    for path in found.written:
        click.echo(str(path), err=True)
    click.echo(json.dumps({"rows": found.rows}, allow_nan=False) if as_json else found.markdown, nl=as_json)
    return 0
