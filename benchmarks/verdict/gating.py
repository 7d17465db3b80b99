"""Measures what ships as `export-edge baseline` and `gate` do, on drawn packs, in this process.

The engines are the package's own; only the child process around them is left out, which would cost more than all that
is computed here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from edgeproof.contracts.progress import Silent
from edgeproof.eval.baselines.file import assemble_baseline
from edgeproof.eval.measuring.ignorance import ignorance_levels
from edgeproof.eval.measuring.measure import measure, measure_again
from edgeproof.eval.measuring.replies import base_carriers
from edgeproof.eval.verdict.judge import judge
from edgeproof.eval.verdict.second_computation import judge_both
from edgeproof.runtime.llama.backend import LlamaCpp
from edgeproof.runtime.onnxruntime.backend import OnnxRuntime

if TYPE_CHECKING:
    from pathlib import Path

    from edgeproof.contracts.backend import Backend
    from edgeproof.eval.measurement import Baseline, Carrier, Measurement
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.verdict.judgement import Judgement
    from edgeproof.eval.verdict.policy import Policy


class Measured(NamedTuple):
    """What the gate sees of a file; `precise`: without rounded activations, where the engine rounds them."""

    measurement: Measurement
    precise: Measurement | None


class BaseMeasured(NamedTuple):
    """What a baseline holds of the base at float precision."""

    measurement: Measurement
    carriers: tuple[Carrier, ...]
    levels: dict[str, float]


def opened(path: Path, **options: Any) -> Backend:
    """Load what ships into its engine, in this process."""
    return OnnxRuntime(path, threads=1, **options) if path.is_dir() else LlamaCpp(path, threads=1)


def measure_base(engine: Backend, pack: Pack, sha256: str, policy: Policy) -> BaseMeasured:
    """Measure the base at float precision as `export-edge baseline` does."""
    carriers = base_carriers(pack, engine, progress=Silent())
    levels = ignorance_levels(pack, engine, Silent(), carriers=carriers)
    return BaseMeasured(
        measure_other(engine, pack, sha256, label="base", carriers=carriers, policy=policy), carriers, levels
    )


def measure_other(
    engine: Backend, pack: Pack, sha256: str, *, label: str, carriers: tuple[Carrier, ...], policy: Policy
) -> Measurement:
    """Measure the merged model, or the base in a format."""
    return measure(
        pack,
        engine,
        label=label,
        artifact_sha256=sha256,
        progress=Silent(),
        carriers=carriers,
        sampling=policy.sampling,
    )


def measure_file(
    path: Path, engine: Backend, pack: Pack, sha256: str, *, carriers: tuple[Carrier, ...], policy: Policy
) -> Measured:
    """Measure a file as `export-edge gate` does."""
    measurement = measure_other(engine, pack, sha256, label="artifact", carriers=carriers, policy=policy)
    if engine.info.options.get("accuracy_level", "none") in {"none", "0"}:
        return Measured(measurement, None)
    with opened(path, accuracy_level=0) as exact:
        precise = measure_again(pack, exact, measurement, label="precise", progress=Silent(), carriers=carriers)
    return Measured(measurement, precise)


def baseline_of(
    pack: Pack, base: BaseMeasured, merged: Measurement, format_name: str, in_format: Measurement
) -> Baseline:
    """Put a baseline together, as `export-edge baseline` does.

    It has no reference asking: the only default surface that the pack leaves out is the multiple choice, which a model
    of two layers cannot answer (`prove.py --choices` shows it).
    """
    return assemble_baseline(
        pack,
        base=base.measurement,
        merged=merged,
        base_in_format={format_name: in_format},
        ignorance=base.levels,
        carriers=base.carriers,
    )


def judged(measured: Measured, baseline: Baseline, policy: Policy, format_name: str) -> Judgement:
    """Judge as `export-edge gate` does."""
    if measured.precise is not None:
        return judge_both(measured.measurement, measured.precise, baseline, policy, format=format_name)
    return judge(measured.measurement, baseline, policy, format=format_name)
