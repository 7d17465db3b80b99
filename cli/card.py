"""`export-edge card`: evidence for a model card."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from edgeproof.cli import options as opt

if TYPE_CHECKING:
    from pathlib import Path


@click.command("card")
@click.argument("reports", nargs=-1, required=True, type=opt.PATH, metavar="REPORT …")
@click.option("--name", default="", metavar="NAME", help="The model's name; by default that of the base.")
def command(reports: tuple[Path, ...], *, name: str) -> int:
    """Print what a model card should say of the files that REPORT … judge: Hugging Face metadata, and a section.

    Markdown on stdout, without texts of probes. The reports are read, not verified: `export-edge verify` does that.

    Exit codes: 0 printed, whatever the verdicts are; 3 a report cannot be read.
    """
    from edgeproof.release.card import card

    click.echo(card(reports, name=name), nl=False)
    return 0
