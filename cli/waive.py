"""`export-edge waive`: sign that a file may be released although it did not pass."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from edgeproof.cli import options as opt

if TYPE_CHECKING:
    from pathlib import Path


@click.command("waive")
@click.argument("report", type=opt.PATH)
@click.option("--reason", required=True, metavar="TEXT", help="Why; it stands in reports.")
@click.option("--role", required=True, metavar="TEXT", help="The role of whoever answers for it; it stands in reports.")
@click.option("--until", required=True, metavar="DATE", help="The last day, YYYY-MM-DD (UTC), at most a year ahead.")
@click.option("--sign", type=opt.PATH, required=True, metavar="KEY", help="A PEM file with an ed25519 key ([sign]).")
@click.option("--out", type=opt.PATH, required=True, metavar="FILE", help="The waiver.")
@opt.FORCE
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(report: Path, *, as_json: bool, **options: Any) -> int:
    """Waive all that is unmet in REPORT (report.json or its folder), for the very file that it judges.

    `export-edge gate … --waiver FILE --waiver-key PUB` then says "FAIL, waived"; its exit code is 0 only with
    --accept-waivers. The verdict stays, and never becomes PASS. docs/evidence.md.

    Exit codes: 0 written; 3 could not do it.
    """
    from edgeproof.contracts.visible import escaped
    from edgeproof.release.waive import waive

    waived = waive(report, **options)
    click.echo(f"Waived until {options['until']} (UTC), in {escaped(str(options['out']))}:", err=True)
    for item in waived:
        click.echo(f"  {escaped(item)}", err=True)
    if as_json:
        click.echo(json.dumps({"waiver": str(options["out"]), "until": options["until"], "waives": list(waived)}))
    return 0
