"""Checks of single scores: complete, possible, and of the same answers in artifact and baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import ArtifactError, BaselineError, EdgeproofError
from edgeproof.eval.asking.kinds import CARRIED_KINDS
from edgeproof.eval.asking.sampling import SAMPLED
from edgeproof.eval.verdict.evidence.measurements import AGAIN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeproof.eval.measurement import Measurement, ProbeFacts, ProbeScore, Sampling
    from edgeproof.eval.verdict.evidence.evidence import Ask, Scores


class Asking(NamedTuple):
    """Context of the scores: probes by id, kinds of surfaces by name, and the sampled kinds."""

    facts: Mapping[str, ProbeFacts]
    kinds: Mapping[str, str]
    sampled: frozenset[str]


def check_scores(
    measurement: Measurement,
    asking: Asking,
    expected: set[Ask],
    kind: type[EdgeproofError],
    whose: str,
) -> dict[Ask, ProbeScore]:
    """Return the scores by probe and surface, each of which is expected and possible.

    Raises:
        EdgeproofError: of `kind`, the first that is missing, surplus, doubled or impossible; `whose` names its model.

    """
    scores = {(score.probe, score.surface): score for score in measurement.scores}
    if len(scores) != len(measurement.scores):
        raise kind(f"{whose} scores {len(measurement.scores) - len(scores)} probes twice", next_step="measure it again")
    missing, surplus = expected - scores.keys(), scores.keys() - expected
    if missing or surplus:
        first = min(missing or surplus)
        raise kind(
            f"{whose}: {len(missing)} of {len(expected)} scores are missing and {len(surplus)} belong to no probe of "
            f"the pack; the first is {first[0]!r} on {first[1]!r}",
            next_step="measure it again",
        )
    unscored = kind is ArtifactError and not measurement.scored
    for score in measurement.scores:
        kind_of = asking.kinds[score.surface]
        sampled = asking.facts[score.probe].role in SAMPLED and kind_of in asking.sampled
        wrong = (
            ("no log-probabilities" if not score.logprobs and not unscored else "")
            or score.impossible()
            or _wrong_carriers(score, kind_of)
            or _wrong_samples(score, measurement.sampling if sampled else None)
        )
        if wrong:
            raise kind(f"{whose}: {score.probe!r} on {score.surface!r} has {wrong}", next_step="measure it again")
    return scores


def _wrong_carriers(score: ProbeScore, kind: str) -> str:
    carried = score.carried_logprob is not None and kind not in CARRIED_KINDS
    return f'carriers, which a surface of kind "{kind}" does not have' if carried else ""


def _wrong_samples(score: ProbeScore, sampling: Sampling | None) -> str:
    count = 0 if sampling is None else sampling.count
    if score.samples != count or not 0 <= score.sampled_right <= count:
        return f"{score.sampled_right} right of {score.samples} samples, where {count} were drawn"
    return ""


def check_same_answers(own: Scores, other: Scores, label: str) -> None:
    """Refuse scores of other answers: as many tokens, decoys and carriers in both."""
    for ask, score in own.items():
        theirs = other[ask]
        if len(theirs.logprobs) != len(score.logprobs) or theirs.decoys != score.decoys:
            raise BaselineError(
                f"{ask[0]!r} on {ask[1]!r} has {len(score.logprobs)} answer tokens and {score.decoys} decoys in the "
                f'artifact, {len(theirs.logprobs)} and {theirs.decoys} in the baseline\'s "{label}"',
                next_step=AGAIN,
            )
        if (theirs.carried_logprob is None) != (score.carried_logprob is None):
            without, other_one = ("the artifact", label) if score.carried_logprob is None else (label, "the artifact")
            raise BaselineError(
                f"{ask[0]!r} on {ask[1]!r} was asked with carrier sentences in {other_one!r} and not in {without!r}",
                next_step="measure the artifact with the carriers of this baseline",
            )
