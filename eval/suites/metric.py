"""What a metric of a suite is: what it needs, and how its result follows; and the kinds of metric that there are."""

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
    """What a metric is made of: the backend's answers, the results of its parts, and a reference if one is given."""

    measured: Measured
    parts: Mapping[str, Result]
    reference: Reference | None


class Metric(NamedTuple):
    """A metric.

    Attributes:
        compute: gives the result.
        needs: what the backend is asked.
        parts: names of the metrics that it is made of.
        compares: whether it needs a reference: the results of a model that never saw the forget set.
        least: how many items each of its files must have; with fewer its number cannot say anything.

    """

    compute: Callable[[Inputs], Result]
    needs: tuple[Need, ...] = ()
    parts: tuple[str, ...] = ()
    compares: bool = False
    least: int = 1


def probability(need: Scoring) -> Metric:
    """P(a|q)^(1/|a|); of several answers to a question the mean."""

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
    """Leak@k of the sampled answers' ROUGE, at k = all of them; `fields` hold it for k = 1, 2, 4, … too."""

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
    """A truth ratio R per item, and the mean of `value(R)`; `right` and `wrong` are `probability` metrics."""

    def compute(inputs: Inputs) -> Result:
        one, other = _per_item(inputs, right), _per_item(inputs, wrong)
        ratios = [
            ratio(_number(correct), _numbers(wrongs))
            for correct, wrongs in zip(one.fields["avg_loss"], other.fields["avg_loss"], strict=True)
        ]
        return per_item(one.ids, list(map(value, ratios)), {"score": ratios})

    return Metric(compute, parts=(right, wrong))


def compared_truth_ratios(part: str) -> Metric:
    """Forget quality: the truth ratios `part` against the reference's."""

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
    """A value from which tokens are the argmax; the last is left out (`tokenwise_vocab_logprobs`)."""

    def compute(inputs: Inputs) -> Result:
        items = inputs.measured.scored[need]
        values = [share(_but_last(item, item.scores[0].greedy.tolist())) for item in items]
        return per_item(_ids(items), values, {"score": values})

    return Metric(compute, needs=(need,))


def attack(forget: Scoring, holdout: Scoring, score: Callable[[Scored], float]) -> Metric:
    """A membership-inference attack; `score` is greater where a text looks less like a member."""

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


# --- what an attack scores an item by


def loss_score(item: Scored) -> float:
    """Mean loss over all scored tokens."""
    return mean_loss(item.scores[0].logprobs.tolist())


def zlib_score(item: Scored) -> float:
    """Mean loss over all scored tokens, by the compressed text."""
    return zlib_ratio(loss_score(item), item.text)


def over_all_tokens(measure: Callable[[Sequence[float]], float]) -> Callable[[Scored], float]:
    """`measure` of the log-probabilities of all scored tokens (muse_bench)."""
    return lambda item: measure(item.scores[0].logprobs.tolist())


def over_all_but_last(measure: Callable[[Sequence[float]], float]) -> Callable[[Scored], float]:
    """`measure` of the log-probabilities of all scored tokens but the last (OpenUnlearning)."""
    return lambda item: measure(_but_last(item, item.scores[0].logprobs.tolist()))


def standardized(
    measure: Callable[[Sequence[float], Sequence[float], Sequence[float]], float],
) -> Callable[[Scored], float]:
    """`measure` of log-probabilities, means and standard deviations of all scored tokens but the last."""

    def score(item: Scored) -> float:
        one: Score = item.scores[0]
        logprobs, means, stds = (_but_last(item, row.tolist()) for row in (one.logprobs, one.mean, one.std))
        return measure(logprobs, means, stds)

    return score


def _attacked(items: Sequence[Scored], score: Callable[[Scored], float]) -> PerItem:
    values = [score(item) for item in items]
    return per_item(_ids(items), values, {"score": values})


def _but_last(item: Scored, row: Sequence[_T]) -> Sequence[_T]:
    """Leave out the last scored token: of an answer the end of text, of a bare text its last."""
    if len(row) < 2:
        raise InputError(
            f"{item.where}: nothing is left of its {len(row)} scored tokens without the last",
            next_step="take the item out, or ask with another --prompt",
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
