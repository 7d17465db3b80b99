"""Asks a model what it knows of a pack: a base, a checkpoint or an artifact, without adapter or baseline."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

from edgeproof.contracts.errors import InputError
from edgeproof.contracts.onnx_folder import is_onnx_folder
from edgeproof.contracts.progress import Recording
from edgeproof.release.steps.arguments import as_path, pack_identity
from edgeproof.release.steps.judging.criteria import pack_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgeproof.contracts.progress import Progress
    from edgeproof.eval.knowledge.known import Knowledge
    from edgeproof.eval.measurement import Measurement, Role
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.release.steps.arguments import StrPath

FLOAT = "gguf-f16"
"""Format in which a Hugging Face folder is asked, as for a baseline."""


def probe(
    model: StrPath,
    *,
    probes: StrPath,
    pack_key: StrPath | None = None,
    write_known: StrPath | None = None,
    backend: str | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Knowledge:
    """Ask `model` every probe of a pack on each of its surfaces, and say what it knows. No verdict.

    A Hugging Face folder is written as a float16 GGUF into the folder for temporary files, which is removed again.

    Args:
        model: a Hugging Face folder (a base, or a checkpoint with merged weights), a GGUF file, or an ONNX folder.
        probes: the pack's folder, or a file encrypted with age.
        pack_key: the age identity for an encrypted pack; by default what EDGEPROOF_PACK_KEY holds.
        write_known: a folder to write: the pack without the forget and retain probes that the model does not know.
        backend: what runs the model; by default llama.cpp for files, onnxruntime for ONNX folders.
        threads: all cores by default.
        progress: receives progress and warnings; by default nothing is shown.

    Raises:
        EdgeproofError: model or pack cannot be read, or do not fit each other.

    """
    from edgeproof.eval.knowledge.known import Knowledge, asked_sets, known_clusters
    from edgeproof.eval.packs.reader import load_pack
    from edgeproof.eval.packs.surfaces import unasked
    from edgeproof.release.steps.known_pack import KnownPack

    listener = Recording(progress)
    model = Path(model)
    pack = load_pack(Path(probes), pack_identity(as_path(pack_key)))
    for warning in unasked(pack):
        listener.warn(warning)
    writing = None if write_known is None else KnownPack(Path(probes), Path(write_known))
    sha256, (measurement,) = ask_model(model, pack, backend=backend, threads=threads, progress=listener)
    if writing is not None:
        writing.write(pack, measurement)
    return Knowledge(
        model=model,
        sha256=sha256,
        pack=pack.name,
        pack_sha256=pack.digest,
        backend=measurement.backend,
        asked=asked_sets(pack, measurement),
        clusters=known_clusters(pack, measurement),
        warnings=tuple(listener.warnings),
    )


class Part(NamedTuple):
    """Probes of some roles that are asked together, and what progress calls them."""

    name: str
    roles: frozenset[Role]


def ask_model(
    model: Path,
    pack: Pack,
    *,
    parts: Sequence[Part] = (),
    on_part: Callable[[Measurement], None] | None = None,
    without_chat: Pack | None = None,
    backend: str | None = None,
    threads: int | None = None,
    progress: Recording,
) -> tuple[str, list[Measurement]]:
    """Ask `model` every probe of `pack`; return the digest of what was asked, and the scores of each part.

    A Hugging Face folder is asked as a float16 GGUF in the folder for temporary files, which is removed again. A model
    without a chat template is asked `without_chat`, if given. Answers are kept until it is done, as for a gate. `parts`
    are asked one after the other, the forget set in the first; `on_part` hears of each, and may raise, which ends it.
    """
    from edgeproof.eval.asking.carriers import all_carriers
    from edgeproof.eval.measurement import Role
    from edgeproof.eval.measuring.forecast import forecast
    from edgeproof.eval.measuring.measure import measure
    from edgeproof.eval.measuring.replies import base_carriers
    from edgeproof.eval.verdict.policy import Policy
    from edgeproof.release.steps.asking.course import Course, steps
    from edgeproof.release.steps.asking.kept import KEEPING, Keeping
    from edgeproof.release.steps.files.changes import unchanged
    from edgeproof.release.steps.files.digests import digest_whole
    from edgeproof.runtime import backend_for, open_backend

    measured = []
    with ExitStack() as stack:
        asked = _artifact(model, pack, stack, threads, progress)
        stack.enter_context(unchanged((asked,)))
        sha256 = digest_whole((asked,)).sha256
        name = backend or backend_for(asked)
        engine = stack.enter_context(open_backend(name, asked, threads=threads))
        if without_chat is not None and engine.info.chat_template is None:
            pack = without_chat
        sampling, course = Policy().sampling, Course(progress)
        labels = {
            f"{model.name}, {part.name}" if part.name else model.name: part.roles
            for part in parts or (Part("", frozenset(Role)),)
        }
        kept = Keeping(pack, sampling, {}, progress)
        stack.enter_context(kept.told_how_to_go_on())
        found = [
            forecast(
                pack,
                engine,
                carriers=all_carriers(pack, {}),
                sampling=sampling,
                carrying=number == 0,
                roles=roles,
            )
            for number, roles in enumerate(labels.values())
        ]
        resumed = kept.keep(engine, sha256) if name in KEEPING else 0
        if name in KEEPING and not resumed:
            course.time(engine, found[0])
        coming = [step for label, part in zip(labels, found, strict=True) for step in steps(label, label, part)]
        course.foresee(coming, resumed=resumed)
        carriers = base_carriers(pack, engine, progress=course, label=next(iter(labels)))
        for label, roles in labels.items():
            measurement = measure(
                pack,
                engine,
                label=label,
                artifact_sha256=sha256,
                carriers=carriers,
                sampling=sampling,
                roles=roles,
                progress=course,
            )
            measured.append(measurement)
            if on_part is not None:
                on_part(measurement)
    kept.done()
    return sha256, measured


def show(found: Knowledge, file: TextIO | None = None) -> None:
    """Print a table of what a model knows to `file`, stderr by default."""
    from edgeproof.eval.knowledge.terminal import render_knowledge

    render_knowledge(found, file=file)


def _artifact(model: Path, pack: Pack, stack: ExitStack, threads: int | None, progress: Progress) -> Path:
    """Return the artifact to ask: `model` itself, or the float GGUF that is made of a Hugging Face folder."""
    from edgeproof.contracts.atomic import write_failed
    from edgeproof.contracts.scratch import scratch_folder
    from edgeproof.export.pipeline import export

    if not model.exists():
        raise InputError(f"{model} does not exist", next_step="check the path")
    if (model / "adapter_config.json").is_file():
        raise InputError(
            f"{model} is an adapter, which knows nothing by itself",
            next_step="probe its base; or export the merge, and probe what was written",
        )
    if not (model / "config.json").is_file() or is_onnx_folder(model):
        return model
    temporary = Path(tempfile.gettempdir())
    try:
        folder = stack.enter_context(scratch_folder(temporary))
    except OSError as error:
        raise write_failed(temporary, error) from error
    (made,) = export(model, (), (FLOAT,), folder, texts=pack_texts(pack), threads=threads, progress=progress)
    return made.path
