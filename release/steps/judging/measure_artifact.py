"""Measures one artifact: what the shipped file answers, and what other devices may compute of it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.backend import RESUMED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edgeproof.contracts.backend import Backend
    from edgeproof.eval.measurement import Baseline, Finding, Measurement
    from edgeproof.release.steps.asking.course import Course
    from edgeproof.release.steps.asking.kept import Keeping
    from edgeproof.release.steps.files.digests import Whole
    from edgeproof.release.steps.judging.criteria import Criteria

OPENING = frozenset({"llama.cpp", "onnxruntime"})
"""Backends that open the artifact themselves, in a child of this process."""


class Gated(NamedTuple):
    """An artifact as it was when its gate began.

    Attributes:
        name: the artifact's own file name.
        backend: what computes it.
        artifact: the path that the backend opens.
        lora: the same for the LoRA beside it; None without one.
        format_name: the file's format.
        whole: digests of all files.
        manifests: contents of the manifests of artifact and LoRA; None where one is missing.
        original_context: size of context, in tokens, beyond which it computes with long rope factors; None if it has
            one set.

    """

    name: str
    backend: str
    artifact: Path
    lora: Path | None
    format_name: str
    whole: Whole
    manifests: Sequence[Mapping[str, object] | None]
    original_context: int | None


class Measured(NamedTuple):
    """What an artifact answered.

    Attributes:
        baseline: what it is compared with.
        first: the measurement of the file as this machine computes it.
        second: the same as it is computed elsewhere; None if there is one way only.
        seconds: wall time of the first.

    """

    baseline: Baseline
    first: Measurement
    second: Measurement | None
    seconds: float


class Way(NamedTuple):
    """A computation of the same file that differs from the one on this machine: options of `open_backend`."""

    label: str
    accuracy_level: int | None = None
    long_rope: bool = False


FLOAT_ACTIVATIONS = Way("float activations", accuracy_level=0)
LONG_ROPE = Way("long rope factors", long_rope=True)
LONG_ROPE_FLOAT = Way("long rope factors, float activations", accuracy_level=0, long_rope=True)


class Asking(NamedTuple):
    """How the artifact is asked.

    Attributes:
        answers: receives greedy answers, by probe id and surface.
        kept: keeps all answers for the next run, should this one be stopped.
        course: hears the progress.
        later: names of the artifacts that are judged after this one.
        on_finding: hears each answer that comes out.
        beat: that of `open_backend`.

    """

    answers: dict[tuple[str, str], str]
    kept: Keeping
    course: Course
    later: Sequence[str]
    on_finding: Callable[[Finding], None] | None
    beat: Callable[[], None]


def measure_artifact(gated: Gated, criteria: Criteria, asking: Asking) -> Measured:
    """Ask the artifact, and again in each other way in which it may be computed.

    Of several other ways, each answer is judged by the one that makes it most likely.

    Raises:
        EdgeproofError: the baseline or the pack does not fit, or the artifact cannot be asked.

    """
    from edgeproof.eval.measuring.measure import likelier, measure
    from edgeproof.release.steps.asking.kept import KEEPING
    from edgeproof.release.steps.asking.resources import measure_speed, sizes, with_memory
    from edgeproof.runtime import open_backend

    judging, policy, answers = criteria.judging, criteria.policy, asking.answers
    with open_backend(
        gated.backend,
        gated.artifact,
        lora=gated.lora,
        threads=judging.threads,
        engine=judging.engine,
        job=judging.job,
        beat=asking.beat,
    ) as engine:
        baseline = _fitting(gated, criteria, engine)
        resources = None
        if policy.budgeted:
            # Evidence answers what its job asked, and nothing else.
            resources = sizes(gated.whole) if gated.backend == "evidence" else measure_speed(engine, gated.whole)
        resumed = asking.kept.keep(engine, gated.whole.sha256) if gated.backend in KEEPING else 0
        began = time.monotonic()
        ways = _other_ways(gated, engine)
        _foresee(gated, criteria, asking, engine, baseline, ways=ways, resumed=resumed)
        first = measure(
            criteria.pack,
            engine,
            label="artifact",
            artifact_sha256=gated.whole.sha256,
            progress=asking.course,
            carriers=baseline.carriers,
            sampling=policy.sampling,
            on_answer=lambda probe, surface, text: answers.__setitem__((probe.id, surface.name), text),
            on_finding=asking.on_finding,
        )
        seconds = time.monotonic() - began
        if resources is not None:
            # A run that was taken up computes less, and needs less memory.
            first = replace(first, resources=resources if resumed else with_memory(resources, engine))
    second = None
    for way in ways:
        found, more = _measured_again(gated, criteria, asking, baseline, first, way=way)
        second = found if second is None else likelier(second, found)
        resumed += more
    if resumed:
        first, second = _resumed(first, resumed), second and _resumed(second, resumed)
    return Measured(baseline, first, second, seconds)


def _other_ways(gated: Gated, engine: Backend) -> tuple[Way, ...]:
    """Return how else this file is computed: on devices that do not round, and in larger contexts."""
    rounds = engine.info.options.get("accuracy_level", "none") not in {"none", "0"}
    switches = gated.original_context is not None and gated.backend in OPENING
    if rounds and switches:
        return FLOAT_ACTIVATIONS, LONG_ROPE, LONG_ROPE_FLOAT
    return (*((FLOAT_ACTIVATIONS,) if rounds else ()), *((LONG_ROPE,) if switches else ()))


def _fitting(gated: Gated, criteria: Criteria, engine: Backend) -> Baseline:
    """Return the baseline of what computes; refuse one that does not fit the file as the engine reads it."""
    from edgeproof.eval.baselines.fit import check_embedding, check_match
    from edgeproof.release.steps.judging.fitting import fitting_baseline

    info, name = engine.info, gated.format_name
    baseline = fitting_baseline(criteria, info.backend, name, gated.manifests)
    check_match(baseline, criteria.pack, info.tokenizer_digest, format_name=name, prompt_digest=info.prompt_digest)
    check_embedding(baseline, info.options.get("embedding"), format_name=name)
    return baseline


def _measured_again(
    gated: Gated, criteria: Criteria, asking: Asking, baseline: Baseline, first: Measurement, *, way: Way
) -> tuple[Measurement, int]:
    """Return the measurement of another computation, and how many of its answers were kept from a run before."""
    from edgeproof.eval.measuring.measure import measure_again
    from edgeproof.runtime import open_backend

    with open_backend(
        gated.backend,
        gated.artifact,
        lora=gated.lora,
        threads=criteria.judging.threads,
        accuracy_level=way.accuracy_level,
        long_rope=way.long_rope,
        beat=asking.beat,
    ) as engine:
        resumed = asking.kept.keep(engine, gated.whole.sha256)
        asking.course.resume(resumed)
        found = measure_again(
            criteria.pack,
            engine,
            first,
            label=way.label,
            progress=asking.course,
            carriers=baseline.carriers,
            greedy_too=way.long_rope,
        )
    return found, resumed


def _resumed(measurement: Measurement, answers: int) -> Measurement:
    """Record how many answers an interrupted run had given."""
    return replace(measurement, backend={**measurement.backend, RESUMED: str(answers)})


def _foresee(
    gated: Gated,
    criteria: Criteria,
    asking: Asking,
    engine: Backend,
    baseline: Baseline,
    *,
    ways: Sequence[Way],
    resumed: int,
) -> None:
    """Tell how much will be asked of this artifact and the later ones, and refuse a pack that cannot be asked.

    Each is computed in these other `ways`, too. A few answers are timed, unless some are there already.
    """
    from edgeproof.eval.measuring.forecast import forecast
    from edgeproof.release.steps.asking.course import steps
    from edgeproof.release.steps.asking.kept import KEEPING

    pack, carriers = criteria.pack, baseline.carriers
    found = forecast(pack, engine, carriers=carriers, sampling=criteria.policy.sampling)
    more = forecast(pack, engine, carriers=carriers, sampling=None, again=True) if ways else None
    coming = []
    for name in (gated.name, *asking.later):
        coming += steps("artifact", name, found)
        for way in ways:
            assert more is not None
            coming += steps(way.label, name, more)
    if gated.backend in KEEPING and not resumed:
        asking.course.time(engine, found)
    asking.course.foresee(coming, resumed=resumed)
