"""Measures and judges one artifact, and refuses a file that changes meanwhile."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.backend import RESUMED
from edgeproof.contracts.progress import no_beat

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edgeproof.contracts.backend import Backend
    from edgeproof.contracts.survival import AdapterSurvival
    from edgeproof.contracts.training import Training
    from edgeproof.eval.measurement import Baseline, Finding, Measurement, ModelSource
    from edgeproof.eval.verdict.judgement import Judgement
    from edgeproof.release.steps.asking.course import Course
    from edgeproof.release.steps.asking.kept import Keeping
    from edgeproof.release.steps.judging.criteria import Criteria


OPENING = frozenset({"llama.cpp", "onnxruntime"})
"""Backends that open the artifact themselves, in a child of this process."""


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
    from edgeproof.eval.baselines.fit import backend_differences, check_embedding, check_match
    from edgeproof.eval.decision import decide
    from edgeproof.eval.digests import digest_bytes
    from edgeproof.eval.measuring.measure import measure, measure_again
    from edgeproof.eval.report.survival import read_survival
    from edgeproof.eval.report.training import read_training
    from edgeproof.export.artifact.manifest import manifest_path, read_provenance
    from edgeproof.release.steps.asking.kept import KEEPING
    from edgeproof.release.steps.asking.resources import measure_speed, sizes, with_memory
    from edgeproof.release.steps.files.changes import refuse_changed, states
    from edgeproof.release.steps.files.digests import choose_format, digest_whole, refuse_other_bytes
    from edgeproof.release.steps.judging.fitting import fitting_baseline, refuse_unfit
    from edgeproof.runtime import backend_for, open_backend
    from edgeproof.runtime.llama.rope_factors import rope_factors

    pack, policy, judging = criteria.pack, criteria.policy, criteria.judging
    paths = candidate.paths
    backend = judging.backend or backend_for(candidate.artifact)
    artifact, lora = (*(held if backend in OPENING else paths), None)[:2]
    assert artifact is not None
    format_name = choose_format(artifact, candidate.format_name)
    watched = (*paths, *(path for path in map(manifest_path, paths) if path.is_file()))
    before = states(watched)
    whole = digest_whole(held, [path.name for path in paths])
    manifests = [read_provenance(path, digest) for path, digest in zip(paths, whole.each, strict=True)]
    for path, manifest in zip(paths, manifests, strict=True):
        if manifest is None:
            course.warn(f"{path.name} has no manifest beside it: provenance unknown")
    manifest_sha256 = None if manifests[0] is None else digest_bytes(manifest_path(candidate.artifact))
    survival, training = read_survival(manifests[0]), read_training(manifests)
    factors = rope_factors(artifact)
    long_rope = factors is not None and backend == "llama.cpp"
    again = "long rope factors" if long_rope else "float activations"
    refuse_unfit(criteria, backend, format_name, manifests)
    with open_backend(
        backend, artifact, lora=lora, threads=judging.threads, engine=judging.engine, job=judging.job, beat=beat
    ) as engine:
        info = engine.info
        baseline = fitting_baseline(criteria, info.backend, format_name, manifests)
        check_match(baseline, pack, info.tokenizer_digest, format_name=format_name, prompt_digest=info.prompt_digest)
        check_embedding(baseline, info.options.get("embedding"), format_name=format_name)
        resources = None
        if policy.budgeted:
            # Evidence answers what its job asked, and nothing else.
            resources = sizes(whole) if backend == "evidence" else measure_speed(engine, whole)
        resumed = kept.keep(engine, whole.sha256) if backend in KEEPING else 0
        began = time.monotonic()
        rounds = info.options.get("accuracy_level", "none") not in {"none", "0"}
        twice = again if rounds or long_rope else None
        names = (candidate.artifact.name, *later)
        _foresee(criteria, engine, baseline, course, names, twice=twice, timed=backend in KEEPING, resumed=resumed)
        measurement = measure(
            pack,
            engine,
            label="artifact",
            artifact_sha256=whole.sha256,
            progress=course,
            carriers=baseline.carriers,
            sampling=policy.sampling,
            on_answer=lambda probe, surface, text: answers.__setitem__((probe.id, surface.name), text),
            on_finding=on_finding,
        )
        seconds = time.monotonic() - began
        if resources is not None:
            # A run that was taken up computes less, and needs less memory.
            measurement = replace(measurement, resources=resources if resumed else with_memory(resources, engine))
    precise, more_resumed = None, 0
    if rounds or long_rope:
        with open_backend(
            backend,
            artifact,
            lora=lora,
            threads=judging.threads,
            accuracy_level=0 if rounds else None,
            long_rope=long_rope,
            beat=beat,
        ) as engine:
            more_resumed = kept.keep(engine, whole.sha256)
            course.resume(more_resumed)
            precise = measure_again(
                pack,
                engine,
                measurement,
                label=again,
                progress=course,
                carriers=baseline.carriers,
                greedy_too=long_rope,
            )
    refuse_changed(watched, before, done="probed", again="gate")
    refuse_other_bytes(held, whole)
    resumed += more_resumed
    if resumed:
        measurement, precise = _resumed(measurement, resumed), precise and _resumed(precise, resumed)
    base = None if baseline.sources is None else baseline.sources.base
    described = Described(whole.files, whole.bytes, manifest_sha256, survival, base, seconds, training)
    recorded = baseline.base_in_format[format_name].backend
    for key, then, now in backend_differences(recorded, measurement.backend):
        course.warn(f"the baseline was recorded elsewhere: {key}: {then} when the baseline was recorded, {now} now")
    if precise is None and factors is not None:
        engines = {"rope_factors": f"{factors.chosen()}, as the engine chose: not known"}
        measurement = replace(measurement, backend={**measurement.backend, **engines})
    judgement = decide(
        measurement,
        precise,
        pack,
        baseline,
        policy,
        format_name=format_name,
        original_context=None if factors is None else factors.original,
        training=training,
    )
    return judgement, described


def _resumed(measurement: Measurement, answers: int) -> Measurement:
    """Record how many answers an interrupted run had given."""
    return replace(measurement, backend={**measurement.backend, RESUMED: str(answers)})


def _foresee(
    criteria: Criteria,
    engine: Backend,
    baseline: Baseline,
    course: Course,
    names: Sequence[str],
    *,
    twice: str | None,
    timed: bool,
    resumed: int,
) -> None:
    """Tell how much will be asked of the artifacts `names`, and refuse a pack that cannot be asked of the first.

    `twice` labels a second computation of each; with `timed` a few answers are timed, unless some are there already.
    """
    from edgeproof.eval.measuring.forecast import forecast
    from edgeproof.release.steps.asking.course import steps

    pack, carriers = criteria.pack, baseline.carriers
    found = forecast(pack, engine, carriers=carriers, sampling=criteria.policy.sampling)
    more = forecast(pack, engine, carriers=carriers, sampling=None, again=True) if twice else None
    coming = []
    for name in names:
        coming += steps("artifact", name, found)
        if twice and more is not None:
            coming += steps(twice, name, more)
    if timed and not resumed:
        course.time(engine, found)
    course.foresee(coming, resumed=resumed)
