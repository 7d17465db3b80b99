"""Recomputation of a report: its recorded scores are judged again, and every value derived from them is compared.

Numbers may differ in their last digits, since other processors round differently.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from edgeproof.contracts.errors import EdgeproofError, EvidenceError
from edgeproof.contracts.survival import parse_survival
from edgeproof.contracts.training import parse_training
from edgeproof.eval.baselines.file import choose_baseline, load_baselines
from edgeproof.eval.baselines.fit import check_embedding, check_match, record_command
from edgeproof.eval.baselines.sources import check_sources
from edgeproof.eval.decision import decide
from edgeproof.eval.measurement import Measurement, ModelSource, ProbeScore, Resources, Sampling
from edgeproof.eval.packs.reader import load_pack
from edgeproof.eval.report.context import ReportContext
from edgeproof.eval.report.disclosure import probe_digests
from edgeproof.eval.report.read import AGAIN
from edgeproof.eval.report.write import encode, report_json
from edgeproof.eval.verdict.policy import Policy, read_policy
from edgeproof.eval.waiver import waived_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from edgeproof.contracts.survival import AdapterSurvival
    from edgeproof.contracts.training import Training
    from edgeproof.eval.measurement import Baseline, Sources
    from edgeproof.eval.verdict.judgement import Judgement

CLOSE = 1e-6
"""Relative tolerance between two computations of a number."""
NAMED = 5
"""Maximum number of differences named per item in an error."""


class ArtifactDigests(NamedTuple):
    """Current digests of the artifact: of the whole (as in the gate), its files, and its manifest (or None).

    `bytes` is the size of its files together, `largest` that of the largest; None if unknown.
    `survival` is the manifest's survival map, `training` what it says of training. `format` is the format that the file
    declares, None if unknown; `rounds` is whether its products round activations, so that the report must also have a
    computation without rounding;
    `original_context` is where its long rope factors begin, None if it has one set of factors.
    `prompt_digest` covers its prompting, `sources` is its manifest's base and adapters; None if unknown. `embedding` is
    how an ONNX folder stores its embedding table, None for other files. All three are compared with the baseline.
    `unreadable` is why the gate would not open the artifact, None if it would.
    """

    sha256: str
    files: tuple[tuple[str, str], ...]
    bytes: int
    manifest_sha256: str | None
    survival: AdapterSurvival | None = None
    format: str | None = None
    rounds: bool = False
    original_context: int | None = None
    prompt_digest: str | None = None
    sources: Sources | None = None
    largest: int | None = None
    training: tuple[Training, ...] = ()
    embedding: str | None = None
    unreadable: str | None = None


class Inputs(NamedTuple):
    """Inputs of the gate; `policy` is None for the defaults, `identity` is for an encrypted pack."""

    pack: Path
    baseline: Path
    policy: Path | None = None
    identity: str | None = None


def judge_again(
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
        check_embedding(baseline, artifact.embedding, format_name=name)
        check_sources(baseline.sources, artifact.sources, again=record_command(name, baseline.sources))
        shipped = _measurement(report, baseline)
        judgement = decide(
            shipped,
            None if report["precise"] is None else _precise(report["precise"], shipped),
            pack,
            baseline,
            policy,
            format_name=name,
            original_context=artifact.original_context,
            training=parse_training(report.get("training")),
        )
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
        resources=None if "resources" not in report else Resources(**report["resources"]),
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
    return replace(shipped, label="second computation", backend=dict(recorded["backend"]), scores=scores)


def context_of(report: Mapping[str, Any]) -> ReportContext:
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
        survival=survival_of(report),
        artifact_bytes=report["artifact"]["bytes"],
        base=None if (base := report["baseline"]["base"]) is None else ModelSource(base["name"], base["sha256"]),
        seconds=report["seconds"],
        waived=waived_of(report),
        training=parse_training(report.get("training")),
    )


def differences(
    report: Mapping[str, Any],
    judgement: Judgement,
    digests: Mapping[str, str] | None,
    base: ModelSource | None,
) -> list[str]:
    """Compute the whole report again from `judgement`, and name what differs."""
    answers = report["answers"]
    texts = None if answers is None else {(item["probe"], item["surface"]): item["text"] for item in answers}
    context = replace(context_of(report), probe_digests=digests, base=base)
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


def survival_of(report: Mapping[str, Any]) -> AdapterSurvival | None:
    """Return the survival map of a report; None without one."""
    table = report["survival"]
    return None if table is None else parse_survival(table)
