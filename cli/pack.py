"""`export-edge pack`: make a pack from data."""

from __future__ import annotations

import json
from typing import Any

import click
from edgeproof.cli import options as opt


@click.group("pack", no_args_is_help=True)
def command() -> None:
    """Make a pack of probes from data."""


@command.command("new")
@click.option("--forget", type=opt.PATH, required=True, metavar="FILE", help="What must go, as for `unlearn`.")
@click.option("--retain", type=opt.PATH, metavar="FILE", help="What is trained to stay: reported, not judged.")
@click.option("--out", type=opt.PATH, required=True, metavar="PACK", help="The folder to write; see --encrypt-to.")
@click.option("--name", metavar="NAME", help="The pack's name; that of --out by default.")
@click.option(
    "--cluster-by",
    metavar="COLUMN|block:N|each|one",
    help="What tells subjects apart: a column, N rows in a row (block:20, TOFU), each question, or all are about one.",
)
@click.option(
    "--clusters", type=click.IntRange(1, 10_000), default=150, show_default=True, help="Most subjects, sampled."
)
@click.option(
    "--retain-probes",
    type=click.IntRange(0, 10_000),
    default=500,
    show_default=True,
    help="Untrained retain probes from the banks that ship with edgeproof.",
)
@click.option("--bank", multiple=True, metavar="NAME", help="Take this bank; by default those in the data's language.")
@click.option(
    "--base", type=opt.PATH, metavar="MODEL", help="The model before unlearning: what it does not know is left out."
)
@click.option("--pseudonyms", is_flag=True, help="Number ids and clusters, which reports contain.")
@click.option("--salt", type=opt.PATH, metavar="FILE", help="The pack's secret salt; made if the file is missing.")
@click.option("--encrypt-to", multiple=True, metavar="KEY", help="Write one file, encrypted to this age key (age1…).")
@opt.THREADS
@opt.FORCE
@opt.LISTENING
def new(*, quiet: bool, as_json: bool, **options: Any) -> int:
    """Make a pack from what is to be forgotten: probes, other wordings, wrong answers, holdout, retain probes.

    The same files and options give the same pack, byte for byte. Nothing is sent anywhere. What the pack cannot show is
    said, and stands in its README.md.

    Exit codes: 0 written; 3 the data cannot be used, or nothing could be written.
    """
    from edgeproof.cli.progress import Terminal
    from edgeproof.release.pack_new import pack_new, show

    with Terminal(quiet=quiet) as progress:
        made = pack_new(**options, progress=progress)
        progress.finish()
    if not quiet:
        show(made)
    if as_json:
        click.echo(json.dumps(made.to_json(), allow_nan=False))
    return 0
