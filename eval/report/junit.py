"""Writer for JUnit XML: one case for the verdict, and one per criterion and control.

A missed criterion is a failure, an undecided one an error: both fail the job, since only PASS releases. The format is
the de-facto schema of Jenkins, GitLab and GitHub actions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from edgeproof.eval.measurement import Verdict
from edgeproof.eval.report.sanitize import inert
from edgeproof.eval.verdict.judgement import ControlStatus, Status
from edgeproof.eval.verdict.wording import bound_words, limit_words

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from edgeproof.eval.verdict.judgement import Control, Criterion, Judgement

CLASS_NAME = "edgeproof.gate"
SUBJECTS_NAMED = 50
"""Maximum number of leaking clusters named in a failure; report.json lists all."""


def junit_xml(
    judgement: Judgement,
    artifact: str,
    created: datetime,
    *,
    answers: Mapping[tuple[str, str], str] | None = None,
) -> bytes:
    """Return the XML document, UTF-8."""
    cases = [
        _verdict_case(judgement, answers),
        *(_criterion_case(criterion, judgement) for criterion in judgement.criteria),
        *(_control_case(control) for control in judgement.controls),
    ]
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "errors": str(sum(case.find("error") is not None for case in cases)),
        "skipped": str(sum(case.find("skipped") is not None for case in cases)),
        "time": "0",
    }
    root = Element("testsuites", {"name": "edgeproof", **counts})
    suite = SubElement(
        root,
        "testsuite",
        {
            "name": f"edgeproof gate: {inert(artifact)}",
            **counts,
            "timestamp": created.strftime("%Y-%m-%dT%H:%M:%S"),
        },
    )
    properties = SubElement(suite, "properties")
    for name, value in (
        ("verdict", str(judgement.verdict)),
        ("artifact.sha256", judgement.artifact_sha256),
        ("pack.sha256", judgement.pack_digest),
        ("policy.sha256", judgement.policy.digest),
        *(("policy.deviation", deviation) for deviation in judgement.policy.deviations()),
        ("surfaces.judged", ", ".join(judgement.surfaces)),
        ("format", judgement.format_name),
        *((f"backend.{key}", value) for key, value in judgement.backend.items()),
    ):
        SubElement(properties, "property", {"name": inert(name), "value": inert(value)})
    suite.extend(cases)
    indent(root, space=" ")
    document: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _case(name: str) -> Element:
    return Element("testcase", {"classname": CLASS_NAME, "name": name, "time": "0"})


def _verdict_case(judgement: Judgement, answers: Mapping[tuple[str, str], str] | None) -> Element:
    case = _case("verdict")
    if judgement.verdict == Verdict.PASS:
        told = [judgement.summary, *(f"Note: {note}" for note in judgement.notes)]
        SubElement(case, "system-out").text = "\n".join(inert(line, 4000) for line in told)
        return case
    lines = [
        judgement.summary,
        *(f"- {step}" for step in judgement.next_steps),
        *(f"Note: {n}" for n in judgement.notes),
    ]
    leaking = [subject.cluster for subject in judgement.subjects if subject.leaks]
    if leaking:
        more = f" and {len(leaking) - SUBJECTS_NAMED} more" if len(leaking) > SUBJECTS_NAMED else ""
        names = ", ".join(inert(name, 60) for name in leaking[:SUBJECTS_NAMED])
        lines.append(f"Leaking ({len(leaking)} of {len(judgement.subjects)}): {names}{more}")
    if answers:
        lines += [f"{inert(probe)} on {inert(surface)}: {inert(text)}" for (probe, surface), text in answers.items()]
    kind = "failure" if judgement.verdict == Verdict.FAIL else "error"
    message = f"{judgement.verdict}: {judgement.reason}"
    problem = SubElement(case, kind, {"message": message, "type": str(judgement.verdict)})
    problem.text = "\n".join(inert(line, 4000) for line in lines)
    return case


def _criterion_case(criterion: Criterion, judgement: Judgement) -> Element:
    case = _case(criterion.name)
    text = (
        f"{criterion.title}: {criterion.found}{bound_words(criterion)}{limit_words(criterion)}; "
        f"{criterion.clusters} clusters, {criterion.method}. {criterion.meaning}"
    )
    if criterion.to_decide:
        text += f" To decide: {criterion.to_decide}."
    # An undecided criterion that a PASS does not need is not an error.
    if criterion.status == Status.MISSED:
        _problem(
            case, "failure", criterion.status, f"{criterion.title}: {criterion.found}{limit_words(criterion)}", text
        )
    elif criterion.status == Status.UNDECIDED and criterion.needed and judgement.verdict != Verdict.PASS:
        _problem(case, "error", criterion.status, f"{criterion.title}: {criterion.found}{limit_words(criterion)}", text)
    elif criterion.status == Status.MET:
        SubElement(case, "system-out").text = inert(text, 2000)
    else:
        SubElement(case, "skipped", {"message": inert(f"{criterion.status}: {criterion.found}", 500)})
    return case


def _control_case(control: Control) -> Element:
    case = _case(f"control-{control.name}")
    text = f"{control.title}: {control.found}. {control.meaning}"
    if control.status == ControlStatus.HOLDS:
        SubElement(case, "system-out").text = inert(text, 2000)
    elif control.needed:
        _problem(case, "error", control.status, f"{control.title}: {control.found}", f"{text} Mend: {control.mend}.")
    else:
        SubElement(case, "skipped", {"message": inert(f"{control.status}: {control.found}", 500)})
    return case


def _problem(case: Element, kind: str, status: str, message: str, text: str) -> None:
    SubElement(case, kind, {"message": inert(message, 500), "type": str(status)}).text = inert(text, 2000)
