"""The verdict on one artifact or several: as a result, on the terminal and as an exit code."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeproof.eval.measurement import Verdict
    from edgeproof.eval.report.context import Waived
    from edgeproof.eval.verdict.judgement import Judgement, Reason

SEVERITY = ("PASS", "INCONCLUSIVE", "FAIL")
"""Verdicts from best to worst: the worst decides about a release of several files."""


@dataclass(frozen=True)
class GateResult:
    """The verdict on one artifact.

    Attributes:
        artifact: what was gated.
        lora: the LoRA that was gated with it; None where there was none.
        format: the format that it was judged by.
        verdict: PASS, FAIL or INCONCLUSIVE: compare it with "PASS". A result has no truth value of its own.
        reason: the main reason.
        summary: the finding in one or two sentences.
        reports: the files that were written.
        waived: who waives this verdict; None where nobody does, and for a PASS.
        accepted: whether the caller accepts that (`accept_waivers`).
        warnings: warnings of the gate.
        judgement: every number that the verdict rests on.
        answers: with `show_answers`, the greedy answers by probe and surface; else none.

    """

    artifact: Path
    lora: Path | None
    format: str
    verdict: Verdict
    reason: Reason
    summary: str
    reports: tuple[Path, ...]
    waived: Waived | None
    accepted: bool
    warnings: tuple[str, ...]
    judgement: Judgement = field(repr=False)
    answers: Mapping[tuple[str, str], str] = field(repr=False)

    @property
    def exit_code(self) -> int:
        """The code that `export-edge gate` ends with: 0 PASS, or waived and accepted; 1 FAIL, 4 INCONCLUSIVE."""
        from edgeproof.eval.report.write import EXIT_CODES

        return 0 if self.accepted else EXIT_CODES[self.verdict]

    def show(self, file: TextIO | None = None) -> None:
        """Print the verdict and its numbers to `file`, stderr by default."""
        from edgeproof.eval.report.terminal import render_terminal

        render_terminal(
            self.judgement, artifact=self.artifact.name, answers=self.answers or None, waived=self.waived, file=file
        )

    def __bool__(self) -> NoReturn:
        """Refuse `if gate(…):`, which would be true of every verdict."""
        raise TypeError('a verdict is no boolean: compare .verdict with "PASS"')


def worst(gated: Sequence[GateResult]) -> GateResult:
    """Return the result that decides about the release of them all."""
    return max(gated, key=lambda item: (not item.accepted, SEVERITY.index(item.verdict)))


def show(gated: Sequence[GateResult], file: TextIO | None = None) -> None:
    """Print each verdict to `file`, stderr by default, and several side by side as well."""
    from edgeproof.eval.report.terminal import render_comparison

    for item in gated:
        item.show(file)
    if len(gated) > 1:
        # The names of one export's artifacts differ at their ends only, where a narrow terminal cuts them.
        render_comparison([(item.format, item.judgement) for item in gated], file=file)
