"""Log-probabilities of answers under a model in torch, with and without its adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.unlearn.encoding import batch_of
from edgeproof.unlearn.losses import AnswerScores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgeproof.unlearn.encoding import Batch, EncodedText
    from peft import PeftModel
    from torch import Tensor


def answer_logprobs(model: PeftModel, batch: Batch) -> Tensor:
    """Log π(token | everything before it) at `batch.positions`, float32 [texts, kept]; other texts' positions hold 0.

    The output head runs at those positions only: its logits are the largest tensors of a step.
    """
    import torch

    logits = model(
        input_ids=batch.ids, attention_mask=batch.attention_mask, use_cache=False, logits_to_keep=batch.positions
    ).logits.float()
    chosen = logits.gather(2, batch.targets.unsqueeze(2)).squeeze(2)
    logprobs: Tensor = chosen - torch.logsumexp(logits, dim=2)
    return logprobs * batch.is_answer


def score(model: PeftModel, batch: Batch, reference: Tensor) -> AnswerScores:
    """Score a batch for a loss; `reference` is what `total_logprobs` gave for its texts before training."""
    return AnswerScores(answer_logprobs(model, batch), batch.is_answer, reference.to(batch.ids.device))


def total_logprobs(
    model: PeftModel,
    texts: Sequence[EncodedText],
    *,
    batch_size: int,
    device: str,
    advance: Callable[[int], None],
) -> Tensor:
    """Log π(answer) of every text, float32 [texts], without gradient or dropout.

    With `model.disable_adapter()` around it this is log π_ref: computed once, so that no second model is held.
    """
    import torch

    was_training = model.training
    model.eval()
    totals: list[Tensor] = []
    with torch.inference_mode():
        for start in range(0, len(texts), batch_size):
            some = texts[start : start + batch_size]
            totals.append(answer_logprobs(model, batch_of(some, device)).sum(dim=1).cpu())
            advance(len(some))
    model.train(was_training)
    return torch.cat(totals).clone()


def mean_nll(totals: Tensor, texts: Sequence[EncodedText]) -> float:
    """Mean over the texts of the NLL per answer token, in nat."""
    lengths = totals.new_tensor([len(text.ids) - text.answer_start for text in texts])
    return float((-totals / lengths).mean())
