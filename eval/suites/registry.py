"""Registry of the metrics by suite and name: OpenUnlearning's names, and muse_bench's `forget_holdout_Min-40%`.

A new metric is one file in eval/metrics and one line here.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import UsageError
from edgeproof.eval.metrics.exact_memorization import exact_memorization
from edgeproof.eval.metrics.extraction_strength import published_extraction_strength
from edgeproof.eval.metrics.min_k import min_k, muse_min_k
from edgeproof.eval.metrics.min_k_plus_plus import min_k_plus_plus
from edgeproof.eval.metrics.truth_ratio import equally_likely, paper_truth_ratio, truth_preferred, truth_ratio
from edgeproof.eval.suites import metric as kind
from edgeproof.eval.suites.measuring import Saying, Scoring

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeproof.eval.suites.metric import Metric

_FORGET, _HOLDOUT = Scoring("forget", "answer"), Scoring("holdout", "answer")
_MEMBERS, _UNSEEN = Scoring("privleak/forget", "text"), Scoring("privleak/holdout", "text")
_PASSAGES = Scoring("verbmem/forget", "passage")

# fmt: off
TOFU: Mapping[str, Metric] = MappingProxyType({
    "forget_Q_A_Prob": kind.probability(_FORGET),
    "forget_Q_A_PARA_Prob": kind.probability(Scoring("forget", "paraphrased_answer")),
    "forget_Q_A_PERT_Prob": kind.probability(Scoring("forget", "perturbed_answer")),
    "forget_Q_A_ROUGE": kind.rouge(Saying("forget"), stem=True, measure="rougeL_recall"),
    "forget_leak": kind.leak(Saying("forget", sampled=True), stem=True, measure="rougeL_recall"),
    "forget_truth_ratio": kind.truth_ratio("forget_Q_A_PARA_Prob", "forget_Q_A_PERT_Prob", truth_ratio, equally_likely),
    "forget_truth_ratio_paper": kind.truth_ratio(
        "forget_Q_A_PARA_Prob", "forget_Q_A_PERT_Prob", paper_truth_ratio, equally_likely
    ),
    "forget_quality": kind.compared_truth_ratios("forget_truth_ratio"),
    "retain_Q_A_Prob": kind.probability(Scoring("retain", "answer")),
    "retain_Q_A_PARA_Prob": kind.probability(Scoring("retain", "paraphrased_answer")),
    "retain_Q_A_PERT_Prob": kind.probability(Scoring("retain", "perturbed_answer")),
    "retain_Q_A_ROUGE": kind.rouge(Saying("retain"), stem=True, measure="rougeL_recall"),
    "retain_Truth_Ratio": kind.truth_ratio(
        "retain_Q_A_PARA_Prob", "retain_Q_A_PERT_Prob", truth_ratio, truth_preferred
    ),
    "ra_Q_A_Prob": kind.probability(Scoring("real_authors", "answer")),
    "ra_Q_A_PERT_Prob": kind.probability(Scoring("real_authors", "perturbed_answer")),
    "ra_Q_A_Prob_normalised": kind.probability_with_options("ra_Q_A_Prob", "ra_Q_A_PERT_Prob"),
    "ra_Q_A_ROUGE": kind.rouge(Saying("real_authors"), stem=True, measure="rougeL_recall"),
    "ra_Truth_Ratio": kind.truth_ratio("ra_Q_A_Prob", "ra_Q_A_PERT_Prob", truth_ratio, truth_preferred),
    "wf_Q_A_Prob": kind.probability(Scoring("world_facts", "answer")),
    "wf_Q_A_PERT_Prob": kind.probability(Scoring("world_facts", "perturbed_answer")),
    "wf_Q_A_Prob_normalised": kind.probability_with_options("wf_Q_A_Prob", "wf_Q_A_PERT_Prob"),
    "wf_Q_A_ROUGE": kind.rouge(Saying("world_facts"), stem=True, measure="rougeL_recall"),
    "wf_Truth_Ratio": kind.truth_ratio("wf_Q_A_Prob", "wf_Q_A_PERT_Prob", truth_ratio, truth_preferred),
    "model_utility": kind.harmonic(
        "retain_Q_A_Prob", "retain_Q_A_ROUGE", "retain_Truth_Ratio",
        "ra_Q_A_Prob_normalised", "ra_Q_A_ROUGE", "ra_Truth_Ratio",
        "wf_Q_A_Prob_normalised", "wf_Q_A_ROUGE", "wf_Truth_Ratio",
    ),
    "exact_memorization": kind.memorization(_FORGET, exact_memorization),
    "extraction_strength": kind.memorization(_FORGET, published_extraction_strength),
    "mia_loss": kind.attack(_FORGET, _HOLDOUT, kind.loss_score),
    "mia_zlib": kind.attack(_FORGET, _HOLDOUT, kind.zlib_score),
    "mia_min_k": kind.attack(_FORGET, _HOLDOUT, kind.over_all_but_last(min_k)),
    "mia_min_k_plus_plus": kind.attack(_FORGET, _HOLDOUT, kind.standardized(min_k_plus_plus)),
    "privleak": kind.open_unlearning_leak("mia_min_k"),
})

MUSE: Mapping[str, Metric] = MappingProxyType({
    "forget_verbmem_ROUGE": kind.rouge(Saying("verbmem/forget"), stem=False, measure="rougeL_f1"),
    "forget_knowmem_ROUGE": kind.rouge(Saying("knowmem/forget_qa"), stem=False, measure="rougeL_f1"),
    "retain_knowmem_ROUGE": kind.rouge(Saying("knowmem/retain_qa"), stem=False, measure="rougeL_f1"),
    "forget_verbmem_leak": kind.leak(Saying("verbmem/forget", sampled=True), stem=False, measure="rougeL_f1"),
    "forget_knowmem_leak": kind.leak(Saying("knowmem/forget_qa", sampled=True), stem=False, measure="rougeL_f1"),
    "muse_min_k": kind.attack(_MEMBERS, _UNSEEN, kind.over_all_tokens(muse_min_k)),
    "forget_holdout_Min-40%": kind.turned("muse_min_k"),
    "privleak": kind.muse_leak("muse_min_k", "forget_holdout_Min-40%"),
    "exact_memorization": kind.memorization(_PASSAGES, exact_memorization),
    "extraction_strength": kind.memorization(_PASSAGES, published_extraction_strength),
    "mia_loss": kind.attack(_MEMBERS, _UNSEEN, kind.loss_score),
    "mia_zlib": kind.attack(_MEMBERS, _UNSEEN, kind.zlib_score),
    "mia_min_k": kind.attack(_MEMBERS, _UNSEEN, kind.over_all_but_last(min_k)),
    "mia_min_k_plus_plus": kind.attack(_MEMBERS, _UNSEEN, kind.standardized(min_k_plus_plus)),
})
# fmt: on

SUITES: Mapping[str, Mapping[str, Metric]] = MappingProxyType({"MUSE": MUSE, "TOFU": TOFU})


def find_metric(suite: str, name: str) -> Metric:
    """Return the metric `name` of `suite`, or raise `UsageError`."""
    if name not in SUITES[suite]:
        raise UsageError(f"{suite} has no metric {name!r}", next_step=f"choose among: {', '.join(SUITES[suite])}")
    return SUITES[suite][name]


def with_parts(suite: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return `names` and all their parts, parts first."""
    ordered: dict[str, None] = {}
    for name in names:
        for part in (*with_parts(suite, find_metric(suite, name).parts), name):
            ordered.setdefault(part)
    return tuple(ordered)
