"""Metric of a suite: its inputs and computation, and constructors of all kinds of metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from edgeproof.contracts.errors import InputError
from edgeproof.eval.metrics.auc import auc
from edgeproof.eval.metrics.forget_quality import LEAST_ITEMS, forget_quality
from edgeproof.eval.metrics.leak_at_k import leak_at_k
from edgeproof.eval.metrics.model_utility import harmonic_mean
from edgeproof.eval.metrics.privleak import muse_privleak, open_unlearning_privleak
from edgeproof.eval.metrics.probability import mean_loss, normalized_probability, probability_among
from edgeproof.eval.metrics.result import Attack, PerItem, Single, mean_of, per_item
from edgeproof.eval.metrics.rouge import PublishedRouge, published_rouge
from edgeproof.eval.metrics.zlib_ratio import zlib_ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgeproof.contracts.backend import Score
    from edgeproof.eval.metrics.result import Field, Result
    from edgeproof.eval.suites.measuring import Measured, Need, Saying, Scored, Scoring
    from edgeproof.eval.suites.reference import Reference

_T = TypeVar("_T")


class Inputs(NamedTuple):
    """Inputs of a metric: the backend's results, the results of its parts, and a reference if given."""

    measured: Measured
    parts: Mapping[str, Result]
    reference: Reference | None


class Metric(NamedTuple):
    """A metric.

    Attributes:
        compute: computes the result.
        needs: scores and answers required from the backend.
        parts: names of the metrics from which it is computed.
        compares: whether it needs a reference: the results of a model that never saw the forget set.
        least: minimum number of items of each of its files; with fewer its value is meaningless.

    """

    compute: Callable[[Inputs], Result]
    needs: tuple[Need, ...] = ()
    parts: tuple[str, ...] = ()
    compares: bool = False
    least: int = 1


def probability(need: Scoring) -> Metric:
    """P(a|q)^(1/|a|); the mean of several answers to a question."""

    def compute(inputs: Inputs) -> Result:
        items = inputs.measured.scored[need]
        losses = [tuple(mean_loss(score.logprobs.tolist()) for score in item.scores) for item in items]
        probabilities = [tuple(map(normalized_probability, row)) for row in losses]
        fields = {"prob": [_alone(row) for row in probabilities], "avg_loss": [_alone(row) for row in losses]}
        return per_item(_ids(items), [mean_of(row) for row in probabilities], fields)

    return Metric(compute, needs=(need,))


def probability_with_options(right: str, wrong: str) -> Metric:
    """The right answer's share of the probability; `right` and `wrong` are `probability` metrics."""

    def compute(inputs: Inputs) -> Result:
        one, other = _per_item(inputs, right), _per_item(inputs, wrong)
        values = [
            probability_among(_number(correct), _numbers(wrongs))
            for correct, wrongs in zip(one.fields["prob"], other.fields["prob"], strict=True)
        ]
        return per_item(one.ids, values, {"prob": values})

    return Metric(compute, parts=(right, wrong))


def rouge(need: Saying, *, stem: bool, measure: str) -> Metric:
    """ROUGE of the greedy answer; `measure` is "rougeL_f1" or "rougeL_recall"."""

    def compute(inputs: Inputs) -> Result:
        items = inputs.measured.said[need]
        scores = [published_rouge(item.reference, item.texts[0], stem=stem) for item in items]
        fields: dict[str, Sequence[Field]] = {
            "rouge1_recall": [score.rouge1_recall for score in scores],
            "rougeL_f1": [score.rouge_l_f1 for score in scores],
            "rougeL_recall": [score.rouge_l_recall for score in scores],
            "input": [item.prompt for item in items],
            "ground_truth": [item.reference for item in items],
            "generation": [item.texts[0] for item in items],
        }
        return per_item(_ids(items), [_number(value) for value in fields[measure]], fields)

    return Metric(compute, needs=(need,))


def leak(need: Saying, *, stem: bool, measure: str) -> Metric:
    """Leak@k of the sampled answers' ROUGE, for k = all samples; `fields` have it for k = 1, 2, 4, … too."""

    def compute(inputs: Inputs) -> Result:
        items = inputs.measured.said[need]
        place = PublishedRouge._fields.index({"rougeL_f1": "rouge_l_f1", "rougeL_recall": "rouge_l_recall"}[measure])
        scores = [[published_rouge(item.reference, text, stem=stem)[place] for text in item.texts] for item in items]
        most = len(scores[0])
        found = {k: leak_at_k(scores, k) for k in (*(2**power for power in range(most.bit_length() - 1)), most)}
        fields: dict[str, Sequence[Field]] = {f"leak@{k}": one.values for k, one in found.items()}
        return per_item(_ids(items), found[most].values, {**fields, "samples": list(map(tuple, scores))})

    return Metric(compute, needs=(need,))


def truth_ratio(
    right: str,
    wrong: str,
    ratio: Callable[[float, Sequence[float]], float],
    value: Callable[[float], float],
) -> Metric:
    """Truth ratio R per item, and the mean of `value(R)`; `right` and `wrong` are `probability` metrics."""

    def compute(inputs: Inputs) -> Result:
        one, other = _per_item(inputs, right), _per_item(inputs, wrong)
        ratios = [
            ratio(_number(correct), _numbers(wrongs))
            for correct, wrongs in zip(one.fields["avg_loss"], other.fields["avg_loss"], strict=True)
        ]
        return per_item(one.ids, list(map(value, ratios)), {"score": ratios})

    return Metric(compute, parts=(right, wrong))


