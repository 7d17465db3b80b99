"""`export-edge baseline`: record what base and merged model answer, so that CI needs the binary and this file only."""

from __future__ import annotations

import json
from typing import Any

import click
from edgeproof.cli import options as opt
from edgeproof.contracts.counting import counted


@click.command("baseline")
@opt.BASE
@opt.ADAPTERS
@click.option(
    "--unlearned",
    type=opt.PATH,
    metavar="DIR|GGUF",
    help="In place of --adapter: the unlearned model itself, where all weights were trained.",
)
@opt.FORMATS
@click.option(
    "--add-format",
    multiple=True,
    callback=opt.known_formats,
    metavar="NAME",
    help="Add a format to the baseline --out, which was recorded of the same models; only the base in it is asked.",
)
@opt.PROBES
@opt.PACK_KEY
@click.option(
    "--out", type=opt.PATH, required=True, metavar="FILE", help="The baseline: scores and carrier sentences, no probes."
)
@click.option(
    "--float",
    type=click.Choice(["gguf-f16", "gguf-f32"]),
    default="gguf-f16",
    show_default=True,
    help="Precision of base and merged; gguf-f32 where a weight is too large for float16.",
)
@click.option("--policy", type=opt.PATH, metavar="FILE", help="Sample as this policy says, not as the default one.")
@click.option(
    "--sign", type=opt.PATH, metavar="KEY", help="Sign the baseline: a PEM file with an ed25519 key ([sign])."
)
@opt.BYTES
@opt.THREADS
@opt.FORCE
@opt.LISTENING
def command(*, quiet: bool, as_json: bool, **options: Any) -> int:
    """Record what base and merged model answer at float precision, and the base in each --format.

    The files that this needs are written beside --out and removed again: room for the float model twice, and for the
    base in each format.
    """
    from edgeproof.cli.progress import Terminal
    from edgeproof.release.baseline import record_baseline

    with Terminal(quiet=quiet) as progress:
        result = record_baseline(**options, progress=progress, command=opt.given_command())
    if as_json:
        click.echo(
            json.dumps(
                {
                    "baseline": str(result.baseline),
                    "pack_digest": result.pack_digest,
                    "tokenizer_digests": dict(result.tokenizer_digests),
                    "formats": list(result.formats),
                }
            )
        )
    if not quiet:
        resumed = f", {counted(result.resumed, 'answer')} of an interrupted run" if result.resumed else ""
        click.echo(
            f"{result.baseline}  {counted(result.probes, 'probe')}, base in {', '.join(result.formats)}{resumed}",
            err=True,
        )
    return 0
