"""Makes a model forget: data and base in, an adapter's folder out."""

from __future__ import annotations

import contextlib
import platform
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import UnsupportedError
from edgeproof.contracts.progress import Silent
from edgeproof.unlearn.settings import Settings
from edgeproof.unlearn.training_set import read_training_set, refuse_overlap

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from edgeproof.contracts.progress import Progress
    from edgeproof.unlearn.base_model import BaseModel
    from edgeproof.unlearn.encoding import EncodedText
    from peft import PeftModel
    from torch import Tensor

_LIBRARIES = ("torch", "transformers", "peft", "edgeproof")


class UnlearnResult(NamedTuple):
    """What came of it; NLLs are in nat per answer token, means over the training texts of all surfaces.

    Attributes:
        out: the adapter's folder.
        steps: optimizer steps.
        forget_nll: of the base, and with the adapter as written (float16).
        retain_nll: the same on the retain set.
        counting: how many of the last step's forget texts still counted (hinge).
        adapter_bytes: size of adapter_model.safetensors.
        seconds: wall time, loading included.

    """

    out: Path
    steps: int
    forget_nll: tuple[float, float]
    retain_nll: tuple[float, float]
    counting: int
    adapter_bytes: int
    seconds: float


def unlearn(
    base: Path,
    forget: Path,
    retain: Path,
    out: Path,
    *,
    method: str = Settings.method,
    rank: int = Settings.rank,
    alpha: float = Settings.alpha,
    dropout: float = Settings.dropout,
    targets: Sequence[str] = Settings.targets,
    learning_rate: float = Settings.learning_rate,
    steps: int | None = Settings.steps,
    epochs: int | None = Settings.epochs,
    batch_size: int = Settings.batch_size,
    beta: float = Settings.beta,
    retain_weight: float = Settings.retain_weight,
    hinge: float | None = Settings.hinge,
    surfaces: Sequence[str] = Settings.surfaces,
    seed: int = Settings.seed,
    threads: int | None = Settings.threads,
    device: str = Settings.device,
    force: bool = False,
    command: str = "",
    progress: Progress | None = None,
) -> UnlearnResult:
    """Train a LoRA that makes `base` forget the answers of `forget` and keep those of `retain`, and write it to `out`.

    The options are those of `Settings`. log π_ref is computed once, with the adapter switched off, and kept: no second
    model is held. The same call on the same machine writes the same bytes; torch's random state is left as it was.

    Args:  (beside those of `Settings`)
        base: a Hugging Face folder, or a GGUF file (trained on its dequantized weights).
        forget: .jsonl or .json file of questions with the answers to forget (`training_set.py`).
        retain: the same, with answers to keep.
        out: folder for adapter_config.json, adapter_model.safetensors (float16), log.jsonl and README.md.
        force: replace `out` if it is an adapter's folder.
        command: the command line, for the card.
        progress: hears how far it is.

    Raises:
        UsageError: an option is out of range.
        InputError: the data is empty, broken, too long for the context, or in both sets; the base cannot be loaded
            (`CheckpointError`).
        OutputError: `out` exists or cannot be written.
        TrainingError: a loss became NaN, or the adapter does nothing.
        UnsupportedError: the extra [unlearn] is not installed, or transformers does not know the base's architecture.

    """
    settings = Settings(
        method=method,
        rank=rank,
        alpha=alpha,
        dropout=dropout,
        targets=tuple(targets),
        learning_rate=learning_rate,
        steps=steps,
        epochs=epochs,
        batch_size=batch_size,
        beta=beta,
        retain_weight=retain_weight,
        hinge=hinge,
        surfaces=tuple(surfaces),
        seed=seed,
        threads=threads,
        device=device,
    )
    forget_set, retain_set = read_training_set(forget, "forget"), read_training_set(retain, "retain")
    refuse_overlap(forget_set, retain_set)
    _refuse_without_torch()
    from edgeproof.unlearn.adapter_folder import (
        WEIGHTS,
        Provenance,
        adapter_tensors,
        folder_for,
        load_rounded,
        write_adapter,
    )
    from edgeproof.unlearn.base_model import attach_lora, load_base
    from edgeproof.unlearn.encoding import encode_set
    from edgeproof.unlearn.scoring import mean_nll
    from edgeproof.unlearn.training import Texts, train

    listener = Silent() if progress is None else progress
    began = time.monotonic()
    with folder_for(out, force=force) as folder, _reproducible(settings) as used_threads:
        listener.start("loading the base", 1, "models")
        loaded: BaseModel = load_base(base, listener)
        listener.advance(1)
        encoded = [
            encode_set(data, loaded.tokenizer, settings.surfaces, loaded.context_length)
            for data in (forget_set, retain_set)
        ]
        model = attach_lora(loaded, settings).to(settings.device)

        def totals(task: str) -> list[Tensor]:
            return _totals(model, encoded, settings, listener, task)

        with model.disable_adapter():
            reference = totals("the base's answers")
        forget_texts, retain_texts = (Texts(*pair) for pair in zip(encoded, reference, strict=True))
        log = train(model, forget_texts, retain_texts, settings, listener)
        tensors = adapter_tensors(model)
        load_rounded(model, tensors)
        after = totals("the unlearned model's answers")
        nll = [
            (mean_nll(before, texts), mean_nll(since, texts))
            for before, since, texts in zip(reference, after, encoded, strict=True)
        ]
        provenance = Provenance(
            base=loaded.name,
            command=command,
            data={
                role: (data.path.name, len(data.items), data.sha256)
                for role, data in (("forget", forget_set), ("retain", retain_set))
            },
            versions={"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
            threads=used_threads,
            steps=len(log),
            measured={"forget": nll[0], "retain": nll[1]},
        )
        write_adapter(folder, model, tensors, settings=settings, provenance=provenance, log=log)
        size = (folder / WEIGHTS).stat().st_size
    return UnlearnResult(out, len(log), nll[0], nll[1], log[-1].counting, size, time.monotonic() - began)


def _totals(
    model: PeftModel, encoded: Sequence[Sequence[EncodedText]], settings: Settings, progress: Progress, task: str
) -> list[Tensor]:
    from edgeproof.unlearn.scoring import total_logprobs

    progress.start(task, sum(len(texts) for texts in encoded), "texts")
    return [
        total_logprobs(model, texts, batch_size=settings.batch_size, device=settings.device, advance=progress.advance)
        for texts in encoded
    ]


@contextlib.contextmanager
def _reproducible(settings: Settings) -> Iterator[int]:
    """Seed torch and hold it to deterministic kernels; yield the number of threads. All is put back at the end."""
    import torch

    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
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
    import importlib.util

    missing = [
        name for name in ("torch", "transformers", "peft", "safetensors") if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise UnsupportedError(
            f"unlearning needs {', '.join(missing)}, which the slim installation leaves out",
            next_step="pip install 'edgeproof[unlearn]'",
        )
