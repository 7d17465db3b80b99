"""The losses of unlearning, as functions of the answers' log-probabilities, and the registry of methods made of them.

```
forget ── NPO ──┐
                ├── forget + retain_weight · retain ──▶ gradient on the adapter
retain ── GDR ──┘
```
A new loss is one function and one line in `FORGET_LOSSES` or `RETAIN_LOSSES`; a method's name is two of their names.
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

    """

    logprobs: Tensor
    mask: Tensor
    reference: Tensor

    @property
    def sums(self) -> Tensor:
        """Log π(answer), [answers]."""
        return (self.logprobs * self.mask).sum(dim=1)

    @property
    def nll(self) -> Tensor:
        """Mean negative log-likelihood per token of each answer, in nat, [answers]."""
        return -self.sums / self.mask.sum(dim=1)


def npo(scores: AnswerScores, beta: float) -> Tensor:
    """Negative preference optimisation, per answer: −(2/β)·log σ(−β·(log π(y) − log π_ref(y))), shape [answers].

    Source: Zhang et al. 2024, arXiv 2404.05868, eq. 3. At the start its gradient is that of log π(y) itself (gradient
    ascent); it fades as π(y) falls below π_ref(y), for β → 0 never.
    """
    from torch.nn.functional import logsigmoid

    return -(2.0 / beta) * logsigmoid(-beta * (scores.sums - scores.reference))


def gdr(scores: AnswerScores) -> Tensor:
    """Gradient descent on the retain set: the mean NLL over all answer tokens of the batch, a scalar.

    A language model's cross entropy with the prompts left out (Maini et al. 2024, arXiv 2401.06121, sec. 4).
    """
    return -(scores.logprobs * scores.mask).sum() / scores.mask.sum()


def still_known(scores: AnswerScores, hinge: float | None) -> Tensor:
    """Tell which answers still count, [answers]: those whose NLL per token is below `hinge`; all without one."""
    import torch

    if hinge is None:
        return torch.ones_like(scores.reference, dtype=torch.bool)
    return scores.nll.detach() < hinge


def mean_over_batch(losses: Tensor, counts: Tensor) -> Tensor:
    """Average the `losses` that count over the whole batch, so that the step gets smaller as fewer of them do."""
    return (losses * counts).sum() / len(losses)


FORGET_LOSSES: Mapping[str, Callable[[AnswerScores, float], Tensor]] = {
    "npo": npo,
}
"""Per answer, [answers], of the scores and β."""

RETAIN_LOSSES: Mapping[str, Callable[[AnswerScores], Tensor]] = {
    "gdr": gdr,
}
"""A scalar, of the scores."""

METHODS: tuple[str, ...] = tuple(f"{forget}+{retain}" for forget in FORGET_LOSSES for retain in RETAIN_LOSSES)
"""The names that `--method` takes."""


class Method(NamedTuple):
    """The two halves of a method."""

    name: str
    forget: Callable[[AnswerScores, float], Tensor]
    retain: Callable[[AnswerScores], Tensor]


def method_of(name: str) -> Method:
    """Look `name` ("npo+gdr") up in the registry.

    Raises:
        UsageError: there is no such method.

    """
    forget, _, retain = name.partition("+")
    if forget not in FORGET_LOSSES or retain not in RETAIN_LOSSES:
        raise UsageError(f"no such method: {name!r}", next_step=f"one of: {', '.join(METHODS)}")
    return Method(name, FORGET_LOSSES[forget], RETAIN_LOSSES[retain])
