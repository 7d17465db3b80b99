"""`export-edge [export]`: merge, quantize, write; with --probes and --baseline also gate what was written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from edgeproof.cli import options as opt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.release.export import Artifact


@click.command("export")
@opt.BASE
@opt.ADAPTERS
@opt.FORMATS
@click.option("--out", type=opt.PATH, required=True, metavar="DIR", help="Where the artifacts go.")
@click.option("--unmerged", is_flag=True, help="Quantize the base alone, with the adapter as a GGUF LoRA beside it.")
@opt.BYTES
@opt.JUDGING
@opt.THREADS
@opt.FORCE
@opt.LISTENING
def command(*, quiet: bool, as_json: bool, **options: Any) -> int:
    """Merge adapters into a base and write what ships: GGUF, quantized by llama.cpp's own kernels.

    With --probes and --baseline every artifact is gated at once, and the exit code is the worst verdict's. Without them
    the export ends with NOT GATED.
    """
    from edgeproof.cli.gate import show
    from edgeproof.cli.progress import Terminal
    from edgeproof.release.export import export

    with Terminal(quiet=quiet) as progress:

        def show_artifacts(artifacts: Sequence[Artifact]) -> None:
            progress.finish()
            for item in artifacts if not quiet else ():
                beside = f" + {item.lora.name}" if item.lora else ""
                size = item.bytes / 1e6
                click.echo(f"{item.path}{beside}  {size:.1f} MB, {item.effective_bits:.2f} bits per weight", err=True)

        result = export(**options, progress=progress, command=opt.given_command(), on_written=show_artifacts)
    listed = [
        {
            "format": item.format,
            "artifact": str(item.path),
            "lora": str(item.lora) if item.lora else None,
            "bytes": item.bytes,
            "sha256": item.sha256,
            "effective_bits": item.effective_bits,
        }
        for item in result.artifacts
    ]
    if result.gated:
        return show(result.gated, as_json=as_json, artifacts=listed)
    if as_json:
        click.echo(json.dumps({"artifacts": listed, "verdict": None}))
    if not quiet:
        click.echo("NOT GATED: nothing was probed. Add --probes PACK --baseline FILE.", err=True)
    return 0
