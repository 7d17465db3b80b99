"""The export, top to bottom: base and adapters in, artifacts with their manifests out, in one pass over the weights.

```
  open base ─▶ describe ─▶ prove the tokenizer ─▶ merge ═▶ quantize ═▶ write ─▶ manifest ─▶ rename
                                                     └── one stream for all formats ──┘
```
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeproof.contracts.atomic import write_failed
from edgeproof.contracts.scratch import scratch_folder
from edgeproof.export.adapter.load import load_adapter
from edgeproof.export.artifact.manifest import (
    BUILDER_PACKAGES,
    ONNX_PACKAGES,
    PACKAGES,
    Manifest,
    Source,
    digest_artifact,
    digest_source,
    digest_tokenizer,
    package_versions,
    write_manifest,
)
from edgeproof.export.artifact.merged_folder import write_merged_folder
from edgeproof.export.artifact.publishing import NEW, publish
from edgeproof.export.artifact.targets import prepared_targets
from edgeproof.export.base.gguf_file import GgufBase, open_gguf_base
from edgeproof.export.base.opening import Described, describe_base, open_base
from edgeproof.export.converter import convert
from edgeproof.export.formats import effective_bits, find_format, shape_warning
from edgeproof.export.gguf.imatrix import read_imatrix
from edgeproof.export.gguf.lora import collect_factors, hf_targets, write_lora
from edgeproof.export.merge.merged import MergedModel
from edgeproof.export.onnx.beside_gguf import list_different
from edgeproof.export.onnx.builder import BuilderWriter
from edgeproof.export.onnx.description import is_described
from edgeproof.export.onnx.shared_scales import SHARED
from edgeproof.export.options import ExportOptions, recorded, refuse_contradictions
from edgeproof.export.stream import run_stream
from edgeproof.export.survival.preflight import foretell, loss_warning

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeproof.contracts.progress import Progress
    from edgeproof.contracts.tensors import Checkpoint, TensorRecord, Writer
    from edgeproof.export.adapter.adapter import Adapter
    from edgeproof.export.base.opening import Base
    from edgeproof.export.formats import Format
    from edgeproof.export.gguf.imatrix import Imatrix
    from edgeproof.export.onnx.layout import StoredMatrix
    from edgeproof.export.survival.preflight import Preflight

__all__ = ["LORA_FORMAT", "ExportOptions", "Exported", "export"]

LORA_FORMAT = "gguf-lora"


@dataclass(frozen=True)
class Exported:
    """An artifact under its final name, and what its manifest says. `lora` is the adapter beside an unmerged base."""

    format: str
    path: Path
    manifest: Manifest
    lora: Path | None = None


def export(
    base: Path,
    adapters: Sequence[Path],
    formats: Sequence[str],
    out: Path,
    options: ExportOptions | None = None,
    *,
    texts: Sequence[str] = (),
    force: bool = False,
    threads: int | None = None,
    command: Sequence[str] = (),
    progress: Progress,
) -> tuple[Exported, ...]:
    """Merge `adapters` into `base` in the order given and write one artifact a format into the folder `out`.

    Args:
        base: a Hugging Face folder, or a float GGUF.
        adapters: PEFT folders; none writes the base itself.
        formats: names of `edgeproof.export.formats.FORMATS`; they share one pass over the weights.
        out: the folder, made where it is missing.
        options: what else changes the bytes.
        texts: further texts on which the tokenizer must be proved equal (those of a probe pack).
        force: replace artifacts that exist.
        threads: workers; all cores by default. The bytes do not depend on it.
        command: the command line, for the manifest.
        progress: hears of tasks, bytes and warnings.

    Raises:
        EdgeproofError: one of its branches, by what can be done about it. Nothing is left under a final name.

    """
    options = options or ExportOptions()
    chosen = list({form.name: form for form in map(find_format, formats)}.values())
    refuse_contradictions(base, adapters, chosen, options)
    warnings: list[str] = []

    def warn(message: str) -> None:
        warnings.append(message)
        progress.warn(message)

    kinds = {form.kind for form in chosen}
    opened = open_base(base, kinds, texts=texts, allow_requantize=options.allow_requantize)
    loaded = [load_adapter(path) for path in adapters]
    name = options.name or _base_name(base)
    with ExitStack() as stack:
        targets = stack.enter_context(
            prepared_targets(out, name, chosen, unmerged=options.unmerged, merged=bool(adapters), force=force)
        )
        names = opened.targets() if isinstance(opened, GgufBase) and loaded else None
        merged = MergedModel(opened, loaded, names)
        for warning in merged.warnings:
            warn(warning)
        model = MergedModel(opened, ()) if options.unmerged else merged
        try:
            whole = stack.enter_context(scratch_folder(out))
            scratch, made = whole / "work", whole / NEW
            scratch.mkdir()
            made.mkdir()
        except OSError as error:
            raise write_failed(out, error) from error
        source: Checkpoint = model
        folder: Path | None = None
        if options.converter is not None:
            source, described = _convert(model, base, options.converter, scratch, name=name, progress=progress)
        elif options.onnx_builder and not is_described(model.config):
            folder = _merge_for_builder(model, base, scratch, name=name, progress=progress)
            described = describe_base(opened, model, kinds - {"onnx"}, name=name, scratch=scratch, texts=texts)
        else:
            described = describe_base(opened, model, kinds, name=name, scratch=scratch, texts=texts)
        for warning in described.warnings:
            warn(warning)
        lora_names = names or (hf_targets(described.gguf) if described.gguf else {})
        if options.unmerged:
            assert described.gguf is not None
            collect_factors(loaded, described.gguf, lora_names)  # refused before any work is done
        imatrix = read_imatrix(options.imatrix) if options.imatrix else None
        digests = stack.enter_context(ThreadPoolExecutor(1)).submit(_digest_inputs, opened, loaded)
        writers: list[Writer] = []
        opening = stack.enter_context(ExitStack())
        for form, path in zip(chosen, targets.artifacts, strict=True):
            writer = _open_writer(form, path, described, folder, options, imatrix=imatrix, inside=made, force=force)
            opening.callback(writer.abort)  # where a later one cannot be opened; does nothing after `finish`
            writers.append(writer)
        foretold: dict[str, Preflight] = {}
        if loaded and source is merged:
            foretold = foretell(MergedModel(opened, loaded, names), chosen, writers, described.gguf)
        for format_name, found in foretold.items():
            if (message := loss_warning(format_name, found)) is not None:
                warn(message)
        records = run_stream(
            source, writers, described.groups(), check=model.refuse_idle, threads=threads, progress=progress
        )
        base_source, adapter_sources = digests.result()

        def record(
            format_name: str,
            path: Path,
            tensors: tuple[TensorRecord, ...],
            used: tuple[Source, ...],
            matrices: tuple[StoredMatrix, ...] = (),
        ) -> Manifest:
            artifact, files = digest_artifact(made / path.name)
            shared = None
            if matrices:
                shared = _not_shared(matrices, described, dict(zip(chosen, records, strict=True)), options)
            manifest = Manifest(
                format=format_name,
                artifact=artifact,
                effective_bits=round(effective_bits(tensors), 4),
                base=base_source,
                adapters=used,
                adapter_effect=_effect(model) if used else None,
                tokenizer=dict(described.tokenizer),
                tensors=tensors,
                options=recorded(options),
                warnings=tuple(warnings),
                command=tuple(command),
                versions=package_versions((*PACKAGES, *(_onnx_packages(matrices) if files else ()))),
                files=files,
                survival=_survival(foretold.get(format_name)),
                not_shared=shared,
            )
            write_manifest(manifest, made / path.name)
            return manifest

        if targets.lora is not None:
            assert described.gguf is not None
            tensors = write_lora(
                loaded, described.gguf, lora_names, targets.lora, name=f"{name} adapter", inside=made, force=force
            )
            record(LORA_FORMAT, targets.lora, tensors, adapter_sources)
        exported = []
        for form, path, tensors, writer in zip(chosen, targets.artifacts, records, writers, strict=True):
            if (wide := shape_warning(form, tensors)) is not None:
                warn(wide)
            manifest = record(form.name, path, tensors, () if options.unmerged else adapter_sources, _matrices(writer))
            exported.append(Exported(form.name, path, manifest, targets.lora))
        publish(whole, targets.paths, force=force)
    return tuple(exported)


def _base_name(base: Path) -> str:
    resolved = base.resolve()
    return resolved.name if resolved.is_dir() else resolved.stem


def _convert(
    model: MergedModel, base: Path, converter: Path, scratch: Path, *, name: str, progress: Progress
) -> tuple[GgufBase, Described]:
    """Merge into a float32 folder, let the user's converter make a GGUF of it, and take that as the source."""
    folder, converted = scratch / name, scratch / "converted.gguf"
    folder.mkdir()
    write_merged_folder(model, base, folder, progress=progress)
    model.refuse_idle()
    progress.start("Converter", 1, "files")
    convert(converter, folder, converted, name=name)
    progress.advance(1)
    opened = open_gguf_base(converted)
    tokenizer: dict[str, object] = {
        "proof": "none: the converter given with --converter wrote it",
        "files": digest_tokenizer(base),
    }
    description = opened.describe()
    return opened, Described(description, None, tokenizer, description.warnings)


