"""The losses of unlearning, as functions of the answers' log-probabilities, and the registry of methods made of them.

```
forget ── GA | NPO ──┐
                     ├── forget + α · retain ──▶ gradient on the adapter, or on all weights
retain ── GDR | KLR ─┘
```
A new loss is one function and one line in `FORGET_LOSSES` or `RETAIN_LOSSES`; a method's name is two of their names.

A loss gives one number an answer or one a token; `mean_over_batch` sums them and divides by how many the whole batch
has. So the parts of a batch (`--accumulate`, several processes) add up to the loss and the gradient of the whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor


class AnswerScores(NamedTuple):
    """A batch of answers as the model in training sees them, and what the reference model gave them.

    Attributes:
        logprobs: log π(token | everything before it), natural log, float32 [answers, longest]; 0 where padded.
        mask: which of them are tokens of the answer, bool [answers, longest].
        reference: log π_ref(answer), summed over the tokens, float32 [answers]; no gradient.
        divergence: KL(π_ref ‖ π) of the next token over the whole vocabulary, in nat, float32 [answers, longest]; 0
            where padded; None where no loss asks for it.

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
    """Gradient ascent on the forget set: log π(token), so that its mean is −NLL, per token [answers, longest].

    The mean is over the answers' tokens of the batch, as in MUSE's and TOFU's own code, which negate a language model's
    cross entropy (Shi et al. 2024, arXiv 2407.06460, sec. 4; Maini et al. 2024, arXiv 2401.06121, sec. 4). It has no
    lower bound: stop it in time (`--until-forget-nll`, a hinge) or it breaks the model.
    """
    return scores.logprobs * scores.mask


def npo(scores: AnswerScores, beta: float) -> Tensor:
    """Negative preference optimisation, per answer: −(2/β)·log σ(−β·(log π(y) − log π_ref(y))), shape [answers].

    Source: Zhang et al. 2024, arXiv 2404.05868, eq. 3, log-probabilities summed over the answer as in the authors' TOFU
    code. At the start its gradient is that of log π(y) itself (gradient ascent); it fades as π(y) falls below π_ref(y),
    for β → 0 never.
    """
    from torch.nn.functional import logsigmoid

    return -(2.0 / beta) * logsigmoid(-beta * (scores.sums - scores.reference))


def gdr(scores: AnswerScores) -> Tensor:
    """Gradient descent on the retain set: −log π(token), per token [answers, longest].

    Its mean is a language model's cross entropy with the prompts left out (Maini et al. 2024, arXiv 2401.06121, sec.
    4).
    """
    return -(scores.logprobs * scores.mask)


def klr(scores: AnswerScores) -> Tensor:
    """KL(π_ref ‖ π) on the retain set: of the next token over the whole vocabulary, per token [answers, longest].

    Σ_v π_ref(v)·(log π_ref(v) − log π(v)), at the positions that predict the answer (Maini et al. 2024, arXiv
    2401.06121, sec. 4; Shi et al. 2024, arXiv 2407.06460, sec. 4). MUSE's published code gives raw logits to `kl_div`,
    which then is no divergence of two distributions; this is the formula of the papers.
    """
    assert scores.divergence is not None
    return scores.divergence * scores.mask


def still_known(scores: AnswerScores, hinge: float | None) -> Tensor:
    """Tell which answers still count, [answers]: those whose NLL per token is below `hinge`; all without one."""
    import torch

    if hinge is None:
        return torch.ones_like(scores.reference, dtype=torch.bool)
    return scores.nll.detach() < hinge


def mean_over_batch(losses: Tensor, total: int, counts: Tensor | None = None) -> Tensor:
    """Sum the `losses` of the answers that count, over the `total` of the whole batch: fewer of them, a smaller step.

    Args:
        losses: per answer [answers], or per token [answers, longest].
        total: how many answers, or tokens of answers, the whole batch has; this may be a part of it.
        counts: which answers count, bool [answers]; all by default.

    """
    if counts is not None:
        losses = losses * (counts if losses.dim() == 1 else counts.unsqueeze(1))
    return losses.sum() / total


FORGET_LOSSES: Mapping[str, Callable[[AnswerScores, float], Tensor]] = {
    "ga": ga,
    "npo": npo,
}
"""Of the scores and β: per answer, [answers], or per token, [answers, longest]."""

RETAIN_LOSSES: Mapping[str, Callable[[AnswerScores], Tensor]] = {
    "gdr": gdr,
    "klr": klr,
}
"""Of the scores: per token, [answers, longest]."""

PER_TOKEN = frozenset({"ga", "gdr", "klr"})
"""Losses whose mean is over the tokens of the batch's answers; the others' is over the answers."""

RETAIN_WEIGHTS: Mapping[str, float] = {"ga+gdr": 100.0, "ga+klr": 100.0, "npo+gdr": 1.0, "npo+klr": 1.0}
"""α where none is given: arXiv 2602.13151's 100 with GA; with NPO 1 in place of its 0.1 (docs/unlearn.md)."""

METHODS: tuple[str, ...] = tuple(f"{forget}+{retain}" for forget in FORGET_LOSSES for retain in RETAIN_LOSSES)
"""The names that `--method` takes."""


class Method(NamedTuple):
    """The two halves of a method.

    Attributes:
        name: as `--method` has it.
        forget: of `FORGET_LOSSES`.
        retain: of `RETAIN_LOSSES`.
        forget_per_token: whether the forget loss' mean is over tokens, not answers.
        retain_per_token: the same of the retain loss.
        distributions: whether π_ref's whole distributions are needed on the retain set.

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
