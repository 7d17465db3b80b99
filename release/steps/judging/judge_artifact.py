"""Measures and judges one artifact, and refuses a file that changes meanwhile."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.backend import ROPE_FACTORS, chosen_by_size
from edgeproof.contracts.progress import no_beat

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edgeproof.contracts.survival import AdapterSurvival
    from edgeproof.contracts.training import Training
    from edgeproof.eval.measurement import Baseline, Finding, Measurement, ModelSource
    from edgeproof.eval.verdict.judgement import Judgement
    from edgeproof.release.steps.asking.course import Course
    from edgeproof.release.steps.asking.kept import Keeping
    from edgeproof.release.steps.judging.criteria import Criteria
    from edgeproof.release.steps.judging.measure_artifact import Gated


class Candidate(NamedTuple):
    """An artifact to judge. Where `format_name` is None, the file says its format."""

    artifact: Path
    lora: Path | None = None
    format_name: str | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """The artifact, and the LoRA if there is one."""
        return (self.artifact,) if self.lora is None else (self.artifact, self.lora)


class Described(NamedTuple):
    """Facts about the artifact for the report.

    Attributes:
        files: name and sha256 of each file.
        bytes: size of all files together.
        manifest_sha256: digest of the manifest; None if missing.
        survival: the manifest's record of how much of the adapters is left.
        base: the base that the baseline names; None if it names none.
        seconds: wall time of asking it.
        training: how base and adapters were trained to forget, as the manifests have it.

    """

    files: tuple[tuple[str, str], ...]
    bytes: int
    manifest_sha256: str | None
    survival: AdapterSurvival | None
    base: ModelSource | None
    seconds: float
    training: tuple[Training, ...]


def judge_artifact(
    candidate: Candidate,
    held: Sequence[Path],
    criteria: Criteria,
    *,
    answers: dict[tuple[str, str], str],
    kept: Keeping,
    course: Course,
    later: Sequence[str] = (),
    on_finding: Callable[[Finding], None] | None = None,
    beat: Callable[[], None] = no_beat,
) -> tuple[Judgement, Described]:
    """Measure and judge the artifact; also return the facts about it for the report.

    `held` are the candidate's paths as `pinned` gives them: what is hashed is what the engine opens. An engine
    elsewhere, which knows the file by its name, gets the paths themselves. Greedy answers are put into `answers`, by
    probe id and surface; `kept` keeps all answers for the next run, should this one be stopped; `course` hears the
    progress. `later` names the artifacts that are judged after this one. `beat` is that of `open_backend`.
    """
    from edgeproof.eval.decision import decide
    from edgeproof.eval.digests import digest_bytes
    from edgeproof.eval.report.survival import read_survival
    from edgeproof.eval.report.training import read_training
    from edgeproof.export.artifact.manifest import manifest_path
    from edgeproof.release.steps.files.changes import refuse_changed, states
    from edgeproof.release.steps.files.digests import refuse_other_bytes
    from edgeproof.release.steps.judging.fitting import refuse_unfit
    from edgeproof.release.steps.judging.measure_artifact import Asking, measure_artifact

    paths = candidate.paths
    watched = (*paths, *(path for path in map(manifest_path, paths) if path.is_file()))
    before = states(watched)
    gated = _gated(candidate, held, criteria, course)
    manifest, training = gated.manifests[0], read_training(gated.manifests)
    manifest_sha256 = None if manifest is None else digest_bytes(manifest_path(candidate.artifact))
    refuse_unfit(criteria, gated.backend, gated.format_name, gated.manifests)
    asking = Asking(answers, kept, course, later, on_finding, beat)
    baseline, first, second, seconds = measure_artifact(gated, criteria, asking)
    refuse_changed(watched, before, done="probed", again="gate")
    refuse_other_bytes(held, gated.whole)
    first = _told(gated, baseline, first, course, once=second is None)
    judgement = decide(
        first,
        second,
        criteria.pack,
        baseline,
        criteria.policy,
        format_name=gated.format_name,
        original_context=gated.original_context,
        training=training,
    )
    base = None if baseline.sources is None else baseline.sources.base
    survival, whole = read_survival(manifest), gated.whole
    return judgement, Described(whole.files, whole.bytes, manifest_sha256, survival, base, seconds, training)


def _gated(candidate: Candidate, held: Sequence[Path], criteria: Criteria, course: Course) -> Gated:
    """Hash the candidate, and read what it and its manifests say of themselves."""
    from edgeproof.export.artifact.manifest import read_provenance
    from edgeproof.release.steps.files.digests import choose_format, digest_whole
    from edgeproof.release.steps.judging.measure_artifact import OPENING, Gated
    from edgeproof.runtime import backend_for, original_context

    paths = candidate.paths
    backend = criteria.judging.backend or backend_for(candidate.artifact)
    artifact, lora = (*(held if backend in OPENING else paths), None)[:2]
    assert artifact is not None
    format_name = choose_format(artifact, candidate.format_name)
    whole = digest_whole(held, [path.name for path in paths])
    manifests = [read_provenance(path, digest) for path, digest in zip(paths, whole.each, strict=True)]
    for path, manifest in zip(paths, manifests, strict=True):
        if manifest is None:
            course.warn(f"{path.name} has no manifest beside it: provenance unknown")
    switch = original_context(artifact)
    return Gated(candidate.artifact.name, backend, artifact, lora, format_name, whole, manifests, switch)


def _told(gated: Gated, baseline: Baseline, measured: Measurement, course: Course, *, once: bool) -> Measurement:
    """Warn where the baseline was recorded elsewhere, and add what is not known of the engine.

    With `once` the file was computed in one way: where it has two sets of rope factors, the engine chose.
    """
    from edgeproof.eval.baselines.fit import backend_differences

    recorded = baseline.base_in_format[gated.format_name].backend
    for key, then, now in backend_differences(recorded, measured.backend):
        course.warn(f"the baseline was recorded elsewhere: {key}: {then} when the baseline was recorded, {now} now")
    if not once or gated.original_context is None:
        return measured
    engine = {ROPE_FACTORS: f"{chosen_by_size(gated.original_context)}, as the engine chose: not known"}
    return replace(measured, backend={**measured.backend, **engine})
