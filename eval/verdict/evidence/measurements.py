"""Checks of whole measurements: distinct files, one pack, tokenizer and backend, the policy's samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.errors import ArtifactError, BaselineError, EdgeproofError
from edgeproof.eval.baselines.fit import check_prompt, record_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.eval.measurement import Baseline, Measurement, Sampling
    from edgeproof.eval.verdict.policy import Policy

AGAIN = f"record the baseline again: {record_command()}"


def check_distinct(baseline: Baseline, in_format: Measurement) -> None:
    """Refuse a merged model that is the same file as a base."""
    for other, what in ((baseline.base, "the base"), (in_format, "the base in this format")):
        if other.artifact_sha256 == baseline.merged.artifact_sha256:
            raise BaselineError(
                f"{what} and the merged model are the same file ({other.artifact_sha256[:12]}…): the adapter had "
                "no effect, or one was recorded instead of the other",
                next_step=AGAIN,
            )


def check_same_world(artifact: Measurement, baseline: Baseline, recorded: Sequence[Measurement]) -> None:
    """Refuse measurements of several packs, tokenizers, prompts or backends."""
    for measurement in (artifact, *recorded):
        kind: type[EdgeproofError] = ArtifactError if measurement is artifact else BaselineError
        for what, found, wanted in (
            ("pack", measurement.pack_digest, baseline.pack_digest),
            ("tokenizer", measurement.tokenizer_digest, baseline.tokenizer_digest),
        ):
            if not found or found != wanted:
                raise kind(
                    f'the {what} of "{measurement.label}" is {found[:12] or "unknown"}…, '
                    f"the baseline's is {wanted[:12]}…",
                    next_step="use the baseline that was recorded for this pack and this model",
                )
        check_prompt(measurement.prompt_digest, baseline.prompt_digest, f'"{measurement.label}"', kind)
        name, own = measurement.backend.get("backend"), artifact.backend.get("backend")
        if name != own:
            raise BaselineError(
                f'"{measurement.label}" was measured by {name}, the artifact by {own}: their scores are not comparable',
                next_step="record the baseline with the backend that gates, or gate with --backend",
            )


def check_sampled(artifact: Measurement, recorded: Sequence[Measurement], policy: Policy) -> tuple[str, ...]:
    """Refuse samples that differ from the policy's; return the baseline's measurements without any."""
    wanted = policy.sampling
    if wanted is None:
        return ()
    if artifact.sampling != wanted:
        raise ArtifactError(
            f"the policy asks for {_drawn(wanted)}; the artifact has {_drawn(artifact.sampling)}",
            next_step="give the policy that it was measured with, as --policy; leave --policy out if it had none; or "
            "measure it again with this one",
        )
    for measurement in recorded:
        if measurement.sampling is not None and measurement.sampling != wanted:
            raise BaselineError(
                f'the policy asks for {_drawn(wanted)}; the baseline\'s "{measurement.label}" has '
                f"{_drawn(measurement.sampling)}",
                next_step="give the policy that it was recorded with, as --policy (leave it out if it had none); or "
                f"{AGAIN}, with the policy of the gate",
            )
    missing = tuple(measurement.label for measurement in recorded if measurement.sampling is None)
    if missing and policy.require_base_samples:
        raise BaselineError(
            f"the policy demands samples in the baseline (samples.require_in_baseline); {', '.join(missing)} have none",
            next_step=f"{AGAIN} --policy FILE",
        )
    return missing


def _drawn(sampling: Sampling | None) -> str:
    if sampling is None:
        return "no samples"
    return f"{sampling.count} samples per probe at temperature {sampling.temperature:g} (seed {sampling.seed})"
