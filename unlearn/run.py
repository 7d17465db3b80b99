"""Unlearning run: from data and base to an adapter or model folder."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import InputError, OutputError, TrainingError, UnsupportedError, UsageError
from edgeproof.contracts.packages import missing_packages
from edgeproof.contracts.progress import Silent
from edgeproof.unlearn.data.training_set import read_training_set, refuse_overlap
from edgeproof.unlearn.data.wordings import reworded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from edgeproof.contracts.progress import Progress
    from edgeproof.unlearn.data.training_set import TrainingSet
    from edgeproof.unlearn.data.wordings import Wordings
    from edgeproof.unlearn.finishing import Finished
    from edgeproof.unlearn.preparing import Prepared
    from edgeproof.unlearn.settings import Settings
    from edgeproof.unlearn.train.checkpoints import Checkpoints
    from edgeproof.unlearn.train.loop import Hooks, Trained

CHECKPOINT_EVERY = 50
"""Optimizer steps between checkpoints: short runs have none, long ones lose at most a few minutes."""

_LIBRARIES = ("torch", "transformers", "peft", "edgeproof")


@dataclass(frozen=True)
class UnlearnResult:
    """Result of a run. NLLs are in nat per answer token, means over the items, each asked once on alternating surfaces.

    Attributes:
        out: the folder of the adapter, or of the model.
        steps: optimizer steps.
        forget_nll: NLL on the forget set of the base, and of the output (an adapter in float16, a model in float32).
        retain_nll: the same on the retain set.
        own_nll: the same on texts that the base itself wrote, which no training set holds.
        ignorance_nll: ignorance level of the forget set; None if the sets have nothing to compare with.
        counting: number of the last step's forget texts that still counted (hinge).
        adapter_bytes: size of the written weights.
        seconds: wall time, including loading.
        stopped: reason for the end: "all steps", "forget target" or "survives" (the check of `--until-survives`).
        missed: whether there is a target that was not reached: a gate would answer FAIL, never unlearned.
        stalled: whether it was missed because the forget loss's gradient had faded: more steps hardly help.

    """

    out: Path
    steps: int
    forget_nll: tuple[float, float]
    retain_nll: tuple[float, float]
    own_nll: tuple[float, float]
    ignorance_nll: float | None
    counting: int
    adapter_bytes: int
    seconds: float
    stopped: str
    missed: bool
    stalled: bool


def unlearn(
    base: Path,
    forget: Path,
    retain: Path,
    out: Path,
    settings: Settings,
    *,
    checkpoint_every: int = CHECKPOINT_EVERY,
    resume: bool = False,
    force: bool = False,
    command: str = "",
    progress: Progress | None = None,
    instrument: Callable[[Prepared, Settings], Hooks] | None = None,
    gguf_tokenizer: Callable[[Path], Mapping[str, bytes]] | None = None,
    wordings: Wordings | None = None,
) -> UnlearnResult:
    """Unlearn the answers of `forget` and keep those of `retain`; write a LoRA, or the model, to `out`.

    The base's scores are computed once, before training, so that no second model is needed. The same call on the same
    machine writes the same bytes; torch's random state is restored. Under `accelerate launch` all processes make this
    call; the first one writes.

    Args:
        base: a Hugging Face folder, or a GGUF file (trained on its dequantized weights).
        forget: .jsonl or .json file of questions with the answers to forget (`training_set.py`).
        retain: the same, with answers to keep.
        out: folder for the adapter (adapter_config.json, adapter_model.safetensors in float16) or, with `full`, for the
            model (a Hugging Face folder in float32); log.jsonl, log.csv and README.md beside them.
        settings: the recipe.
        checkpoint_every: optimizer steps between checkpoints, in a hidden folder beside `out`; 0 keeps none.
        resume: continue from the last checkpoint of the same call.
        force: replace `out` if this program wrote it, and restart an interrupted run.
        command: the command line, for the card.
        progress: receives progress.
        instrument: creates hooks for the training loop from the trained model, its texts and the recipe.
        wordings: how the pack asks that will judge; its surfaces are trained on unless the settings name some.
        gguf_tokenizer: rebuilds tokenizer files from a GGUF's vocabulary; required with `full` and a GGUF base.

    Raises:
        UsageError: an option is out of range.
        InputError: the data is empty, broken, too long for the context, or in both sets; the base cannot be loaded
            (`CheckpointError`); the checkpoint is of another run.
        OutputError: `out` exists or cannot be written.
        TrainingError: a loss is NaN, the model is ruined or lost more than `retain_nll_rise`, memory is exhausted,
            or training changed nothing.
        UnsupportedError: the extra [unlearn] is not installed, or transformers does not know the base's architecture.

    """
    if checkpoint_every < 0:
        raise UsageError(f"a checkpoint every {checkpoint_every} steps", next_step="give a number from 0 up")
    sets = {"forget": read_training_set(forget, "forget"), "retain": read_training_set(retain, "retain")}
    refuse_overlap(sets["forget"], sets["retain"])
    if wordings is not None:
        sets, settings = _as_asked(sets, settings, wordings, Silent() if progress is None else progress)
    _refuse_without_torch()
    from edgeproof.unlearn.finishing import write
    from edgeproof.unlearn.output.card import Environment, Provenance
    from edgeproof.unlearn.output.full_folder import tokenizer_files
    from edgeproof.unlearn.preparing import identity, prepare
    from edgeproof.unlearn.train.checkpoints import Checkpoints, say_where_it_goes_on
    from edgeproof.unlearn.train.device import chosen_device
    from edgeproof.unlearn.train.guards import memory_errors
    from edgeproof.unlearn.train.loop import Hooks
    from edgeproof.unlearn.train.precision import resolved
    from edgeproof.unlearn.train.processes import joined

    began = time.monotonic()
    settings = replace(settings, device=chosen_device(settings.device))
    with _reproducible(settings) as threads, memory_errors(settings):
        together = joined(settings.device)
        if together.writes:
            _refuse_own_inputs((base, forget, retain), out)
            _refuse_place(out, resume=resume, force=force)
        together.wait()
        listener = Silent() if progress is None or not together.writes else progress
        if resume:
            say_where_it_goes_on(out, listener)
        tokenizer = tokenizer_files(base, gguf_tokenizer) if settings.full and base.exists() else {}
        prepared = prepare(base, sets, out.parent, settings, processes=together, progress=listener, wordings=wordings)
        settings = settings.at_level(prepared.level)
        if all(item.is_text for item in sets["forget"].items):
            settings = settings.for_texts(max(len(text.ids) for text in prepared.forget.encoded))
        hooks = Hooks() if instrument is None else instrument(prepared, settings)
        precision = resolved(settings.precision, together.device)
        asked_as = "" if wordings is None else wordings.source
        environment = Environment(_versions(), threads, together.size, precision, hooks.settings, asked_as)
        same = identity(prepared, sets, settings, environment.facts())
        checkpoints = Checkpoints(out, checkpoint_every, resume, same, together, listener)
        trained, finished = _train(prepared, settings, hooks, checkpoints)
        provenance = Provenance(
            base=prepared.base.name,
            command=command,
            data={role: (data.path.name, len(data.items), data.sha256) for role, data in sets.items()},
            environment=environment,
            steps=len(trained.log),
            stopped=trained.stopped,
            measured=finished.measured,
            level=prepared.level,
        )
        size = 0
        if together.writes:
            log = trained.log
            size = write(
                out, prepared, finished, settings, provenance=provenance, log=log, tokenizer=tokenizer, force=force
            )
        together.wait()
    return UnlearnResult(
        out,
        len(trained.log),
        finished.measured["forget"],
        finished.measured["retain"],
        finished.measured["own"],
        prepared.level,
        trained.log[-1].counting,
        size,
        time.monotonic() - began,
        trained.stopped,
        finished.missed,
        finished.stalled,
    )


def _as_asked(
    sets: dict[str, TrainingSet], settings: Settings, wordings: Wordings, progress: Progress
) -> tuple[dict[str, TrainingSet], Settings]:
    """Give both sets the pack's wordings, and the settings its surfaces unless they name some.

    Raises:
        InputError: the pack asks none of the questions to forget.

    """
    found = {role: reworded(data, role, wordings) for role, data in sets.items()}
    asked, questions = found["forget"][1], sum(not item.is_text for item in sets["forget"].items)
    if questions and not asked:
        raise InputError(
            f"the pack ({wordings.source}) asks none of the {questions} questions of {sets['forget'].path.name}",
            next_step="give the pack that will judge, or leave --probes out; question and answer are compared",
        )
    if asked < questions:
        progress.warn(
            f"{questions - asked} of {questions} forget questions are not in the pack: asked in their own words"
        )
    surfaces = settings.surfaces or wordings.surfaces
    return {role: data for role, (data, _) in found.items()}, replace(settings, surfaces=surfaces)


def _train(prepared: Prepared, settings: Settings, hooks: Hooks, checkpoints: Checkpoints) -> tuple[Trained, Finished]:
    """Train, round to the shipped precision and measure; a run that cannot succeed leaves no checkpoint."""
    from edgeproof.unlearn.finishing import finish
    from edgeproof.unlearn.train.checkpoints import discard
    from edgeproof.unlearn.train.loop import train

    together, listener = checkpoints.processes, checkpoints.progress
    try:
        trained = train(
            prepared.model,
            prepared.forget,
            prepared.retain,
            settings,
            listener,
            around=hooks.around,
            penalty=hooks.penalty,
            after=hooks.after,
            processes=together,
            checkpoints=checkpoints,
        )
        return trained, finish(prepared, trained, settings, together, listener)
    except TrainingError:
        if together.writes:
            discard(checkpoints.out)  # resuming would only fail again
        raise


def _refuse_place(out: Path, *, resume: bool, force: bool) -> None:
    from edgeproof.unlearn.output.folder import check_place
    from edgeproof.unlearn.train.checkpoints import refuse_forgotten

    check_place(out, force=force)
    refuse_forgotten(out, resume=resume, force=force)


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}}


def _refuse_own_inputs(inputs: Sequence[Path], out: Path) -> None:
    """Refuse an `out` that holds an input, which `force` would remove."""
    target = out.resolve()
    for path in inputs:
        if target == path.resolve():
            raise OutputError(f"{out} is the input {path}", next_step="give another --out")
        if target in path.resolve().parents:
            raise OutputError(f"the input {path} lies in {out}", next_step="give another --out")


@contextlib.contextmanager
def _reproducible(settings: Settings) -> Iterator[int]:
    """Seed torch and require deterministic kernels; yield the number of threads. Everything is restored at the end."""
    import torch

    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    if settings.device != "cpu":
        # cuBLAS requires it for determinism, and reads it at initialization.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        with torch.random.fork_rng(devices=[] if settings.device == "cpu" else None):
            torch.manual_seed(settings.seed)
            torch.use_deterministic_algorithms(mode=True)
            if settings.threads is not None:
                torch.set_num_threads(settings.threads)
            yield torch.get_num_threads()
    finally:
        torch.use_deterministic_algorithms(mode=strict)
        torch.set_num_threads(threads)


def _refuse_without_torch() -> None:
    missing = missing_packages("torch", "transformers", "peft", "accelerate", "safetensors")
    if missing:
        raise UnsupportedError(
            f"unlearning needs {', '.join(missing)}, which the slim installation lacks",
            next_step="pip install 'edgeproof[unlearn]'",
        )