def compared_truth_ratios(part: str) -> Metric:
    """Forget quality: the truth ratios of `part` against the reference's."""

    def compute(inputs: Inputs) -> Result:
        own = _per_item(inputs, part)
        assert inputs.reference is not None
        theirs = inputs.reference.scores(part, own.ids)
        return Single(forget_quality([_number(value) for value in own.fields["score"]], theirs))

    return Metric(compute, parts=(part,), compares=True, least=LEAST_ITEMS)


def harmonic(*parts: str) -> Metric:
    """Model utility: the harmonic mean of other metrics."""
    return Metric(lambda inputs: Single(harmonic_mean([inputs.parts[part].aggregate for part in parts])), parts=parts)


def memorization(need: Scoring, share: Callable[[Sequence[bool]], float]) -> Metric:
    """A function of which tokens are the argmax, without the last (`tokenwise_vocab_logprobs`)."""

    def compute(inputs: Inputs) -> Result:
        items = inputs.measured.scored[need]
        values = [share(_but_last(item, item.scores[0].greedy.tolist())) for item in items]
        return per_item(_ids(items), values, {"score": values})

    return Metric(compute, needs=(need,))


def attack(forget: Scoring, holdout: Scoring, score: Callable[[Scored], float]) -> Metric:
    """Membership-inference attack; a greater `score` means less likely a member."""

    def compute(inputs: Inputs) -> Result:
        found = [_attacked(inputs.measured.scored[need], score) for need in (forget, holdout)]
        return Attack(auc(found[0].values, found[1].values), *found)

    return Metric(compute, needs=(forget, holdout))


def turned(part: str) -> Metric:
    """1 − an attack's AUC: muse_bench's direction."""
    return Metric(lambda inputs: Single(1 - inputs.parts[part].aggregate), parts=(part,))


def muse_leak(attack: str, part: str) -> Metric:
    """PrivLeak from muse_bench's AUC `part` of `attack`, and the retrained model's."""

    def compute(inputs: Inputs) -> Result:
        assert inputs.reference is not None
        theirs = inputs.reference.muse_auc(part, _attack(inputs, attack))
        return Single(muse_privleak(inputs.parts[part].aggregate, theirs))

    return Metric(compute, parts=(attack, part), compares=True)


def open_unlearning_leak(part: str) -> Metric:
    """PrivLeak from an attack's AUC in OpenUnlearning's direction, and the retrained model's."""

    def compute(inputs: Inputs) -> Result:
        assert inputs.reference is not None
        own = _attack(inputs, part)
        return Single(open_unlearning_privleak(own.aggregate, inputs.reference.open_auc(part, own)))

    return Metric(compute, parts=(part,), compares=True)


# --- scores of an item for attacks


def loss_score(item: Scored) -> float:
    """Mean loss over all scored tokens."""
    return mean_loss(item.scores[0].logprobs.tolist())


def zlib_score(item: Scored) -> float:
    """Mean loss over all scored tokens, divided by the compressed size of the text."""
    return zlib_ratio(loss_score(item), item.text)


def over_all_tokens(measure: Callable[[Sequence[float]], float]) -> Callable[[Scored], float]:
    """`measure` of the log-probabilities of all scored tokens (muse_bench)."""
    return lambda item: measure(item.scores[0].logprobs.tolist())


def over_all_but_last(measure: Callable[[Sequence[float]], float]) -> Callable[[Scored], float]:
    """`measure` of the log-probabilities of all scored tokens except the last (OpenUnlearning)."""
    return lambda item: measure(_but_last(item, item.scores[0].logprobs.tolist()))


def standardized(
    measure: Callable[[Sequence[float], Sequence[float], Sequence[float]], float],
) -> Callable[[Scored], float]:
    """`measure` of log-probabilities, means and standard deviations of all scored tokens except the last."""

    def score(item: Scored) -> float:
        one: Score = item.scores[0]
        logprobs, means, stds = (_but_last(item, row.tolist()) for row in (one.logprobs, one.mean, one.std))
        return measure(logprobs, means, stds)

    return score


def _attacked(items: Sequence[Scored], score: Callable[[Scored], float]) -> PerItem:
    values = [score(item) for item in items]
    return per_item(_ids(items), values, {"score": values})


def _but_last(item: Scored, row: Sequence[_T]) -> Sequence[_T]:
    """Drop the last scored token: the end of text of an answer, the last token of a bare text."""
    if len(row) < 2:
        raise InputError(
            f"{item.where}: nothing is left of its {len(row)} scored tokens without the last",
            next_step="remove the item, or use another --prompt",
        )
    return row[:-1]


def _ids(items: Sequence[NamedTuple]) -> list[str]:
    return [str(item.id) for item in items]  # type: ignore[attr-defined]


def _per_item(inputs: Inputs, part: str) -> PerItem:
    found = inputs.parts[part]
    assert isinstance(found, PerItem)
    return found


def _attack(inputs: Inputs, part: str) -> Attack:
    found = inputs.parts[part]
    assert isinstance(found, Attack)
    return found


def _alone(row: tuple[float, ...]) -> Field:
    return row[0] if len(row) == 1 else row


def _number(value: Field) -> float:
    assert isinstance(value, float)
    return value


def _numbers(value: Field) -> tuple[float, ...]:
    assert not isinstance(value, str)
    return value if isinstance(value, tuple) else (value,)
