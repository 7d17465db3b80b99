"""Plan of an export: all that is merged, described and refused before any weight is read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from edgeproof.export.artifact.manifest import digest_tokenizer
from edgeproof.export.artifact.merged_folder import write_merged_folder
from edgeproof.export.base.gguf_file import open_gguf_base
from edgeproof.export.base.opening import Described, describe_base, merge_names
from edgeproof.export.converter import convert
from edgeproof.export.gguf.imatrix import read_imatrix
from edgeproof.export.gguf.lora import collect_factors, hf_targets
from edgeproof.export.merge.merged import MergedModel
from edgeproof.export.onnx.builder import BuilderWriter
from edgeproof.export.onnx.description import is_described

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from edgeproof.contracts.progress import Progress
    from edgeproof.contracts.tensors import Checkpoint, Writer
    from edgeproof.export.adapter.adapter import Adapter
    from edgeproof.export.base.opening import Base
    from edgeproof.export.formats import Format, Kind
    from edgeproof.export.gguf.imatrix import Imatrix
    from edgeproof.export.merge.names import MergeTarget
    from edgeproof.export.options import ExportOptions


@dataclass(frozen=True)
class Inputs:
    """Base and adapters, opened, and what they are to become.

    Attributes:
        path: the base, as it was given.
        base: the same, opened for the kinds of `formats`.
        adapters: in the order of merging.
        formats: each once.
        options: what else changes the bytes.
        texts: further texts on which the tokenizer must be proved equal.

    """

    path: Path
    base: Base
    adapters: Sequence[Adapter]
    formats: Sequence[Format]
    options: ExportOptions
    texts: Sequence[str]

    @property
    def name(self) -> str:
        """The model's name: the base's own unless another is given."""
        resolved = self.path.resolve()
        return self.options.name or (resolved.name if resolved.is_dir() else resolved.stem)

    @property
    def kinds(self) -> Collection[Kind]:
        """What kinds of artifacts are asked for."""
        return {form.kind for form in self.formats}

    @cached_property
    def names(self) -> Mapping[str, MergeTarget] | None:
        """Where the adapters' tensors stand in the base; None where it uses the names that they were trained under."""
        return merge_names(self.base) if self.adapters else None

    def merge(self) -> MergedModel:
        """Merge the adapters into the base anew: each merge counts the rows that pass through it."""
        return MergedModel(self.base, self.adapters, self.names)


@dataclass(frozen=True)
class Plan:
    """How the artifacts are made.

    Attributes:
        inputs: what they are made of.
        model: the merge that is written; the base alone for an unmerged artifact.
        source: where the writers' rows come from: the model, or what the user's converter made of it.
        described: the artifacts, by kind.
        builder_folder: the merge in float32 for onnxruntime-genai's builder, where that makes the ONNX formats.
        imatrix: the importance matrix.

    """

    inputs: Inputs
    model: MergedModel
    source: Checkpoint
    described: Described
    builder_folder: Path | None
    imatrix: Imatrix | None

    @property
    def samples_loss(self) -> bool:
        """Whether a sample can show before the pass what rounding leaves of the adapters."""
        options = self.inputs.options
        return bool(self.inputs.adapters) and not options.unmerged and options.converter is None

    @property
    def lora_names(self) -> Mapping[str, MergeTarget]:
        """Where the adapters' tensors stand in the GGUF that an unmerged adapter is for."""
        gguf = self.described.gguf
        return self.inputs.names or (hf_targets(gguf) if gguf else {})

    def open_writer(self, form: Format, path: Path, *, inside: Path, force: bool) -> Writer:
        """Open a format's writer for `path`, which lies in the folder `inside` until it is published."""
        if form.kind == "onnx" and self.builder_folder is not None:
            return BuilderWriter(self.builder_folder, path, form.scheme, inside=inside, force=force)
        description = self.described.gguf if form.kind == "gguf" else self.described.onnx
        assert description is not None
        return form.open(
            description,
            path,
            form,
            imatrix=self.imatrix,
            overrides=self.inputs.options.tensor_types,
            shared_scales=self.inputs.options.shared_scales,
            small_embedding=self.inputs.options.small_embedding,
            inside=inside,
            force=force,
        )


def plan_export(inputs: Inputs, scratch: Path, progress: Progress) -> Plan:
    """Merge and describe what is asked for; `scratch` is an empty folder for what the user's own tools need.

    Raises:
        EdgeproofError: base, adapters and formats do not go together.

    """
    merged, options = inputs.merge(), inputs.options
    model = MergedModel(inputs.base, ()) if options.unmerged else merged
    for warning in merged.warnings:
        progress.warn(warning)
    source: Checkpoint = model
    folder: Path | None = None
    kinds: Collection[Kind] = inputs.kinds
    if options.converter is not None:
        source, described = _convert(model, inputs, options.converter, scratch, progress)
    else:
        if options.onnx_builder and not is_described(model.config):
            folder, kinds = scratch / inputs.name, [kind for kind in kinds if kind != "onnx"]
            folder.mkdir()
            write_merged_folder(model, inputs.path, folder, progress=progress, option="--onnx-builder")
        described = describe_base(inputs.base, model, kinds, name=inputs.name, scratch=scratch, texts=inputs.texts)
    for warning in described.warnings:
        progress.warn(warning)
    imatrix = read_imatrix(options.imatrix) if options.imatrix else None
    plan = Plan(inputs, model, source, described, folder, imatrix)
    if options.unmerged:
        assert described.gguf is not None
        collect_factors(inputs.adapters, described.gguf, plan.lora_names)  # refused before any work is done
    return plan


def _convert(
    model: MergedModel, inputs: Inputs, converter: Path, scratch: Path, progress: Progress
) -> tuple[Checkpoint, Described]:
    """Merge into a float32 folder, let the user's converter make a GGUF of it, and take that as the source."""
    folder, converted = scratch / inputs.name, scratch / "converted.gguf"
    folder.mkdir()
    write_merged_folder(model, inputs.path, folder, progress=progress)
    model.refuse_idle()
    progress.start("Converter", 1, "files")
    convert(converter, folder, converted, name=inputs.name)
    progress.advance(1)
    opened = open_gguf_base(converted)
    tokenizer: dict[str, object] = {
        "proof": "none: the converter given with --converter wrote it",
        "files": digest_tokenizer(inputs.path),
    }
    description = opened.describe()
    return opened, Described(description, None, tokenizer, description.warnings)
