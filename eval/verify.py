"""Verification of a report after the gate: all files are unchanged, and its scores give its verdict.

```
report.json ── encoding, digest, signature ──┐
artifact, pack, baseline, policy ── digests ─┼──▶ Verified, or one error that names all that differs
recorded scores + baseline ── judged again ──┘
```
The whole report is computed again from its recorded scores and compared. The recorded scores and times are taken from
the report; everything derived from them must match. Numbers may differ in their last digits, since other processors
round differently.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

from edgeproof.contracts.errors import EdgeproofError, EvidenceError, PackError
from edgeproof.contracts.survival import parse_survival
from edgeproof.eval import attestation
from edgeproof.eval.baselines.file import choose_baseline, load_baselines
from edgeproof.eval.baselines.fit import check_match, record_command
from edgeproof.eval.baselines.sources import check_sources
from edgeproof.eval.digests import digest_bytes
from edgeproof.eval.measurement import Measurement, ModelSource, ProbeScore, Sampling
from edgeproof.eval.packs.files import open_pack
from edgeproof.eval.packs.reader import load_pack
from edgeproof.eval.report.context import ReportContext
from edgeproof.eval.report.disclosure import probe_digests
from edgeproof.eval.report.read import AGAIN, read_report
from edgeproof.eval.report.write import REPORT, REPORTS, encode, report_json
from edgeproof.eval.verdict.float_activations import judge_both
from edgeproof.eval.verdict.judge import judge
from edgeproof.eval.verdict.policy import Policy, read_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from edgeproof.contracts.survival import AdapterSurvival
    from edgeproof.eval.measurement import Baseline, Sources
    from edgeproof.eval.verdict.judgement import Judgement

CLOSE = 1e-6
"""Relative tolerance between two computations of a number."""
UNROUNDED = ("none", "0")
"""Accuracy levels, in a backend's options, that do not round activations."""
NAMED = 5
"""Maximum number of differences named per item in an error."""


class ArtifactDigests(NamedTuple):
    """Current digests of the artifact: of the whole (as in the gate), its files, and its manifest (or None).

    `bytes` is the size of its files together.
    `survival` is the manifest's survival map. `format` is the format that the file declares, None if unknown; `rounds`
    is whether its products round activations, so that the report must also have a computation without rounding.
    `prompt_digest` covers its prompting, `sources` is its manifest's base and adapters; None if unknown. Both are
    compared with the baseline.
    """

    sha256: str
    files: tuple[tuple[str, str], ...]
    bytes: int
    manifest_sha256: str | None
    survival: AdapterSurvival | None = None
    format: str | None = None
    rounds: bool = False
    prompt_digest: str | None = None
    sources: Sources | None = None


class Inputs(NamedTuple):
    """Inputs of the gate; `policy` is None for the defaults, `identity` is for an encrypted pack."""

    pack: Path
    baseline: Path
    policy: Path | None = None
    identity: str | None = None


@dataclass(frozen=True)
class Verified:
    """A verified report.

    Attributes:
        verdict: the recorded verdict, confirmed by the recorded scores.
        reason: the main reason.
        summary: the findings.
        signed: whether its signature was checked with a key.
        judgement: what the recorded scores give, judged again.

    """

    verdict: str
    reason: str
    summary: str
    signed: bool
    judgement: Judgement


def verify(path: Path, artifact: ArtifactDigests, inputs: Inputs, *, public_key: Path | None = None) -> Verified:
    """Check the report at `path` (or report.json in that folder) against all its files.

    Raises:
        EvidenceError: something differs; one message lists all differences.
        InputError: the public key cannot be read.

    """
    path = path / REPORT if path.is_dir() else path
    content, report = read_report(path)
    try:
        wrong = [*_own(content, report), *_artifact(report, artifact), *_inputs(report, inputs)]
        again = None if wrong else _judge_again(report, artifact, inputs)
        judgement = None if again is None else again[0]
        if again is not None:
            wrong += [f"report: {difference}" for difference in _recomputed(report, *again)]
            if wrong and report["versions"].get("edgeproof") != (own := version("edgeproof")):
                wrong.append(f"report: edgeproof {report['versions'].get('edgeproof')} wrote it, this is {own}")
        if public_key is not None:
            wrong += _signature(path, public_key, report, judgement)
        told = report["verdict"], report["reason"], report["summary"]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise EvidenceError(f"{path.name} is damaged: {type(error).__name__} {error}", next_step=AGAIN) from error
    if wrong:
        raise EvidenceError(
            "this evidence does not hold:\n" + "\n".join(f"  {line}" for line in wrong), next_step=AGAIN
        )
    assert judgement is not None  # nothing is wrong, so that it was judged
    return Verified(*told, signed=public_key is not None, judgement=judgement)


def _own(content: bytes, report: Mapping[str, Any]) -> Iterator[str]:
    if encode(report) != content:
        yield "report: it is not encoded as the gate encodes it"
    rest = {key: value for key, value in report.items() if key != "report_sha256"}
    if hashlib.sha256(encode(rest)).hexdigest() != report["report_sha256"]:
        yield "report: it is not what its own digest says; something in it was changed"


