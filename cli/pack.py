"""`export-edge pack`: make a pack from data, and check it against the base."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from edgeproof.cli import options as opt

if TYPE_CHECKING:
    from pathlib import Path

NOT_STRONG = 4
"""Exit code of a pack that is not strong enough: its gate would often be INCONCLUSIVE."""


@click.group("pack", no_args_is_help=True)
def command() -> None:
    """Make a pack of probes from data, and check it against the base that it will gate."""


@command.command("new")
@click.option("--forget", type=opt.PATH, required=True, metavar="FILE", help="What must go, as for `unlearn`.")
@click.option("--retain", type=opt.PATH, metavar="FILE", help="What is trained to stay: reported, not judged.")
@click.option(
    "--untrained", type=opt.PATH, metavar="FILE", help="Questions like those of --retain that are not trained: judged."
)
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


@command.command("check")
@click.argument("pack", type=opt.PATH)
@opt.PACK_KEY
@opt.BASE
@opt.FORMATS
@click.option("--policy", type=opt.PATH, metavar="FILE", help="Limits; the defaults are in docs/verdict.md.")
@click.option(
    "--baseline",
    type=opt.PATH,
    metavar="FILE",
    help="Take what unlearning does from this baseline's merged model, and do not assume it.",
)
@click.option("--out", type=opt.PATH, metavar="DIR", help="Folder for the proposed changes: changes.json, changes.md.")
@click.option(
    "--show-answers", is_flag=True, help="Put probes and answers into the list: it then holds what was erased."
)
@opt.THREADS
@opt.FORCE
@opt.LISTENING
def check(pack: Path, *, quiet: bool, as_json: bool, **options: Any) -> int:
    """Say whether PACK is strong and large enough for a base, in each format, and what would make it so.

    PACK is a folder, or one file encrypted with age. The base is asked every probe; then good files are synthesized
    with the quantization noise that was measured, and judged by the gate's own code. The pack is not changed.

    Exit codes: 0 a good file would PASS nine times in ten in every format; 4 it would not; 3 it could not be checked.
    """
    from edgeproof.cli.progress import Terminal
    from edgeproof.release.pack_check import pack_check, show

    with Terminal(quiet=quiet) as progress:
        found = pack_check(pack, **options, progress=progress)
        progress.finish()
    show(found, tables=quiet)  # else they were told before the search for sizes
    if as_json:
        click.echo(json.dumps(found.to_json(), allow_nan=False))
    return 0 if found.strong else NOT_STRONG
