"""`export-edge probe`: what a model knows of a pack. A measurement, not a verdict."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from edgeproof.cli import options as opt

if TYPE_CHECKING:
    from pathlib import Path


@click.command("probe")
@click.argument("model", type=opt.PATH)
@opt.PROBES
@opt.PACK_KEY
@click.option(
    "--write-known",
    type=opt.PATH,
    metavar="DIR",
    help="Write the pack's known part: a folder without the forget and retain probes that MODEL does not know.",
)
@click.option(
    "--backend", metavar="NAME", help="Engine that runs the model (default: llama.cpp; onnxruntime for ONNX folders)."
)
@opt.THREADS
@opt.LISTENING
def command(model: Path, *, quiet: bool, as_json: bool, **options: Any) -> int:
    """Ask MODEL every probe of a pack, and say what it knows by set, cluster and surface.

    MODEL is a Hugging Face folder, a GGUF file or an ONNX folder: a base, a checkpoint or an artifact. Neither adapter
    nor baseline is needed. A Hugging Face folder is written as a float16 GGUF into the folder for temporary files
    (TMPDIR), and removed.

    Exit codes: 0 asked, whatever it knows; 3 it could not be.
    """
    from edgeproof.cli.progress import Terminal
    from edgeproof.release.probe import probe, show

    with Terminal(quiet=quiet) as progress:
        found = probe(model, **options, progress=progress)
        progress.finish()
    show(found)
    if as_json:
        click.echo(json.dumps(found.to_json(), allow_nan=False))
    return 0
