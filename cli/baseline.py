"""`export-edge baseline`: record what base and merged model answer, so that CI needs the binary and this file only."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
from edgeproof.cli import options as opt
from edgeproof.contracts.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from edgeproof.contracts.progress import Progress
    from edgeproof.eval.measurement import Baseline, Carrier, Measurement, Sampling
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.export.pipeline import Exported, ExportOptions


@click.command("baseline")
@opt.BASE
@opt.ADAPTERS
@opt.FORMATS
@click.option(
    "--probes",
    type=opt.PATH,
    required=True,
    metavar="PACK",
    help="Folder with pack.toml, or one file encrypted with age.",
)
@opt.PACK_KEY
@click.option("--out", type=opt.PATH, required=True, metavar="FILE", help="The baseline: scores, no texts.")
@click.option(
    "--float",
    "float_format",
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
def command(
    base: Path,
    adapters: tuple[Path, ...],
    formats: tuple[str, ...],
    probes: Path,
    out: Path,
    *,
    pack_key: Path | None,
    float_format: str,
    policy: Path | None,
    sign: Path | None,
    choices: Mapping[str, Any],
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
    from edgeproof.eval.verdict.policy import Policy, read_policy
    from edgeproof.export.pipeline import ExportOptions

    signing_key = None
    if sign is not None:
        from edgeproof.eval.attestation import read_private_key

        signing_key = read_private_key(sign)
    if not adapters:
        raise UsageError(
            "a baseline holds what the merged model answers, and no --adapter was given",
            next_step="add --adapter DIR",
        )
    with Terminal(quiet=quiet) as progress:
        baselines = record(
            base,
            adapters,
            formats or ("gguf-q4",),
            probes,
            out,
            identity=opt.pack_identity(pack_key),
            options=ExportOptions(**choices),
            float_format=float_format,
            sampling=(Policy() if policy is None else read_policy(policy)).sampling,
            signing_key=signing_key,
            threads=threads,
            force=force,
            progress=progress,
        )
    recorded = [name for baseline in baselines for name in sorted(baseline.base_in_format)]
    if as_json:
        click.echo(
            json.dumps(
                {
                    "baseline": str(out),
                    "pack_digest": baselines[0].pack_digest,
                    "tokenizer_digests": {baseline.backend: baseline.tokenizer_digest for baseline in baselines},
                    "formats": recorded,
                }
            )
        )
    if not quiet:
        click.echo(f"{out}  {len(baselines[0].probes)} probes, base in {', '.join(recorded)}", err=True)
    return 0


def record(
    base: Path,
    adapters: Sequence[Path],
    formats: Sequence[str],
    probes: Path,
    out: Path,
    *,
    identity: str | None = None,
    options: ExportOptions,
    float_format: str = "gguf-f16",
    sampling: Sampling | None = None,
    signing_key: Ed25519PrivateKey | None = None,
    threads: int | None = None,
    force: bool = False,
    progress: Progress,
) -> tuple[Baseline, ...]:
    """Export what has to be measured, measure it by each format's own backend, and write the baseline to `out`."""
    from edgeproof.cli.gate import pack_texts
    from edgeproof.contracts.atomic import refuse_existing, write_failed
    from edgeproof.contracts.scratch import scratch_folder
    from edgeproof.eval.baselines.file import save_baselines
    from edgeproof.eval.packs.reader import load_pack
    from edgeproof.eval.packs.surfaces import unasked
    from edgeproof.export.pipeline import export

    pack = load_pack(probes, identity)
    for warning in unasked(pack):
        progress.warn(warning)
    refuse_existing(out, force=force)
    # A backend's numbers are compared with its own: each kind of artifact has its float reference.
    references = {"gguf": float_format, "onnx": "onnx-fp32"}
    baselines = []
    with ExitStack() as stack:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            folder = stack.enter_context(scratch_folder(out.resolve().parent))
        except OSError as error:
            raise write_failed(out, error) from error
        for kind in dict.fromkeys(name.partition("-")[0] for name in formats):
            reference = references[kind]
            ours = [name for name in formats if name.startswith(f"{kind}-")]

            def written(
                adapters: Sequence[Path], names: Sequence[str], part: str, kind: str = kind
            ) -> tuple[Exported, ...]:
                return export(
                    base,
                    adapters,
                    names,
                    folder / kind / part,
                    options,
                    texts=pack_texts(pack),
                    threads=threads,
                    command=opt.given_command(),
                    progress=progress,
                )

            plain = written((), (reference, *ours), "base")
            (merged,) = written(adapters, (reference,), "merged")
            baselines.append(_measured(pack, plain, merged, ours, sampling, threads=threads, progress=progress))
    save_baselines(baselines, out, force=force, signing_key=signing_key)
    return tuple(baselines)


def _measured(
    pack: Pack,
    plain: Sequence[Exported],
    merged: Exported,
    formats: Sequence[str],
    sampling: Sampling | None,
    *,
    threads: int | None,
    progress: Progress,
) -> Baseline:
    """Measure the base at float precision (the first of `plain`) and in each format, and `merged`; remove the files."""
    from edgeproof.eval.asking.reference import reference_pack
    from edgeproof.eval.baselines.file import assemble_baseline
    from edgeproof.eval.baselines.sources import source_digest
    from edgeproof.eval.measurement import ModelSource, Sources
    from edgeproof.eval.measuring.ignorance import ignorance_levels
    from edgeproof.eval.measuring.measure import base_carriers, measure
    from edgeproof.runtime import backend_for, open_backend

    base = plain[0]
    measurements: dict[str, Measurement] = {}
    reference: dict[str, Measurement] = {}
    reference_kinds: dict[str, str] = {}
    carriers: tuple[Carrier, ...] = ()
    levels: dict[str, float] = {}
    for label, item in [("base", base), ("merged", merged), *((f"base:{item.format}", item) for item in plain[1:])]:
        sha256 = item.manifest.artifact.sha256
        with open_backend(backend_for(item.path), item.path, threads=threads) as engine:
            if item is base:
                carriers = base_carriers(pack, engine, progress=progress)
                levels = ignorance_levels(pack, engine, progress, carriers=carriers)
            measurements[label] = measure(
                pack,
                engine,
                label=label,
                artifact_sha256=sha256,
                carriers=carriers,
                sampling=sampling,
                progress=progress,
            )
            more = reference_pack(pack, chat=engine.info.chat_template is not None)
            shipped = item.format if item is not merged and item.format in formats else None
            if more is not None and shipped is not None:
                reference_kinds = more.kinds()
                reference[shipped] = measure(
                    more,
                    engine,
                    label=f"reference:{shipped}",
                    artifact_sha256=sha256,
                    carriers=carriers,
                    progress=progress,
                )
        if item.path.is_dir():
            shutil.rmtree(item.path)
        else:
            item.path.unlink()
    if base.format in formats:
        measurements[f"base:{base.format}"] = replace(measurements["base"], label=f"base:{base.format}")
    manifest = merged.manifest
    base_source, *adapter_sources = (
        ModelSource(source.name, source_digest(file.sha256 for file in source.files))
        for source in (manifest.base, *manifest.adapters)
    )
    return assemble_baseline(
        pack,
        sources=Sources(base_source, tuple(adapter_sources)),
        base=measurements.pop("base"),
        merged=measurements.pop("merged"),
        base_in_format={label.removeprefix("base:"): found for label, found in measurements.items()},
        ignorance=levels,
        carriers=carriers,
        reference=reference,
        reference_kinds=reference_kinds,
    )
