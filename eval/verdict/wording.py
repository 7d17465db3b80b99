"""Text of a judgement: summary, next steps, and wording of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.advice import command
from edgeproof.eval.measurement import Verdict
from edgeproof.eval.verdict.judgement import Reason, Status
from edgeproof.eval.verdict.steps import COSTS, came_back_steps, longer_step, utility_steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.eval.verdict.judgement import Control, Criterion


def amount(value: float, unit: str) -> str:
    """Format a number with its unit: "6.2%", "+0.125 nat", "3"."""
    if unit == "share":
        return f"{100 * value:.1f}%"
    if unit == "nat":
        return f"{value:+.3f} nat"
    return f"{number(value)} {unit}" if unit in {"MB", "ms", "s"} else f"{value:g}"


def number(value: float) -> str:
    """Format a measured number with four digits, a large one with all of its whole part: "0.05", "59.9", "12,000"."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def stated_upper(upper: float | None, lower: float | None, limit: float | None, unit: str) -> float | None:
    """Return an upper bound as it is told.

    None for a share above 1, all that there is, which rules nothing out; where the lower bound is above the limit, the
    number is known well and told.
    """
    vain = upper is not None and unit == "share" and upper > 1
    above = lower is not None and limit is not None and lower > limit
    return None if vain and not above else upper


def upper_of(criterion: Criterion) -> float | None:
    """Return a criterion's upper bound as it is told."""
    return stated_upper(criterion.upper, criterion.lower, criterion.limit, criterion.unit)


def stated_bound(criterion: Criterion) -> float | None:
    """Return the bound that is told: the lower one of a missed criterion, else the upper one."""
    missed = criterion.status == Status.MISSED
    return criterion.lower if missed else upper_of(criterion)


def bound_words(criterion: Criterion) -> str:
    """Format the bound that is told, with a leading comma."""
    bound = stated_bound(criterion)
    if bound is None:
        return ""
    side = "at least" if criterion.status == Status.MISSED else "at most"
    return f", {side} {amount(bound, criterion.unit)} at {100 * criterion.level:g}%"


def limit_words(criterion: Criterion) -> str:
    """Format the limit as " (limit 10.0%)"; empty if there is none."""
    return "" if criterion.limit is None else f" (limit {amount(criterion.limit, criterion.unit)})"


def summary(verdict: Verdict, reason: Reason, found: Sequence[Criterion], controls: Sequence[Control]) -> str:
    """Return the findings in one or two sentences."""
    by_name = {criterion.name: criterion for criterion in found}
    leak, merged, critical = by_name["leak"], by_name["unlearned"], by_name["critical"]
    missed = [criterion for criterion in found if criterion.status == Status.MISSED]
    if verdict == Verdict.PASS:
        return f"{leak.found} leak{bound_words(leak)}{limit_words(leak)}, and what had to be kept is kept."
    if reason == Reason.NEVER_UNLEARNED and merged in missed:
        return f"Unlearning had not worked before the model was quantized: {merged.found} leak at float precision."
    if reason == Reason.NEVER_UNLEARNED:
        return f"{critical.found} marked critical leak, and did before the model was quantized."
    if reason == Reason.CAME_BACK:
        recovery = by_name["recovery"].estimate
        back = f", and {recovery:.0%} of what unlearning took away is back" if recovery is not None else ""
        marked = f" {critical.found} marked critical leak." if critical in missed else ""
        return f"Before quantizing {merged.found} leaked, in this file {leak.found} do{back}.{marked}"
    if reason == Reason.UTILITY_LOST:
        return f"What had to be kept is damaged: {'; '.join(f'{c.title}, {c.found}' for c in missed)}."
    if reason == Reason.ORIGINAL:
        return "This file is the base itself, byte for byte: nothing was unlearned in it, whatever its numbers say."
    if reason == Reason.OVER_BUDGET:
        over = [f"{c.title} {c.found}{limit_words(c)}" for c in missed]
        return f"The file takes more than the policy allows: {'; '.join(over)}."
    if reason == Reason.DOUBTED:
        return "The server's numbers are not those of this file: what is measured may be another one."
    if reason == Reason.ELSEWHERE:
        return "The device computed on something else than was asked for: nothing is known of what was meant."
    if reason == Reason.UNSCORED:
        return (
            f"By its replies alone, {leak.found.partition(',')[0]} leak; without log-probabilities nothing shows more."
        )
    if reason == Reason.UNDECIDED:
        undecided = [c.title for c in found if c.needed and c.status == Status.UNDECIDED]
        return f"Neither PASS nor FAIL is shown yet. Undecided: {', '.join(undecided)}."
    control = next(c for c in controls if c.unmet)
    anyway = f" Missed all the same: {', '.join(c.title for c in missed)}." if missed else ""
    return f"No verdict can rest on this. Control “{control.title}”: {control.status}, {control.found}.{anyway}"


def next_steps(
    verdict: Verdict,
    reasons: Sequence[Reason],
    found: Sequence[Criterion],
    controls: Sequence[Control],
    *,
    format_name: str,
) -> tuple[str, ...]:
    """Return the next steps for a file of this format, most useful first."""
    missed = {criterion.name for criterion in found if criterion.status == Status.MISSED}
    steps = ["Do not ship this file."] if verdict == Verdict.FAIL else []
    keeping = Reason.NEVER_UNLEARNED in reasons and bool(missed & COSTS)
    for reason in reasons:
        if reason == Reason.CAME_BACK:
            steps += came_back_steps(format_name)
        elif reason == Reason.NEVER_UNLEARNED:
            steps += [
                longer_step(keeping=keeping),
                f"Then record a new baseline: {command('baseline', format=format_name)}",
            ]
        elif reason == Reason.UTILITY_LOST:
            steps += utility_steps(format_name, missed - COSTS if keeping else missed)
        elif reason == Reason.OVER_BUDGET:
            steps.append(
                "Export to a format with fewer bits or take a smaller base; raise [budget] in the policy only if the "
                "device has the room."
            )
        elif reason == Reason.STAYED:
            steps.append("Ship this very file: the report names its sha256.")
        elif reason == Reason.ORIGINAL:
            steps.append("Gate the export of the unlearned model; a server whose answers are others has another file.")
        elif reason == Reason.DOUBTED:
            steps.append(
                "Restart the server with the very file that is judged, or gate without a server: docs/phone.md."
            )
        elif reason == Reason.ELSEWHERE:
            steps.append("Find out why the engine did not use it, or write the job for what computes: --compute.")
        elif reason == Reason.UNSCORED:
            steps.append("Gate through an engine that gives log-probabilities, llama-server for one: docs/phone.md.")
        elif reason == Reason.UNDECIDED:
            steps += [
                f"{c.title}: {c.to_decide}." for c in found if c.needed and c.status == Status.UNDECIDED and c.to_decide
            ]
    steps += [f"{c.title}: {c.mend}." for c in controls if c.unmet]
    return tuple(dict.fromkeys(steps))
