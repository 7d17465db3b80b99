"""`export-edge [export]`: merge, quantize, write; with --probes and --baseline also gate what was written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
from edgeproof.cli import options as opt
from edgeproof.contracts.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


@click.command("export")
@opt.BASE
@opt.ADAPTERS
@opt.FORMATS
@click.option("--out", type=opt.PATH, required=True, metavar="DIR", help="Where the artifacts go.")
@click.option("--unmerged", is_flag=True, help="Quantize the base alone, with the adapter as a GGUF LoRA beside it.")
@opt.BYTES
@opt.PROBES
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
    imatrix: Path | None,
    tensor_types: tuple[str, ...],
    converter: Path | None,
    allow_requantize: bool,
    name: str,
    probes: Path | None,
    baseline: Path | None,
    policy: Path | None,
    report: Path | None,
    backend: str,
    show_answers: bool,
    threads: int | None,
    force: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Merge adapters into a base and write what ships: GGUF, quantized by llama.cpp's own kernels.

    With --probes and --baseline every artifact is gated at once, and the exit code is the worst verdict's. Without them
    the export ends with NOT GATED.
    """
    from edgeproof.cli.progress import Terminal
    from edgeproof.export.pipeline import ExportOptions, export

    if (probes is None) != (baseline is None):
        raise UsageError(
            "--probes and --baseline go together: the gate needs both",
            next_step="record a baseline with `export-edge baseline`, or leave both out",
        )
    if probes is None and (report is not None or policy is not None or show_answers):
        raise UsageError("--report, --policy and --show-answers belong to the gate, and no --probes was given")
    chosen = ExportOptions(
        imatrix=imatrix,
        tensor_types=tensor_types,
        converter=converter,
        allow_requantize=allow_requantize,
        unmerged=unmerged,
        name=name,
    )
    texts: tuple[str, ...] = ()
    if probes is not None and baseline is not None:
        from edgeproof.cli.gate import check_judging

        report = report or out / "report"
        texts = check_judging(probes, baseline, policy)
    with Terminal(quiet=quiet) as progress:
        exported = export(
            base,
            adapters,
            formats or ("gguf-q4",),
            out,
            chosen,
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
        if probes is None or baseline is None:
            if as_json:
                click.echo(json.dumps({"artifacts": results, "verdict": None}))
            if not quiet:
                click.echo("NOT GATED: nothing was probed. Add --probes PACK --baseline FILE.", err=True)
            return 0
        from edgeproof.cli.gate import Candidate, gate_all

        return gate_all(
            [Candidate(item.path, item.lora, item.format) for item in exported],
            probes=probes,
            baseline=baseline,
            policy=policy,
            report=report,
            backend=backend,
            show_answers=show_answers,
            threads=threads,
            force=force,
            as_json=as_json,
            progress=progress,
            artifacts=results,
        )