def _merge_for_builder(model: MergedModel, base: Path, scratch: Path, *, name: str, progress: Progress) -> Path:
    """Merge into a float32 folder, which onnxruntime-genai's builder takes."""
    folder = scratch / name
    folder.mkdir()
    write_merged_folder(model, base, folder, progress=progress, option="--onnx-builder")
    return folder


def _open_writer(
    form: Format,
    path: Path,
    described: Described,
    folder: Path | None,
    options: ExportOptions,
    *,
    imatrix: Imatrix | None,
    inside: Path,
    force: bool,
) -> Writer:
    """Open a format's writer; `folder` is the merge for the builder, where that makes the ONNX formats."""
    if form.kind == "onnx" and folder is not None:
        return BuilderWriter(folder, path, form.scheme, inside=inside, force=force)
    description = described.gguf if form.kind == "gguf" else described.onnx
    assert description is not None
    return form.open(
        description,
        path,
        form,
        imatrix=imatrix,
        overrides=options.tensor_types,
        shared_scales=options.shared_scales,
        inside=inside,
        force=force,
    )


def _matrices(writer: Writer) -> tuple[StoredMatrix, ...]:
    """Return the matrices of an ONNX folder written here; none for a GGUF, or where the builder wrote it."""
    return getattr(writer, "matrices", ())


