"""Log-probabilities of answers under a torch model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.unlearn.data.encoding import batch_of
from edgeproof.unlearn.train.losses import AnswerScores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgeproof.unlearn.data.encoding import Batch, EncodedText
    from torch import Tensor
    from torch.nn import Module


def answer_logits(model: Module, batch: Batch) -> Tensor:
    """Return the logits at `batch.positions`, float32 (or the model's type, if wider) [texts, kept, vocabulary].

    The output head runs at those positions only: its logits are the largest tensors of a step.
    """
    import torch

    logits: Tensor = model(
        input_ids=batch.ids, attention_mask=batch.attention_mask, use_cache=False, logits_to_keep=batch.positions
    ).logits
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def answer_logprobs(model: Module, batch: Batch) -> Tensor:
    """Return log π(token | all before it) at `batch.positions`, float32 [texts, kept]; 0 at other texts' positions."""
    return _chosen(answer_logits(model, batch), batch)


def score(model: Module, batch: Batch, reference: Tensor, distributions: Tensor | None = None) -> AnswerScores:
    """Score a batch for a loss.

    Args:
        model: the model in training.
        batch: a batch of texts.
        reference: the result of `total_logprobs` for its texts before training, float32 [texts].
        distributions: log π_ref at each token of the answers, text by text, float32 [tokens, vocabulary]; with them the
            scores have their divergence.

    """
    import torch
    from torch.nn.functional import kl_div

    device = batch.ids.device
    logits = answer_logits(model, batch)
    scores = AnswerScores(_chosen(logits, batch), batch.is_answer, reference.to(device))
    if distributions is None:
        return scores
    current = torch.log_softmax(logits[batch.is_answer], dim=1)
    per_token = kl_div(current, distributions.to(device), reduction="none", log_target=True).sum(dim=1)
    divergence = torch.zeros_like(scores.logprobs).masked_scatter(batch.is_answer, per_token)
    return scores._replace(divergence=divergence)


def evaluated(
    model: Module,
    texts: Sequence[EncodedText],
    *,
    batch_size: int,
    device: str,
    advance: Callable[[int], None],
) -> Iterator[tuple[Batch, Tensor]]:
    """Yield batches with their logits, in order, without gradient or dropout; the model's mode is restored."""
    import torch

    was_training = model.training
    model.eval()
    try:
        for start in range(0, len(texts), batch_size):
            some = texts[start : start + batch_size]
            batch = batch_of(some, device)
            with torch.inference_mode():
                logits = answer_logits(model, batch)
            yield batch, logits
            advance(len(some))
    finally:
        model.train(was_training)


def total_logprobs(
    model: Module,
    texts: Sequence[EncodedText],
    *,
    batch_size: int,
    device: str,
    advance: Callable[[int], None],
) -> Tensor:
    """Return log π(answer) of every text, float32 [texts], without gradient or dropout."""
    import torch

    totals: list[Tensor] = []
    for batch, logits in evaluated(model, texts, batch_size=batch_size, device=device, advance=advance):
        with torch.inference_mode():
            totals.append(_chosen(logits, batch).sum(dim=1).cpu())
    return torch.cat(totals).clone()


def mean_nll(totals: Tensor, texts: Sequence[EncodedText]) -> float:
    """Return the mean over the texts of the NLL per answer token, in nat."""
    lengths = totals.new_tensor([len(text.ids) - text.answer_start for text in texts])
    return float((-totals / lengths).mean())


def _chosen(logits: Tensor, batch: Batch) -> Tensor:
    import torch

    chosen = logits.gather(2, batch.targets.unsqueeze(2)).squeeze(2)
    logprobs: Tensor = chosen - torch.logsumexp(logits, dim=2)
    return logprobs * batch.is_answer
