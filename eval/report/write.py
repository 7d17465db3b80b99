"""Writer of all report files: report.json (docs/report.schema.json), junit.xml, report.html, summary.md.

They hold no texts of probes, except the answers that the caller passes (`--show-answers`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING

from edgeproof.contracts.atomic import refuse_existing
from edgeproof.contracts.errors import OutputError
from edgeproof.contracts.file_sets import settle, write_all
from edgeproof.eval.attestation import ATTESTATION, sign, statement
from edgeproof.eval.measurement import Verdict
from edgeproof.eval.report.html import html_report
from edgeproof.eval.report.junit import junit_xml
from edgeproof.eval.report.markdown import markdown_summary
from edgeproof.eval.stats.mean_bounds import CAUTION, MINIMUM_CLUSTERS, RESAMPLES, SEED

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from edgeproof.eval.report.context import ReportContext
    from edgeproof.eval.verdict.judgement import Judgement

    Answers = Mapping[tuple[str, str], str]
    """Greedy answers by probe and surface."""

SCHEMA = "edgeproof/report"
SCHEMA_VERSION = 5
REPORT = "report.json"
JUNIT = "junit.xml"
HTML = "report.html"
SUMMARY = "summary.md"
REPORTS = (REPORT, JUNIT, HTML, SUMMARY)
EXIT_CODES = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.INCONCLUSIVE: 4}


def report_json(judgement: Judgement, context: ReportContext, *, answers: Answers | None = None) -> dict[str, object]:
    """Return the report as JSON data, according to docs/report.schema.json."""
    policy = judgement.policy
    report: dict[str, object] = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "verdict": str(judgement.verdict),
        "exit_code": EXIT_CODES[judgement.verdict],
        "reason": str(judgement.reason),
        "also": [str(reason) for reason in judgement.also],
        "summary": judgement.summary,
        "next_steps": list(judgement.next_steps),
        "notes": list(judgement.notes),
        "artifact": {
            "name": context.artifact,
            "format": judgement.format_name,
            "sha256": judgement.artifact_sha256,
            "bytes": context.artifact_bytes,
            "files": [{"name": name, "sha256": sha256} for name, sha256 in context.artifact_files],
            "manifest_sha256": context.manifest_sha256,
            "provenance": "unknown" if context.manifest_sha256 is None else "manifest",
        },
        "pack": {
            "name": judgement.pack_name,
            "sha256": judgement.pack_digest,
            "files_sha256": context.pack_files_sha256,
        },
        "baseline": {
            "sha256": context.baseline_sha256,
            "tokenizer_sha256": judgement.tokenizer_digest,
            "base": None if context.base is None else _plain(context.base),
        },
        "policy": {
            "sha256": policy.digest,
            "file_sha256": context.policy_file_sha256,
            "values": _plain(policy),
            "deviations": list(policy.deviations()),
        },
        "backend": dict(judgement.backend),
        "seconds": round(context.seconds, 3),
        **({} if judgement.resources is None else {"resources": _plain(judgement.resources)}),
        "precise": None if judgement.precise is None else _plain(judgement.precise),
        "survival": None if context.survival is None else context.survival.to_json(),
        **({} if not context.training else {"training": [one.to_json() for one in context.training]}),
        "sampling": None if policy.sampling is None else _plain(policy.sampling),
        "probe_digests": None if context.probe_digests is None else dict(context.probe_digests),
        "asking": _plain(judgement.asking),
        "judged_surfaces": {"forget": list(judgement.surfaces), "retain": list(judgement.retain_surfaces)},
        "statistics": {
            "confidence": policy.confidence,
            "one_sided": True,
            "bootstrap_resamples": RESAMPLES,
            "bootstrap_seed": SEED,
            "bootstrap_caution": CAUTION,
            "bootstrap_minimum_clusters": MINIMUM_CLUSTERS,
        },
        "criteria": [_plain(criterion) for criterion in judgement.criteria],
        "controls": [_plain(control) for control in judgement.controls],
        "subjects": [_plain(subject) for subject in judgement.subjects],
        "probes": [_plain(row) for row in judgement.probes],
        **({} if context.waived is None else {"waived": _plain(context.waived)}),
        "answers": None
        if answers is None
        else [{"probe": probe, "surface": surface, "text": text} for (probe, surface), text in answers.items()],
        "created": context.created.isoformat(timespec="seconds"),
        "command": list(context.command),
        "versions": dict(context.versions),
    }
    return report | {"report_sha256": hashlib.sha256(encode(report)).hexdigest()}


def encode(report: Mapping[str, object]) -> bytes:
    """Return the canonical encoding of a report."""
    return json.dumps(report, indent=1, allow_nan=False).encode("ascii") + b"\n"


def refuse_existing_reports(folder: Path, *, force: bool) -> None:
    """Raise `OutputError` if `folder` holds files of `write_reports` and `force` is not given.

    What a killed gate left there is undone first.
    """
    settle(folder)
    for name in (*REPORTS, ATTESTATION):
        refuse_existing(folder / name, force=force)


def write_reports(
    judgement: Judgement,
    context: ReportContext,
    folder: Path,
    *,
    answers: Answers | None = None,
    signing_key: Ed25519PrivateKey | None = None,
    force: bool = False,
) -> tuple[Path, ...]:
    """Write report.json, junit.xml, report.html and summary.md into `folder`, created if missing; return their paths.

    With `signing_key` also write attestation.dsse.json; without, remove an existing one.

    Raises:
        OutputError: a file exists and `force` is not given, or cannot be written; none of them is then left.

    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the folder {folder}: {error.strerror}", next_step="give another --report folder"
        ) from error
    refuse_existing_reports(folder, force=force)
    contents = {
        REPORT: encode(report_json(judgement, context, answers=answers)),
        JUNIT: junit_xml(judgement, context.artifact, context.created, answers=answers),
        HTML: html_report(judgement, context, answers=answers),
        SUMMARY: markdown_summary(judgement, context),
    }
    if signing_key is not None:
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        contents[ATTESTATION] = sign(statement(judgement, context, digests), signing_key)
    write_all(folder, contents, force=force, without=() if signing_key is not None else (ATTESTATION,))
    return tuple(folder / name for name in contents)


def _plain(record: object) -> dict[str, object]:
    """Return a dataclass as JSON-compatible types; enums are strings already."""
    assert dataclasses.is_dataclass(record)
    return {field.name: _plain_value(getattr(record, field.name)) for field in dataclasses.fields(record)}


def _plain_value(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain_value(item) for item in value]
    if dataclasses.is_dataclass(value):
        return _plain(value)
    return str(value) if isinstance(value, str) else value
