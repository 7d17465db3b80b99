"""`export-edge [export]`: merge, quantize, write; with --probes and --baseline also gate what was written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from edgeproof.cli import options as opt
from edgeproof.contracts.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeproof.cli.gate import Judging


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
def command(
    base: Path,
    adapters: tuple[Path, ...],
    formats: tuple[str, ...],
    out: Path,
    *,
    unmerged: bool,
    choices: Mapping[str, Any],
    judging: Mapping[str, Any],
    threads: int | None,
    force: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Merge adapters into a base and write what ships: GGUF, quantized by llama.cpp's own kernels.

    With --probes and --baseline every artifact is gated at once, and the exit code is the worst verdict's. Without them
    the export ends with NOT GATED.
    """
    from edgeproof.cli.gate import Candidate, check_judging, gate_all
    from edgeproof.cli.progress import Terminal
    from edgeproof.export.pipeline import ExportOptions, export

    probed = _judging(judging, out, threads=threads, force=force)
    texts = check_judging(probed) if probed is not None else ()
    with Terminal(quiet=quiet) as progress:
        exported = export(
            base,
            adapters,
            formats or ("gguf-q4",),
            out,
            ExportOptions(unmerged=unmerged, **choices),
            texts=texts,
            force=force,
            threads=threads,
            command=opt.given_command(),
            progress=progress,
        )
        progress.finish()
        results = []
        for item in exported:
            results.append(
                {
                    "format": item.format,
                    "artifact": str(item.path),
                    "lora": str(item.lora) if item.lora else None,
                    "bytes": item.manifest.artifact.bytes,
                    "sha256": item.manifest.artifact.sha256,
                    "effective_bits": item.manifest.effective_bits,
                }
            )
            if not quiet:
                beside = f" + {item.lora.name}" if item.lora else ""
                size = item.manifest.artifact.bytes / 1e6
                click.echo(
                    f"{item.path}{beside}  {size:.1f} MB, {item.manifest.effective_bits:.2f} bits per weight", err=True
                )
        if probed is None:
            if as_json:
                click.echo(json.dumps({"artifacts": results, "verdict": None}))
            if not quiet:
                click.echo("NOT GATED: nothing was probed. Add --probes PACK --baseline FILE.", err=True)
            return 0
        candidates = [Candidate(item.path, item.lora, item.format) for item in exported]
        return gate_all(candidates, probed, as_json=as_json, progress=progress, artifacts=results)


def _judging(given: Mapping[str, Any], out: Path, *, threads: int | None, force: bool) -> Judging | None:
    """Return what the gate goes by, None where nothing is to be probed; half of it is a mistake."""
    from edgeproof.cli.gate import Judging

    if (given["probes"] is None) != (given["baseline"] is None):
        raise UsageError(
            "--probes and --baseline go together: the gate needs both",
            next_step="record a baseline with `export-edge baseline`, or leave both out",
        )
    if given["probes"] is not None:
        return Judging(**{**given, "report": given["report"] or out / "report"}, threads=threads, force=force)
    if any(given[name] is not None for name in ("report", "policy", "pack_key")) or given["show_answers"]:
        raise UsageError(
            "--report, --policy, --pack-key and --show-answers belong to the gate, and no --probes was given"
        )
    return None
