"""Losses on the retain set: GDR, KLR."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.unlearn.train.losses.loss import RetainLoss

if TYPE_CHECKING:
    from edgeproof.unlearn.train.losses.loss import AnswerScores
    from torch import Tensor


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


GDR = RetainLoss("gdr", gdr, per_token=True, distributions=False, weight=2.0)
KLR = RetainLoss("klr", klr, per_token=True, distributions=True, weight=15.0)
