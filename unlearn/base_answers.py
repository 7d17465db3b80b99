"""What the base answers: its log-probabilities of the texts, its distributions, and the ignorance level."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.unlearn.base_model import vocabulary_size
from edgeproof.unlearn.ignorance import ignorance_level
from edgeproof.unlearn.train.reference import bytes_needed, reference_distributions
from edgeproof.unlearn.train.scoring import total_logprobs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeproof.contracts.progress import Progress
    from edgeproof.unlearn.data.encoding import EncodedText
    from edgeproof.unlearn.settings import Settings
    from edgeproof.unlearn.train.processes import Processes
    from edgeproof.unlearn.train.reference import Distributions
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

LARGE = 10**9
"""Size in bytes from which a temporary file causes a warning."""


def totals(
    model: PreTrainedModel | PeftModel,
    encoded: Sequence[Sequence[EncodedText]],
    settings: Settings,
    processes: Processes,
    *,
    progress: Progress,
    task: str,
) -> list[Tensor]:
    """Return log π(answer) of every text of each set, float32 [texts]; each process scores its share, all get all."""
    import torch

    progress.start(task, sum(len(processes.share(texts)) for texts in encoded), "texts")
    found: list[Tensor] = []
    for texts in encoded:
        mine = processes.share(texts)
        part = torch.empty(0)
        if mine:
            part = total_logprobs(
                model, mine, batch_size=settings.part_size, device=processes.device, advance=progress.advance
            )
        whole = torch.empty(len(texts))
        for rank, share in enumerate(processes.gather(part)):
            whole[rank :: processes.size] = share
        found.append(whole)
    return found


def level_of(
    model: PreTrainedModel | PeftModel,
    texts: Sequence[Sequence[EncodedText]],
    settings: Settings,
    processes: Processes,
    progress: Progress,
) -> float:
    """Return the ignorance level: what the answers cost this model behind other questions, in nat per token."""
    progress.start("the ignorance level", sum(map(len, texts)), "answers")
    size, device = settings.part_size, processes.device
    level = ignorance_level(model, texts, batch_size=size, device=device, advance=progress.advance)
    return processes.gather(level)[0]  # all stop at the same number


def kept_distributions(
    model: PreTrainedModel | PeftModel,
    retain: Sequence[EncodedText],
    scratch: Path,
    settings: Settings,
    processes: Processes,
    *,
    progress: Progress,
) -> Distributions:
    """Store the model's distributions of the retain texts on the disk of `scratch`, for the KL divergence."""
    vocabulary = vocabulary_size(model)
    size = bytes_needed(retain, vocabulary)
    if size >= LARGE:
        progress.warn(
            f"KL on the retain set keeps {size / 1e9:.1f} GB in a temporary file in {scratch} until training ends, for "
            "each process"
        )
    progress.start(f"the base's distributions, {size / 1e6:.0f} MB", len(retain), "texts")
    return reference_distributions(
        model,
        retain,
        scratch,
        vocabulary=vocabulary,
        batch_size=settings.part_size,
        device=processes.device,
        advance=progress.advance,
    )


def spread(found: Tensor, some: Sequence[int], count: int) -> Tensor:
    """Place each number at its text's index among `count`, with NaN elsewhere."""
    import torch

    whole = torch.full((count,), torch.nan)
    whole[list(some)] = found
    return whole
