"""Export pipeline: base and adapters to artifacts with manifests, in one pass over the weights.

```
  open base ─▶ describe ─▶ prove the tokenizer ─▶ merge ═▶ quantize ═▶ write ─▶ manifest ─▶ rename
                                                     └── one stream for all formats ──┘
```
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeproof.contracts.atomic import write_failed
from edgeproof.contracts.file_sets import NEW
from edgeproof.contracts.progress import Recording, Silent
from edgeproof.contracts.scratch import scratch_folder
from edgeproof.export.adapter.load import load_adapter
from edgeproof.export.artifact.manifest import Manifest, Source, digest_source, write_manifest
from edgeproof.export.artifact.publishing import publish
from edgeproof.export.artifact.targets import Targets, prepared_targets
from edgeproof.export.base.opening import open_base
from edgeproof.export.formats import LORA_FORMAT, find_format, shape_warning
from edgeproof.export.gguf.lora import write_lora
from edgeproof.export.manifests import Manifests
from edgeproof.export.options import ExportOptions, refuse_contradictions
from edgeproof.export.plan import Inputs, Plan, plan_export
from edgeproof.export.stream import run_stream
from edgeproof.export.survival.preflight import foretell, loss_warning, planned_matrices
from edgeproof.export.training.find import find_training

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from edgeproof.contracts.progress import Progress
    from edgeproof.contracts.tensors import Writer

__all__ = ["ExportOptions", "Exported", "export"]

WORK = "work"
"""Folder in the scratch folder: for what is not published."""


@dataclass(frozen=True)
class Exported:
    """An artifact under its final name, with its manifest. `lora` is the adapter beside an unmerged base."""

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
    """Merge `adapters` into `base` in the given order and write one artifact per format into the folder `out`.

    Args:
        base: a Hugging Face folder, or a float GGUF.
        adapters: PEFT folders; with none, the base itself is written.
        formats: names of `edgeproof.export.formats.FORMATS`; they share one pass over the weights.
        out: the folder, created if missing.
        options: options that change the bytes.
        texts: additional texts for the tokenizer's proof (those of a probe pack).
        force: replace existing artifacts.
        threads: number of workers; default: all cores. The bytes do not depend on it.
        command: the command line, for the manifest.
        progress: receives tasks, bytes and warnings.

    Raises:
        EdgeproofError: a subclass, by what the user can do. Nothing is left under a final name.

    """
    options = options or ExportOptions()
    chosen = list({form.name: form for form in map(find_format, formats)}.values())
    refuse_contradictions(base, adapters, chosen, options)
    heard = Recording(progress)
    kinds = {form.kind for form in chosen}
    opened = open_base(base, kinds, texts=texts, allow_requantize=options.allow_requantize)
    inputs = Inputs(base, opened, [load_adapter(path) for path in adapters], chosen, options, texts)
    with ExitStack() as stack:
        targets = stack.enter_context(
            prepared_targets(out, inputs.name, chosen, unmerged=options.unmerged, merged=bool(adapters), force=force)
        )
        scratch = stack.enter_context(_scratch(out))
        made = scratch / NEW
        plan = plan_export(inputs, scratch / WORK, heard)
        digests = stack.enter_context(ThreadPoolExecutor(1)).submit(_digest_inputs, inputs)
        writers = _open_writers(plan, targets, stack, inside=made, force=force)
        foretold = foretell(inputs.merge(), chosen, writers, plan.described.gguf) if plan.samples_loss else {}
        for format_name, found in foretold.items():
            if (message := loss_warning(format_name, found)) is not None:
                heard.warn(message)
        records = run_stream(
            plan.source,
            writers,
            plan.described.groups(),
            check=plan.model.refuse_idle,
            threads=threads,
            progress=progress,
        )
        stored = dict(zip(chosen, records, strict=True))
        # To the listener alone: such a warning may quote a config, which manifests do not.
        trained = [find_training(path, heard.listener.warn) for path in (base, *adapters)]
        manifests = Manifests(plan, *digests.result(), foretold, stored, heard.warnings, command, trained)
        if targets.lora is not None:
            _write_lora(plan, targets.lora, manifests, inside=made, force=force)
        exported = []
        for form, path, writer in zip(chosen, targets.artifacts, writers, strict=True):
            if (wide := shape_warning(form, stored[form])) is not None:
                heard.warn(wide)
            manifest = manifests.make(
                form.name,
                made / path.name,
                stored[form],
                adapted=not options.unmerged,
                matrices=planned_matrices(writer),
            )
            write_manifest(manifest, made / path.name)
            exported.append(Exported(form.name, path, manifest, targets.lora))
        publish(scratch, targets.paths, force=force)
    return tuple(exported)


def refuse_unfit(
    base: Path,
    adapters: Sequence[Path],
    formats: Sequence[str],
    scratch: Path,
    options: ExportOptions,
    *,
    texts: Sequence[str] = (),
) -> None:
    """Refuse what `export` refuses before it reads a weight; with a converter or builder of the user's, do nothing.

    Args:
        base: as for `export`.
        adapters: as for `export`.
        formats: as for `export`.
        scratch: an empty folder.
        options: as for `export`.
        texts: as for `export`.

    Raises:
        EdgeproofError: as for `export`.

    """
    chosen = [find_format(name) for name in dict.fromkeys(formats)]
    refuse_contradictions(base, adapters, chosen, options)
    if options.converter is not None or options.onnx_builder:
        return
    opened = open_base(base, {form.kind for form in chosen}, texts=texts, allow_requantize=options.allow_requantize)
    loaded = [load_adapter(path) for path in adapters]
    plan_export(Inputs(base, opened, loaded, chosen, options, texts), scratch, Silent())


@contextmanager
def _scratch(out: Path) -> Iterator[Path]:
    """Make a folder in `out` with the empty folders WORK and NEW, removed when the block ends."""
    with ExitStack() as stack:
        try:
            scratch = stack.enter_context(scratch_folder(out))
            (scratch / WORK).mkdir()
            (scratch / NEW).mkdir()
        except OSError as error:
            raise write_failed(out, error) from error
        yield scratch


def _open_writers(plan: Plan, targets: Targets, stack: ExitStack, *, inside: Path, force: bool) -> list[Writer]:
    """Open a writer for each format; those that are not finished when `stack` ends are aborted."""
    writers: list[Writer] = []
    for form, path in zip(plan.inputs.formats, targets.artifacts, strict=True):
        writer = plan.open_writer(form, path, inside=inside, force=force)
        stack.callback(writer.abort)  # does nothing after `finish`
        writers.append(writer)
    return writers


def _write_lora(plan: Plan, path: Path, manifests: Manifests, *, inside: Path, force: bool) -> None:
    """Write the adapters as a GGUF LoRA beside the unmerged base, with its manifest."""
    adapters, description = plan.inputs.adapters, plan.described.gguf
    assert description is not None
    name = f"{plan.inputs.name} adapter"
    tensors = write_lora(adapters, description, plan.lora_names, path, name=name, inside=inside, force=force)
    write_manifest(manifests.make(LORA_FORMAT, inside / path.name, tensors, adapted=True), inside / path.name)


def _digest_inputs(inputs: Inputs) -> tuple[Source, tuple[Source, ...]]:
    return (
        digest_source(inputs.base.path, inputs.base.files),
        tuple(digest_source(adapter.path, adapter.files) for adapter in inputs.adapters),
    )
