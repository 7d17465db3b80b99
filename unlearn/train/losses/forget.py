"""Losses on the forget set: GA, NPO, SimNPO, WGA."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.unlearn.train.losses.loss import ForgetLoss

if TYPE_CHECKING:
    from edgeproof.unlearn.train.losses.loss import AnswerScores
    from torch import Tensor


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


def npo_pull(sums: Tensor, reference: Tensor, beta: float) -> Tensor:
    """Return the weight of `npo`'s gradient, relative to that before training: 2·σ(β·(log π(y) − log π_ref(y))).

    It depends on the sum over the answer: with β = 0.1 it is 1e-4 once an answer has lost 99 nat, 0.77 in each of 128
    tokens. Hence the smaller β for texts (`ForgetLoss.span`).

    Args:
        sums: log π(answer), [answers].
        reference: log π_ref(answer), [answers].
        beta: the loss's β.

    """
    import torch

    return 2.0 * torch.sigmoid(beta * (sums - reference))


def simnpo(scores: AnswerScores, beta: float) -> Tensor:
    """NPO without a reference, per answer: −(2/β)·log σ(−(β/|y|)·log π(y)), shape [answers].

    Source: Fan et al. 2024, arXiv 2410.07163, eq. 4 with the margin γ = 0, as in the authors' experiments on TOFU. The
    log-probability is divided by the number |y| of the answer's tokens, so that texts of any length weigh the same.
    """
    from torch.nn.functional import logsigmoid

    return -(2.0 / beta) * logsigmoid(beta * scores.nll)


def wga(scores: AnswerScores, beta: float) -> Tensor:
    """Weighted gradient ascent: π(token)^β · log π(token), the weight without gradient, per token [answers, longest].

    Source: Wang et al. 2025, arXiv 2502.19301, sec. 5, where the exponent is α. Tokens that the model already finds
    unlikely hardly count, so that the ascent ends by itself; with β = 0 it is `ga`.
    """
    return scores.logprobs.detach().exp() ** beta * scores.logprobs * scores.mask


GA = ForgetLoss("ga", ga, per_token=True, reference=False, beta=None, pull=1.0)
NPO = ForgetLoss("npo", npo, per_token=False, reference=True, beta=0.1, pull=1.0, span=32, left=npo_pull)
SIMNPO = ForgetLoss("simnpo", simnpo, per_token=False, reference=False, beta=0.5, pull=1.0)
WGA = ForgetLoss("wga", wga, per_token=True, reference=False, beta=0.25, pull=1.0)
