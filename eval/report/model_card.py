"""Evidence for a model card: Hugging Face's `model-index` metadata, and a section in Markdown.

Format: https://github.com/huggingface/hub-docs/blob/main/modelcard.md. The metadata are JSON, which is YAML as well.
Ids of clusters stay in the reports; nothing here holds a text of a probe.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edgeproof.contracts.advice import command
from edgeproof.contracts.training import parse_training
from edgeproof.eval.report.markdown import code, prose
from edgeproof.eval.report.sanitize import inert
from edgeproof.eval.verdict.wording import amount, stated_upper
from edgeproof.eval.waiver import waived_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Report = Mapping[str, Any]

TASK = "text-generation"
DATASET = "edgeproof-pack"
"""Type of the dataset: a pack stays with whoever asks, and is named by its digest."""


def model_card(reports: Sequence[Report], name: str) -> str:
    """Return metadata between `---` lines, then the section, for the reports of one model's files."""
    index = [{"name": inert(name), "results": [result for report in reports for result in _results(report)]}]
    metadata = json.dumps({"model-index": index}, indent=1, ensure_ascii=False, allow_nan=False)
    return f"---\n{metadata}\n---\n\n{_section(reports)}"


def _results(report: Report) -> list[dict[str, object]]:
    """Give one result for a report: the verdict, then each judged criterion's estimate and upper bound."""
    artifact, pack = report["artifact"], report["pack"]
    metrics: list[dict[str, object]] = [_metric("verdict", "edgeproof verdict", report["verdict"])]
    for criterion in report["criteria"]:
        values = {"estimate": criterion["estimate"], "upper": _stated(criterion)}
        for bound, value in values.items():
            if value is not None:
                title = criterion["title"] if bound == "estimate" else f"{criterion['title']}, upper bound"
                kind = criterion["name"] if bound == "estimate" else f"{criterion['name']}-upper"
                metric = _metric(kind, f"{title} ({criterion['unit']})", value)
                if bound == "upper":
                    metric["args"] = {"level": criterion["level"], "limit": criterion["limit"]}
                metrics.append(metric)
    dataset = {
        "type": DATASET,
        "name": inert(pack["name"]),
        "config": inert(artifact["format"]),
        "revision": pack["files_sha256"],
        "args": {"file": inert(artifact["name"]), "sha256": artifact["sha256"]},
    }
    return [
        {"task": {"type": TASK, "name": "Unlearning, on the file that ships"}, "dataset": dataset, "metrics": metrics}
    ]


def _metric(kind: str, name: str, value: object) -> dict[str, object]:
    return {"type": kind, "name": name, "value": value}


def _section(reports: Sequence[Report]) -> str:
    lines = [
        "## Evidence of unlearning",
        "",
        "Each file was probed as it ships, by edgeproof; bounds are one-sided.",
        "",
        "| file | format | verdict | leaking | at most | recovered, at most | pack |",
        "|---|---|---|---|---|---|---|",
    ]
    for report in reports:
        criteria = {item["name"]: item for item in report["criteria"]}
        leak, recovery = criteria["leak"], criteria["recovery"]
        waived = ", waived" if report.get("waived") else ""
        cells = (
            code(report["artifact"]["name"]),
            prose(report["artifact"]["format"]),
            f"**{report['verdict']}{waived}**: {prose(report['reason'])}",
            prose(leak["found"]),
            _upper(leak),
            _upper(recovery),
            code(report["pack"]["name"]),
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "| file | sha256 | report | baseline | pack, its files | policy, its limits |",
        "|---|---|---|---|---|---|",
    ]
    for report in reports:
        digests = (
            report["artifact"]["sha256"],
            report["report_sha256"],
            report["baseline"]["sha256"],
            report["pack"]["files_sha256"],
            report["policy"]["sha256"],
        )
        lines.append(f"| {code(report['artifact']['name'])} | {' | '.join(code(one[:16]) for one in digests)} |")
    lines += [""]
    runs = dict.fromkeys(run for report in reports for run in parse_training(report.get("training")))
    lines += [f"Unlearned with {prose(run.words)}.\n" for run in runs]
    for report in reports:
        told = waived_of(report)
        if told is not None:
            lines += [f"{code(report['artifact']['name'])}: {prose(told.words)}", ""]
    policy = any(report["policy"]["file_sha256"] for report in reports)
    lines.append(
        f"Whoever has the pack checks a report against the file: `{command('verify')}`"
        f"{', with `--policy FILE` where the gate had one' if policy else ''}. "
        "A verdict holds for what was asked, in this file, and for nothing else."
    )
    return "\n".join(lines) + "\n"


def _stated(criterion: Mapping[str, Any]) -> float | None:
    return stated_upper(criterion["upper"], criterion["lower"], criterion["limit"], criterion["unit"])


def _upper(criterion: Mapping[str, Any]) -> str:
    if criterion["upper"] is None:
        return "not measured"
    upper = _stated(criterion)
    return "not bounded" if upper is None else prose(amount(upper, criterion["unit"]))
