"""`export-edge inspect`: what is this adapter, artifact, pack or report; with base and adapter, what is left in it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click
from edgeproof.cli import options as opt
from edgeproof.contracts.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@click.command("inspect")
@click.argument("paths", nargs=-1, required=True, type=opt.PATH, metavar="PATH …")
@click.option("--base", type=opt.PATH, metavar="DIR|GGUF", help="What the artifact was made of.")
@opt.ADAPTERS
@click.option("--imatrix", type=opt.PATH, metavar="FILE", help="The importance matrix that it was quantized with.")
@click.option("--allow-requantize", is_flag=True, help="Accept a quantized GGUF as base.")
@opt.PACK_KEY
@click.option("--disclose", metavar="ID", help="Print one probe of the salted pack PATH with the key to its digest.")
@click.option(
    "--disclosed", type=opt.PATH, metavar="FILE", help="Find the probe that was printed so in the report PATH."
)
@opt.LISTENING
def command(paths: tuple[Path, ...], *, quiet: bool, as_json: bool, **options: Any) -> int:
    """Say what PATH is; with --base and --adapter, how much of the adapters is left in the artifact PATH.

    From the tensors alone, without running the model: the share of codes that moved, how much of the change survived
    the rounding, and whether the file is the merge, the base, merged twice, or something else.

    Exit codes: 0 done, whatever was found; 3 where it could not be read.
    """
    from edgeproof.cli.progress import Terminal
    from edgeproof.release.inspect import inspect

    if len(paths) > 1 and (options["disclose"] is not None or options["disclosed"] is not None):
        raise UsageError("--disclose takes one PACK, --disclosed one report; neither goes with anything else")
    found = []
    for path in paths:
        with Terminal(quiet=quiet or options["base"] is None) as progress:
            item = inspect(path, **options, progress=progress)
        if item.survival is not None and not quiet:
            item.show_survival(sys.stderr)
        found.append(item)
    if options["disclose"] is not None:
        click.echo(json.dumps(found[0].facts, ensure_ascii=False))
    elif as_json:
        results = [{"path": str(item.path), "kind": item.kind, **item.facts} for item in found]
        click.echo(json.dumps({"inspected": results}, allow_nan=False))
    else:
        for item in found:
            if item.survival is None:
                _show({"path": str(item.path), "kind": item.kind, **item.facts})
    return 0


def _show(values: Mapping[str, object], indent: str = "") -> None:
    """Print names and values to stderr, tables indented; what stands in a table is named as it is."""
    for key, value in values.items():
        if value in (None, "", [], {}, ()):
            continue
        label = f"{indent}{key}:" if indent else f"{key.replace('_', ' ')}:"
        if isinstance(value, dict):
            click.echo(label, err=True)
            _show(value, indent + "  ")
        elif isinstance(value, list) and all(isinstance(item, dict) for item in value):
            click.echo(label, err=True)
            for item in value:
                _show(item, indent + "  ")
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            click.echo(f"{label} {''.join(c if c.isprintable() else '�' for c in shown)}", err=True)
