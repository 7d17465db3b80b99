"""Each metric equals what its authors' own code gave on the same inputs (tests/data/record_published_metrics.py)."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgeproof.contracts.errors import InputError
from edgeproof.eval.metrics.auc import auc
from edgeproof.eval.metrics.forget_quality import forget_quality
from edgeproof.eval.metrics.knowmem import cut_answer
from edgeproof.eval.metrics.leak_at_k import expected_worst
from edgeproof.eval.metrics.min_k import min_k, muse_min_k
from edgeproof.eval.metrics.min_k_plus_plus import min_k_plus_plus
from edgeproof.eval.metrics.model_utility import harmonic_mean
from edgeproof.eval.metrics.privleak import RETRAINED_AUC, muse_privleak, open_unlearning_privleak
from edgeproof.eval.metrics.probability import normalized_probability, probability_among
from edgeproof.eval.metrics.result import mean_of
from edgeproof.eval.metrics.rouge import published_rouge
from edgeproof.eval.metrics.truth_ratio import equally_likely, paper_truth_ratio, truth_preferred, truth_ratio
from edgeproof.eval.metrics.zlib_ratio import zlib_ratio

RECORDS = Path(__file__).resolve().parents[2] / "data" / "metrics"


def record(name: str) -> dict[str, Any]:
    found = json.loads((RECORDS / f"{name}.json").read_text())
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def theirs() -> dict[str, Any]:
    """OpenUnlearning's."""
    return record("open_unlearning")


def test_min_k_and_min_k_plus_plus(theirs: dict[str, Any]) -> None:
    assert len(theirs["texts"]) == 12
    for text in theirs["texts"]:
        logprobs, share = text["logprobs"], text["share"]
        assert min_k(logprobs, share) == pytest.approx(text["min_k"], rel=1e-6)
        found = min_k_plus_plus(logprobs, text["means"], text["stds"], share)
        assert found == pytest.approx(text["min_k_plus_plus"], rel=1e-5)


def test_min_k_plus_plus_where_the_model_is_certain() -> None:
    # OpenUnlearning clamps the variance at 1e-6: below a deviation of 1e-3 it divides by that.
    assert min_k_plus_plus([-0.25, -0.5], [-0.125, -0.25], [0.0, 1e-4], 0.5) == pytest.approx(250.0)


def test_zlib_divides_by_the_compressed_bytes_and_not_by_the_text() -> None:
    text = "Ünter dem Wale, " * 40
    packer = zlib.compressobj(6)
    size = len(packer.compress(text.encode("utf-8")) + packer.flush())
    assert size < len(text) / 10
    assert zlib_ratio(3.0, text) == 3.0 / size


def test_truth_ratios_and_what_becomes_of_them(theirs: dict[str, Any]) -> None:
    case = theirs["truth_ratio"]
    for aggregator, value in (("closer_to_1_better", equally_likely), ("true_better", truth_preferred)):
        ratios = [truth_ratio(right, wrong) for right, wrong in zip(case["right"], case["wrong"], strict=True)]
        expected = [one["score"] for one in case[aggregator]["value_by_index"].values()]
        assert ratios == pytest.approx(expected, rel=1e-12)
        assert mean_of(list(map(value, ratios))) == pytest.approx(case[aggregator]["agg_value"], rel=1e-12)


def test_probability_among_the_options(theirs: dict[str, Any]) -> None:
    case = theirs["truth_ratio"]
    found = [
        probability_among(normalized_probability(right), list(map(normalized_probability, wrong)))
        for right, wrong in zip(case["right"], case["wrong"], strict=True)
    ]
    assert found == pytest.approx([one["prob"] for one in case["options"]["value_by_index"].values()], rel=1e-12)


def test_forget_quality(theirs: dict[str, Any]) -> None:
    for case in theirs["ks_test"]:
        assert forget_quality(case["own"], case["reference"]) == pytest.approx(case["pvalue"], rel=1e-12)
        turned = forget_quality([1 / value for value in case["own"]], [1 / value for value in case["reference"]])
        assert turned == pytest.approx(case["pvalue"], rel=1e-9)


def test_privleak_of_open_unlearning(theirs: dict[str, Any]) -> None:
    for case in theirs["privleak"]:
        assert open_unlearning_privleak(case["auc"], case["retrained"]) == pytest.approx(case["privleak"], rel=1e-12)


def test_harmonic_mean(theirs: dict[str, Any]) -> None:
    for case in theirs["harmonic_mean"]:
        assert harmonic_mean(case["values"]) == pytest.approx(case["mean"], rel=1e-12)


