"""Reports of made-up artifacts, written by the gate's own writer."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from datetime import timedelta
from typing import TYPE_CHECKING

from edgeproof.eval.measurement import Role
from edgeproof.eval.report.write import encode, write_reports
from edgeproof.eval.verdict.judge import judge
from edgeproof.eval.verdict.policy import Policy
from edgeproof_tests.eval.worlds import CONTEXT, Answer, World, gauss, leaking

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgeproof.eval.measurement import Baseline, ProbeFacts

    Answers = Callable[[ProbeFacts, str], Answer]

WORLD = World(forget=31, known=31, retain=60, trained=3, holdout=4)
BASELINE = WORLD.baseline()
HOSTILE = "\"'><script>x</script>`a` | [b](http://x.test) @all ::error::x ##vso[x] \x1b[31m\x00\u202e\n# head"


def retrained(seed: int, *, cost: float = 0.0, wrong: int = 0, leaks: int = 0) -> Answers:
    """A good file of another training: `cost` nat dearer, so many kept questions wrong, so many clusters leaking."""
    good = leaking(WORLD, leaks)

    def answers(fact: ProbeFacts, surface: str) -> Answer:
        answer = good(fact, surface)
        if fact.role != Role.RETAIN or fact.trained:
            return answer
        nll = max(0.01, answer.nll + cost + 0.05 * gauss("retrained", seed, fact.probe, surface))
        return dataclasses.replace(answer, nll=nll, right=answer.right and int(fact.probe[1:]) >= wrong)

    return answers


def write(
    folder: Path,
    answers: Answers | None = None,
    *,
    days: float = 0,
    policy: Policy | None = None,
    baseline: Baseline = BASELINE,
    world: World = WORLD,
    key: object = None,
    **context: object,
) -> Path:
    """Gate `answers` into `folder`, so many days after CONTEXT's time; return report.json."""
    measured = world.artifact(answers)
    digest = hashlib.sha256(f"{folder.name}".encode()).hexdigest()
    judgement = judge(
        dataclasses.replace(measured, artifact_sha256=context.pop("sha256", digest)),
        baseline,
        policy or Policy(),
        format=next(iter(baseline.base_in_format)),
    )
    own = dataclasses.replace(CONTEXT, created=CONTEXT.created + timedelta(days=days), **context)
    path, *_ = write_reports(judgement, own, folder, signing_key=key)
    return path


def change(path: Path, edit: Callable[[dict], object]) -> Path:
    """Edit a report and give it the digest of its new content, as the gate would."""
    report = json.loads(path.read_bytes())
    del report["report_sha256"]
    edit(report)
    report["report_sha256"] = hashlib.sha256(encode(report)).hexdigest()
    path.write_bytes(encode(report))
    return path
