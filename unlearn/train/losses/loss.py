"""Loss records of the registry, and the scores that losses are functions of."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


class AnswerScores(NamedTuple):
    """Log-probabilities of a batch of answers under the model in training and the reference model.

    Attributes:
        logprobs: log π(token | everything before it), natural log, float32 [answers, longest]; 0 where padded.
        mask: whether a position is a token of the answer, bool [answers, longest].
        reference: log π_ref(answer), summed over the tokens, float32 [answers]; no gradient.
        divergence: KL(π_ref ‖ π) of the next token over the whole vocabulary, in nat, float32 [answers, longest]; 0
            where padded; None if no loss needs it.

    """

    logprobs: Tensor
    mask: Tensor
    reference: Tensor
    divergence: Tensor | None = None

    @property
    def sums(self) -> Tensor:
        """Log π(answer), [answers]."""
        return (self.logprobs * self.mask).sum(dim=1)

    @property
    def nll(self) -> Tensor:
        """Mean negative log-likelihood per token of each answer, in nat, [answers]."""
        return -self.sums / self.mask.sum(dim=1)


class ForgetLoss(NamedTuple):
    """A loss on the forget set.

    Attributes:
        name: first half of a method's name.
        compute: loss from scores and β: per answer [answers], or per token [answers, longest].
        per_token: whether it is averaged over the tokens of the batch's answers, instead of over the answers.
        reference: whether it reads the base's log-probability of each answer.
        beta: default β; None if the loss has none.
        pull: factor of the retain loss's weight in the default α: a loss that pulls harder needs more to hold it.
        span: tokens of an answer that the default β and α are meant for, where it sums over the answer: for chunks of a
            text that are k times as long, β is divided by k and α multiplied by it. None if length does not matter.
        left: weight of its gradient, relative to that before training, from the answers' summed log-probabilities, the
            base's, and β, [answers]; None if the weight does not fall with the sum over the answer.

    """

    name: str
    compute: Callable[[AnswerScores, float], Tensor]
    per_token: bool
    reference: bool
    beta: float | None
    pull: float
    span: int | None = None
    left: Callable[[Tensor, Tensor, float], Tensor] | None = None


class RetainLoss(NamedTuple):
    """A loss on the retain set.

    Attributes:
        name: second half of a method's name.
        compute: loss from scores, as in `ForgetLoss`.
        per_token: as in `ForgetLoss`.
        distributions: whether it reads the base's whole distributions at each token of the answers.
        weight: default α, before the forget loss's `pull`.

    """

    name: str
    compute: Callable[[AnswerScores], Tensor]
    per_token: bool
    distributions: bool
    weight: float


def still_known(scores: AnswerScores, hinge: float | None, leak_logprob: float | None = None) -> Tensor:
    """Return which answers still count, [answers].

    Those whose NLL per token is below `hinge`, and those that `come_out`; all without a hinge.
    """
    import torch

    if hinge is None:
        return torch.ones_like(scores.reference, dtype=torch.bool)
    return (scores.nll.detach() < hinge) | come_out(scores.sums.detach(), leak_logprob)


def come_out(sums: Tensor, leak_logprob: float | None) -> Tensor:
    """Return which answers' summed log-probabilities are `leak_logprob` or more, [answers]; none without it."""
    return sums >= (math.inf if leak_logprob is None else leak_logprob)


def mean_over_batch(losses: Tensor, total: int, counts: Tensor | None = None) -> Tensor:
    """Return the sum of the `losses` of the counting answers, divided by the `total` of the whole batch.

    Args:
        losses: per answer [answers], or per token [answers, longest].
        total: number of answers, or tokens of answers, in the whole batch, of which this may be a part.
        counts: which answers count, bool [answers]; all by default. Fewer of them give a smaller step.

    """
    if counts is not None:
        losses = losses * (counts if losses.dim() == 1 else counts.unsqueeze(1))
    return losses.sum() / total