# --- TOFU's own code, whose two files differ


@pytest.mark.parametrize(
    ("file", "ratio", "names"),
    [
        ("aggregate_eval_stat", truth_ratio, ("Prob. {}", "ROUGE {}", "Truth Ratio {}")),
        ("utils", paper_truth_ratio, ("{} Probability", "{} ROUGE", "{} Truth Ratio")),
    ],
)
def test_model_utility_of_both_files_of_tofu(file: str, ratio: Any, names: tuple[str, str, str]) -> None:
    case = record("tofu")
    expected = case[file]
    nine = []
    for log, name in (
        ("eval_log.json", "Retain"),
        ("eval_real_world_wo_options.json", "Real World"),
        ("eval_real_author_wo_options.json", "Real Authors"),
        ("eval_log_forget.json", "Forget"),
    ):
        losses = case["unlearned"][log]
        right, wrong = losses["avg_gt_loss"].values(), losses["average_perturb_loss"].values()
        probabilities = [normalized_probability(loss) for loss in right]
        if "real" in log:
            probabilities = [
                probability_among(probability, list(map(normalized_probability, others)))
                for probability, others in zip(probabilities, wrong, strict=True)
            ]
        ratios = [
            ratio(loss, others) for loss, others in zip(losses["avg_paraphrased_loss"].values(), wrong, strict=True)
        ]
        value = equally_likely if name == "Forget" else truth_preferred
        found = (
            mean_of(probabilities),
            mean_of(list(losses["rougeL_recall"].values())),
            mean_of(list(map(value, ratios))),
        )
        # TOFU's code has no 1e-10 in its denominators.
        assert found == pytest.approx(tuple(expected[one.format(name)] for one in names), rel=1e-8)
        if name != "Forget":
            nine += found
    assert harmonic_mean(nine) == pytest.approx(expected["Model Utility"], rel=1e-8)


def test_forget_quality_of_tofu() -> None:
    case = record("tofu")
    samples = []
    for model in ("unlearned", "retrained"):
        losses = case[model]["eval_log_forget.json"]
        samples.append([
            truth_ratio(right, wrong)
            for right, wrong in zip(
                losses["avg_paraphrased_loss"].values(), losses["average_perturb_loss"].values(), strict=True
            )
        ])  # fmt: skip
    for file in ("aggregate_eval_stat", "utils"):
        assert forget_quality(*samples) == pytest.approx(case[file]["Forget Quality"], rel=1e-9)


# --- muse_bench


def test_rouge_of_muse_bench() -> None:
    for case in record("muse_bench")["rouge"]:
        found = published_rouge(case["gt"], case["response"], stem=False)
        expected = (case["rouge1_recall"], case["rougeL"], case["rougeL_recall"])
        assert found == pytest.approx(expected)


def test_where_an_answer_ends_in_muse_bench() -> None:
    for case in record("muse_bench")["cut"]:
        assert cut_answer(case["text"]) == case["cut"]


def test_auc_of_muse_bench_is_one_minus_ours() -> None:
    case = record("muse_bench")["sweep"]
    # With ties between and within the sets. Its scores are negated before they are ranked.
    assert 1 - auc(case["forget"], case["holdout"]) == pytest.approx(case["auc"], abs=1e-12)


def test_the_constants_are_those_of_muse_bench() -> None:
    assert record("muse_bench")["AUC_RETRAIN"] == dict(RETRAINED_AUC)
    assert muse_privleak(0.0, RETRAINED_AUC["news"]) == -100
    assert muse_privleak(RETRAINED_AUC["books"], RETRAINED_AUC["books"]) == 0


def test_min_k_of_muse_bench_has_no_value_for_a_text_of_two_tokens() -> None:
    assert muse_min_k([-1.0, -2.0, -3.0], 0.4) == 3.0
    with pytest.raises(InputError, match="a mean of none"):
        muse_min_k([-1.0, -2.0], 0.4)


def test_leak_at_k() -> None:
    for case in record("leak_at_k")["cases"]:
        scores = [1.0] * case["c"] + [0.0] * (case["n"] - case["c"])
        assert expected_worst(scores, case["k"]) == pytest.approx(case["leak"], abs=1e-12)


def test_the_papers_truth_ratio_survives_probabilities_that_underflow() -> None:
    assert paper_truth_ratio(2000.0, [2000.0, 2001.0]) == pytest.approx((1 + np.exp(-1)) / 2)