def _artifact(report: Mapping[str, Any], found: ArtifactDigests) -> Iterator[str]:
    recorded = report["artifact"]
    then = {item["name"]: item["sha256"] for item in recorded["files"]}
    now = dict(found.files)
    if recorded["sha256"] != found.sha256:
        names = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
        named = f" ({', '.join(names[:NAMED])})" if len({*then, *now}) > 1 else ""
        yield _differs(f"artifact{named}", recorded["sha256"], found.sha256)
    elif sorted(then.values()) != sorted(now.values()):
        yield "artifact: the report lists other files than those that its digest is of"
    elif recorded["bytes"] != found.bytes:
        yield f"artifact: it has {found.bytes} bytes, the report says {recorded['bytes']}"
    if recorded["manifest_sha256"] != found.manifest_sha256:
        yield _differs("manifest beside the artifact", recorded["manifest_sha256"], found.manifest_sha256)
    elif _survival(report) != found.survival:
        yield "report: its survival map is not what the manifest says"
    if found.format is not None and recorded["format"] != found.format:
        yield f"artifact: it says that it is {found.format}, the report judges it as {recorded['format']}"
    levels = report["backend"].get("accuracy_level", "none")
    if report["precise"] is None and (found.rounds or levels not in UNROUNDED):
        yield "report: the artifact rounds activations, and what it gives without rounding is not in the report"


def _survival(report: Mapping[str, Any]) -> AdapterSurvival | None:
    table = report["survival"]
    return None if table is None else parse_survival(table)


def _inputs(report: Mapping[str, Any], inputs: Inputs) -> Iterator[str]:
    """Compare digests; unreadable files count as different."""
    checks: tuple[tuple[str, str | None, Callable[[], str | None]], ...] = (
        ("pack", report["pack"]["files_sha256"], lambda: open_pack(inputs.pack, inputs.identity).digest()),
        ("baseline", report["baseline"]["sha256"], lambda: digest_bytes(inputs.baseline)),
        (
            "policy",
            report["policy"]["file_sha256"],
            lambda: None if inputs.policy is None else digest_bytes(inputs.policy),
        ),
    )
    for what, recorded, digest in checks:
        try:
            found = digest()
        except OSError as error:
            yield f"{what}: cannot be read: {error.strerror}"
            continue
        except PackError as error:
            yield f"{what}: cannot be read: {error.message}"
            continue
        if found != recorded:
            yield _differs(what, recorded, found)


def _differs(what: str, recorded: str | None, found: str | None) -> str:
    return f"{what}: sha256 {found or 'none: not there'}, the report says {recorded or 'none: it was not there'}"


def _judge_again(
    report: Mapping[str, Any], artifact: ArtifactDigests, inputs: Inputs
) -> tuple[Judgement, dict[str, str] | None, ModelSource | None]:
    """Judge the recorded scores by the same baseline and policy.

    Also return the digests of the pack's probes, and the base that the baseline names.

    Raises:
        EvidenceError: the scores cannot be judged.

    """
    recorded = report["artifact"]
    try:
        pack = load_pack(inputs.pack, inputs.identity)
        policy = Policy() if inputs.policy is None else read_policy(inputs.policy)
        name = recorded["format"]
        baseline = choose_baseline(load_baselines(inputs.baseline), report["backend"]["backend"], format_name=name)
        check_match(
            baseline,
            pack,
            report["baseline"]["tokenizer_sha256"],
            format_name=name,
            prompt_digest=artifact.prompt_digest,
        )
        check_sources(baseline.sources, artifact.sources, again=record_command(name, baseline.sources))
        shipped = _measurement(report, baseline)
        if report["precise"] is None:
            judgement = judge(shipped, baseline, policy, format=name)
        else:
            judgement = judge_both(shipped, _precise(report["precise"], shipped), baseline, policy, format=name)
    except EdgeproofError as error:
        message = f"the recorded scores cannot be judged again: {error.message}"
        raise EvidenceError(message, next_step=error.next_step or AGAIN) from error
    return judgement, probe_digests(pack), None if baseline.sources is None else baseline.sources.base


def _measurement(report: Mapping[str, Any], baseline: Baseline) -> Measurement:
    scores = tuple(
        ProbeScore(
            probe=row["probe"],
            surface=row["surface"],
            logprobs=tuple(map(float, row["logprobs"])),
            right=row["right"],
            rouge_l=row["rouge_l"],
            exact_memorization=row["exact_memorization"] or 0.0,
            extraction_strength=row["extraction_strength"] or 0.0,
            decoy_rank=row["decoy_rank"],
            decoys=row["decoys"],
            samples=row["samples"],
            sampled_right=row["sampled_right"],
            carried_logprob=row["carried_logprob"],
        )
        for row in report["probes"]
    )
    drawn = report["sampling"]
    return Measurement(
        label="artifact",
        artifact_sha256=report["artifact"]["sha256"],
        pack_digest=report["pack"]["sha256"],
        tokenizer_digest=baseline.tokenizer_digest,
        prompt_digest=baseline.prompt_digest,
        backend=dict(report["backend"]),
        scores=scores,
        sampling=None if drawn is None else Sampling(drawn["count"], drawn["temperature"], drawn["seed"]),
    )


