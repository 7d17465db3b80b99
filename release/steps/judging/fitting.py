"""Checks that refuse what does not fit before a model is loaded or asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.eval.measurement import Baseline
    from edgeproof.release.steps.judging.criteria import Criteria

NAMED = frozenset({"llama.cpp", "onnxruntime"})
"""Backends whose measurements bear the backend's own name; what computes behind another is known when it is open."""


def refuse_unfit(
    criteria: Criteria, backend: str, format_name: str, manifests: Sequence[Mapping[str, object] | None]
) -> None:
    """Refuse a baseline of another pack, format, base or adapter, or one that the policy cannot judge by."""
    if backend in NAMED:
        fitting_baseline(criteria, backend, format_name, manifests)


def fitting_baseline(
    criteria: Criteria, backend: str, format_name: str, manifests: Sequence[Mapping[str, object] | None]
) -> Baseline:
    """Return the baseline of a backend, checked against pack, policy, format and the artifact's manifests.

    Raises:
        EdgeproofError: there is none, or something does not fit.

    """
    from edgeproof.eval.baselines.file import choose_baseline
    from edgeproof.eval.baselines.fit import check_pack, record_command
    from edgeproof.eval.baselines.sources import check_sources, read_sources
    from edgeproof.eval.verdict.evidence.rehearsal import rehearse

    baseline = choose_baseline(criteria.baselines, backend, format_name=format_name)
    check_sources(baseline.sources, read_sources(manifests), again=record_command(format_name, baseline.sources))
    check_pack(baseline, criteria.pack, format_name=format_name)
    rehearse(baseline, criteria.policy, format_name=format_name)
    return baseline