def _onnx_packages(matrices: tuple[StoredMatrix, ...]) -> tuple[str, ...]:
    return ONNX_PACKAGES if matrices else BUILDER_PACKAGES


def _survival(found: Preflight | None) -> dict[str, object] | None:
    if found is None:
        return None
    return {
        "codes_moved": None if found.moved is None else round(found.moved, 6),
        "projection": round(found.projection, 4),
        "projection_error": round(found.error, 4),
        "sampled": found.sampled,
        "tensors": [
            {
                "name": tensor.name,
                "layer": tensor.layer,
                "projection": round(tensor.projection, 4),
                "projection_error": round(tensor.error, 4),
            }
            for tensor in found.tensors
        ],
    }


def _not_shared(
    matrices: tuple[StoredMatrix, ...],
    described: Described,
    records: Mapping[Format, tuple[TensorRecord, ...]],
    options: ExportOptions,
) -> tuple[str, ...] | None:
    """List what differs from the Q4_0 file of the same export; None where there is none, or nothing is shared."""
    beside = next((found for form, found in records.items() if form.scheme == SHARED), None)
    if not options.shared_scales or beside is None or described.gguf is None:
        return None
    return tuple(list_different(matrices, described.gguf, beside))


def _digest_inputs(opened: Base, adapters: Sequence[Adapter]) -> tuple[Source, tuple[Source, ...]]:
    return (
        digest_source(opened.path, opened.files),
        tuple(digest_source(adapter.path, adapter.files) for adapter in adapters),
    )


def _effect(model: MergedModel) -> float | None:
    """‖ΔW‖/‖W‖ over all tensors that the adapters touched."""
    delta = sum(effect.delta_norm**2 for effect in model.effects())
    weight = sum(effect.weight_norm**2 for effect in model.effects())
    return (delta / weight) ** 0.5 if weight else None