def _precise(recorded: Mapping[str, Any], shipped: Measurement) -> Measurement:
    again = {(row["probe"], row["surface"]): row for row in recorded["probes"]}
    scores = tuple(
        replace(
            score,
            logprobs=tuple(map(float, row["logprobs"])),
            right=row["right"],
            exact_memorization=row["exact_memorization"],
            extraction_strength=row["extraction_strength"],
            carried_logprob=row["carried_logprob"],
        )
        if (row := again.get((score.probe, score.surface))) is not None
        else score
        for score in shipped.scores
    )
    return replace(shipped, label="float activations", backend=dict(recorded["backend"]), scores=scores)


def _context(report: Mapping[str, Any]) -> ReportContext:
    """Return the context that cannot be computed, from the report: names, times, versions, digests compared before."""
    return ReportContext(
        artifact=report["artifact"]["name"],
        artifact_files=tuple((item["name"], item["sha256"]) for item in report["artifact"]["files"]),
        command=tuple(report["command"]),
        baseline_sha256=report["baseline"]["sha256"],
        pack_files_sha256=report["pack"]["files_sha256"],
        policy_file_sha256=report["policy"]["file_sha256"],
        manifest_sha256=report["artifact"]["manifest_sha256"],
        versions=report["versions"],
        created=datetime.fromisoformat(report["created"]),
        survival=_survival(report),
        artifact_bytes=report["artifact"]["bytes"],
        base=None if (base := report["baseline"]["base"]) is None else ModelSource(base["name"], base["sha256"]),
        seconds=report["seconds"],
    )


def _recomputed(
    report: Mapping[str, Any],
    judgement: Judgement,
    probe_digests: Mapping[str, str] | None,
    base: ModelSource | None,
) -> list[str]:
    answers = report["answers"]
    texts = None if answers is None else {(item["probe"], item["surface"]): item["text"] for item in answers}
    context = replace(_context(report), probe_digests=probe_digests, base=base)
    again: object = json.loads(encode(report_json(judgement, context, answers=texts)))
    assert isinstance(again, dict)
    # The report's own digest covers its last digits, and was compared before.
    found = [*_differences({**report, "report_sha256": ""}, {**again, "report_sha256": ""}, "")]
    named = [
        f"{where} is {_short(recorded)}; its scores give {_short(computed)}" for where, recorded, computed in found
    ]
    return (
        named if len(named) <= NAMED else [*named[:NAMED], f"and {len(named) - NAMED} more values that do not follow"]
    )


def _differences(recorded: object, computed: object, where: str) -> Iterator[tuple[str, object, object]]:
    if isinstance(recorded, dict) and isinstance(computed, dict):
        for key in [*recorded, *(key for key in computed if key not in recorded)]:
            place = f"{where}.{key}" if where else key
            if key in recorded and key in computed:
                yield from _differences(recorded[key], computed[key], place)
            else:
                yield place, recorded.get(key, "missing"), computed.get(key, "nothing")
    elif isinstance(recorded, list) and isinstance(computed, list) and len(recorded) == len(computed):
        for index, (one, other) in enumerate(zip(recorded, computed, strict=True)):
            yield from _differences(one, other, f"{where}[{index}]")
    elif isinstance(recorded, float) and isinstance(computed, float):
        if not math.isclose(recorded, computed, rel_tol=CLOSE, abs_tol=CLOSE):
            yield where, recorded, computed
    elif type(recorded) is not type(computed) or recorded != computed:
        yield where, recorded, computed


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _signature(path: Path, public_key: Path, report: Mapping[str, Any], judgement: Judgement | None) -> list[str]:
    """Check the attestation beside the report: signed with this key, and over exactly the present files."""
    envelope = path.with_name(attestation.ATTESTATION)
    if not envelope.is_file():
        return [f"signature: there is no {attestation.ATTESTATION} beside the report"]
    try:
        signed = attestation.read_signed(envelope, public_key)
    except EvidenceError as error:
        return [f"signature: {error.message}"]
    wrong = []
    for item in signed["predicate"]["edgeproof_reports"]:
        name, sha256 = item["name"], item["digest"]["sha256"]
        # Only names that the gate writes, so that a name cannot be another path.
        lies_here = path if name == REPORT else path.with_name(name)
        if name not in REPORTS or not lies_here.is_file():
            wrong.append(f"signature: it is over {name}, which is not beside the report")
        elif digest_bytes(lies_here) != sha256:
            wrong.append(f"signature: {name} is not what was signed")
    if judgement is not None:
        digests = {item["name"]: item["digest"]["sha256"] for item in signed["predicate"]["edgeproof_reports"]}
        if set(digests) != set(REPORTS) or signed != attestation.statement(judgement, _context(report), digests):
            wrong.append("signature: the signed statement is not what this report says")
    return wrong
