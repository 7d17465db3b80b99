"""Unlearning losses, as functions of the answers' log-probabilities, and the registry of methods.

```
forget ── GA | NPO ──┐
                     ├── forget + α · retain ──▶ gradient on the adapter, or on all weights
retain ── GDR | KLR ─┘
```
A new loss is one function and one line in `FORGET_LOSSES` or `RETAIN_LOSSES`; a method's name is two of their names.

A loss returns one number per answer or per token; `mean_over_batch` sums them and divides by the number in the whole
batch. So the parts of a batch (`--accumulate`, several processes) add up to the loss and gradient of the whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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


def ga(scores: AnswerScores, beta: float) -> Tensor:  # noqa: ARG001 (one signature for all forget losses)
    """Gradient ascent on the forget set: log π(token), whose mean is −NLL, per token [answers, longest].

    The mean is over the answers' tokens of the batch, as in MUSE's and TOFU's own code, which negate a language model's
    cross entropy (Shi et al. 2024, arXiv 2407.06460, sec. 4; Maini et al. 2024, arXiv 2401.06121, sec. 4). It has no
    lower bound and destroys the model unless stopped in time (`--until-forget-nll`, a hinge).
    """
    return scores.logprobs * scores.mask


def npo(scores: AnswerScores, beta: float) -> Tensor:
    """Negative preference optimization, per answer: −(2/β)·log σ(−β·(log π(y) − log π_ref(y))), shape [answers].

    Source: Zhang et al. 2024, arXiv 2404.05868, eq. 3, with log-probabilities summed over the answer as in the authors'
    TOFU code. Initially its gradient is that of log π(y) (gradient ascent); it vanishes as π(y) falls below π_ref(y),
    except for β → 0.
    """
    from torch.nn.functional import logsigmoid

    return -(2.0 / beta) * logsigmoid(-beta * (scores.sums - scores.reference))


def gdr(scores: AnswerScores) -> Tensor:
    """Gradient descent on the retain set: −log π(token), per token [answers, longest].

    Its mean is a language model's cross entropy without the prompts (Maini et al. 2024, arXiv 2401.06121, sec.
    4).
    """
    return -(scores.logprobs * scores.mask)


def klr(scores: AnswerScores) -> Tensor:
    """KL(π_ref ‖ π) on the retain set: of the next token over the whole vocabulary, per token [answers, longest].

    Σ_v π_ref(v)·(log π_ref(v) − log π(v)), at the positions that predict the answer (Maini et al. 2024, arXiv
    2401.06121, sec. 4; Shi et al. 2024, arXiv 2407.06460, sec. 4). MUSE's published code passes raw logits to `kl_div`,
    which is then not a divergence of two distributions; this is the formula of the papers.
    """
    assert scores.divergence is not None
    return scores.divergence * scores.mask


def still_known(scores: AnswerScores, hinge: float | None) -> Tensor:
    """Return which answers still count, [answers]: those whose NLL per token is below `hinge`; all without a hinge."""
    import torch

    if hinge is None:
        return torch.ones_like(scores.reference, dtype=torch.bool)
    return scores.nll.detach() < hinge


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


FORGET_LOSSES: Mapping[str, Callable[[AnswerScores, float], Tensor]] = {
    "ga": ga,
    "npo": npo,
}
"""Function of scores and β: per answer, [answers], or per token, [answers, longest]."""

RETAIN_LOSSES: Mapping[str, Callable[[AnswerScores], Tensor]] = {
    "gdr": gdr,
    "klr": klr,
}
"""Function of the scores: per token, [answers, longest]."""

PER_TOKEN = frozenset({"ga", "gdr", "klr"})
"""Losses averaged over the tokens of the batch's answers; the others are averaged over the answers."""

RETAIN_WEIGHTS: Mapping[str, float] = {"ga+gdr": 100.0, "ga+klr": 100.0, "npo+gdr": 1.0, "npo+klr": 1.0}
"""Default α: arXiv 2602.13151's 100 with GA; 1 with NPO instead of its 0.1 (docs/unlearn.md)."""

METHODS: tuple[str, ...] = tuple(f"{forget}+{retain}" for forget in FORGET_LOSSES for retain in RETAIN_LOSSES)
"""Values of `--method`."""


class Method(NamedTuple):
    """The two halves of a method.

    Attributes:
        name: value of `--method`.
        forget: one of `FORGET_LOSSES`.
        retain: one of `RETAIN_LOSSES`.
        forget_per_token: whether the forget loss is averaged over tokens, not answers.
        retain_per_token: the same for the retain loss.
        distributions: whether π_ref's full distributions are needed on the retain set.

    """

    name: str
    forget: Callable[[AnswerScores, float], Tensor]
    retain: Callable[[AnswerScores], Tensor]
    forget_per_token: bool
    retain_per_token: bool
    distributions: bool


def method_of(name: str) -> Method:
    """Look `name` ("npo+gdr") up in the registry.

    Raises:
        UsageError: there is no such method.

    """
    forget, _, retain = name.partition("+")
    if forget not in FORGET_LOSSES or retain not in RETAIN_LOSSES:
        raise UsageError(f"no such method: {name!r}", next_step=f"one of: {', '.join(METHODS)}")
    return Method(
        name, FORGET_LOSSES[forget], RETAIN_LOSSES[retain], forget in PER_TOKEN, retain in PER_TOKEN, retain == "klr"
    )
