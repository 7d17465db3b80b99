"""`export-edge baseline`: record what base and merged model answer, so that CI needs the binary and this file only."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click
from edgeproof.cli import options as opt
from edgeproof.contracts.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.contracts.progress import Progress
    from edgeproof.eval.records import Baseline, Measurement
    from edgeproof.export.pipeline import ExportOptions


@click.command("baseline")
@opt.BASE
@opt.ADAPTERS
@opt.FORMATS
@click.option("--probes", type=opt.PATH, required=True, metavar="PACK", help="Folder with pack.toml.")
@click.option("--out", type=opt.PATH, required=True, metavar="FILE", help="The baseline: scores, no texts.")
@click.option(
    "--float",
    "float_format",
    type=click.Choice(["gguf-f16", "gguf-f32"]),
    default="gguf-f16",
    show_default=True,
    help="Precision of base and merged; gguf-f32 where a weight is too large for float16.",
)
@opt.BYTES
@click.option("--backend", default="llama.cpp", show_default=True, metavar="NAME", help="The one that will gate.")
@opt.THREADS
@opt.FORCE
@opt.LISTENING
def command(
    base: Path,
    adapters: tuple[Path, ...],
    formats: tuple[str, ...],
    probes: Path,
    out: Path,
    *,
    float_format: str,
    imatrix: Path | None,
    tensor_types: tuple[str, ...],
    converter: Path | None,
    allow_requantize: bool,
    name: str,
    backend: str,
    threads: int | None,
    force: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Record what base and merged model answer at float precision, and the base in each --format.

    The files that this needs are written beside --out and removed again: room for the float model twice, and for the
    base in each format.
    """
    from edgeproof.cli.progress import Terminal
    from edgeproof.export.pipeline import ExportOptions

    if not adapters:
        raise UsageError(
            "a baseline holds what the merged model answers, and no --adapter was given",
            next_step="add --adapter DIR",
        )
    chosen = ExportOptions(
        imatrix=imatrix, tensor_types=tensor_types, converter=converter, allow_requantize=allow_requantize, name=name
    )
    with Terminal(quiet=quiet) as progress:
        baseline = record(
            base,
            adapters,
            formats or ("gguf-q4",),
            probes,
            out,
            options=chosen,
            float_format=float_format,
            backend=backend,
            threads=threads,
            force=force,
            progress=progress,
        )
    if as_json:
        click.echo(
            json.dumps(
                {
                    "baseline": str(out),
                    "pack_digest": baseline.pack_digest,
                    "tokenizer_digest": baseline.tokenizer_digest,
                    "formats": sorted(baseline.base_in_format),
                }
            )
        )
    if not quiet:
        click.echo(
            f"{out}  {len(baseline.probes)} probes, base in {', '.join(sorted(baseline.base_in_format))}", err=True
        )
    return 0


def record(
    base: Path,
    adapters: Sequence[Path],
    formats: Sequence[str],
    probes: Path,
    out: Path,
    *,
    options: ExportOptions,
    float_format: str = "gguf-f16",
    backend: str = "llama.cpp",
    threads: int | None = None,
    force: bool = False,
    progress: Progress,
) -> Baseline:
    """Export what has to be measured, measure it, and write the baseline to `out`."""
    from edgeproof.cli.gate import pack_texts
    from edgeproof.contracts.atomic import refuse_existing, write_failed
    from edgeproof.eval.baseline import assemble_baseline, save_baseline
    from edgeproof.eval.ignorance import ignorance_levels
    from edgeproof.eval.measure import measure
    from edgeproof.eval.pack import load_pack
    from edgeproof.export.pipeline import export
    from edgeproof.runtime import open_backend

    pack = load_pack(probes)
    refuse_existing(out, force=force)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=".edgeproof-", dir=out.resolve().parent)
    except OSError as error:
        raise write_failed(out, error) from error
    with scratch as folder:
        plain = export(
            base,
            (),
            (float_format, *formats),
            Path(folder) / "base",
            options,
            texts=pack_texts(pack),
            threads=threads,
            command=opt.given_command(),
            progress=progress,
        )
        (merged,) = export(
            base, adapters, (float_format,), Path(folder) / "merged", options, threads=threads, progress=progress
        )
        base_float, *in_formats = plain
        measurements: dict[str, Measurement] = {}
        for label, item in (
            ("base", base_float),
            ("merged", merged),
            *((f"base:{item.format}", item) for item in in_formats),
        ):
            with open_backend(backend, item.path, threads=threads) as engine:
                sha256 = item.manifest.artifact.sha256
                measurements[label] = measure(pack, engine, label=label, artifact_sha256=sha256, progress=progress)
                if item is base_float:
                    levels = ignorance_levels(pack, engine, progress)
            item.path.unlink()
    baseline = assemble_baseline(
        pack,
        base=measurements.pop("base"),
        merged=measurements.pop("merged"),
        base_in_format={label.removeprefix("base:"): found for label, found in measurements.items()},
        ignorance=levels,
    )
    save_baseline(baseline, out, force=force)
    return baseline
