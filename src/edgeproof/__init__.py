"""Ship an unlearned model to a device, and test, on the very file that ships, whether it stayed unlearned.

The functions here are the commands of `export-edge`: arguments are positional, options are keywords of the same name
and order. Results are frozen dataclasses; errors are branches of `EdgeproofError`. docs/python-api.md has examples.

Modules are loaded on first use. `edgeproof.export` and `edgeproof.unlearn` are functions and also the names of two
packages: import from those as `from edgeproof.export.pipeline import …`.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeproof.contracts.errors import EdgeproofError
    from edgeproof.contracts.progress import Progress
    from edgeproof.eval.comparison.compare import Comparison
    from edgeproof.eval.forecast.checked import PackCheck
    from edgeproof.eval.history.releases import History
    from edgeproof.eval.knowledge.known import Knowledge
    from edgeproof.eval.measurement import Verdict
    from edgeproof.eval.verification.verify import Verified
    from edgeproof.release.baseline import BaselineResult, record_baseline
    from edgeproof.release.card import card
    from edgeproof.release.compare import compare
    from edgeproof.release.evaluate import EvaluateResult, evaluate
    from edgeproof.release.export import Artifact, ExportResult, export
    from edgeproof.release.gate import gate
    from edgeproof.release.history import history
    from edgeproof.release.inspect import Inspection, inspect
    from edgeproof.release.pack_check import pack_check
    from edgeproof.release.pack_new import NewPack, pack_new
    from edgeproof.release.phone.job import JobResult, phone_job
    from edgeproof.release.phone.judge import judge
    from edgeproof.release.phone.push import Pushed, phone_push
    from edgeproof.release.phone.run import phone_run
    from edgeproof.release.probe import probe
    from edgeproof.release.table import TableResult, table
    from edgeproof.release.unlearn import unlearn
    from edgeproof.release.verdicts import GateResult
    from edgeproof.release.verify import verify
    from edgeproof.release.waive import waive
    from edgeproof.unlearn.run import UnlearnResult

_PLACES = {
    "export": "edgeproof.release.export",
    "probe": "edgeproof.release.probe",
    "record_baseline": "edgeproof.release.baseline",
    "gate": "edgeproof.release.gate",
    "judge": "edgeproof.release.phone.judge",
    "phone_job": "edgeproof.release.phone.job",
    "phone_push": "edgeproof.release.phone.push",
    "phone_run": "edgeproof.release.phone.run",
    "verify": "edgeproof.release.verify",
    "waive": "edgeproof.release.waive",
    "compare": "edgeproof.release.compare",
    "history": "edgeproof.release.history",
    "card": "edgeproof.release.card",
    "table": "edgeproof.release.table",
    "evaluate": "edgeproof.release.evaluate",
    "inspect": "edgeproof.release.inspect",
    "pack_check": "edgeproof.release.pack_check",
    "pack_new": "edgeproof.release.pack_new",
    "unlearn": "edgeproof.release.unlearn",
    "Artifact": "edgeproof.release.export",
    "BaselineResult": "edgeproof.release.baseline",
    "Comparison": "edgeproof.eval.comparison.compare",
    "EdgeproofError": "edgeproof.contracts.errors",
    "EvaluateResult": "edgeproof.release.evaluate",
    "ExportResult": "edgeproof.release.export",
    "GateResult": "edgeproof.release.verdicts",
    "History": "edgeproof.eval.history.releases",
    "Inspection": "edgeproof.release.inspect",
    "JobResult": "edgeproof.release.phone.job",
    "Knowledge": "edgeproof.eval.knowledge.known",
    "NewPack": "edgeproof.release.pack_new",
    "PackCheck": "edgeproof.eval.forecast.checked",
    "Progress": "edgeproof.contracts.progress",
    "Pushed": "edgeproof.release.phone.push",
    "TableResult": "edgeproof.release.table",
    "UnlearnResult": "edgeproof.unlearn.run",
    "Verdict": "edgeproof.eval.measurement",
    "Verified": "edgeproof.eval.verification.verify",
}
"""The module of each public name."""

__all__ = [
    "Artifact",
    "BaselineResult",
    "Comparison",
    "EdgeproofError",
    "EvaluateResult",
    "ExportResult",
    "GateResult",
    "History",
    "Inspection",
    "JobResult",
    "Knowledge",
    "NewPack",
    "PackCheck",
    "Progress",
    "Pushed",
    "TableResult",
    "UnlearnResult",
    "Verdict",
    "Verified",
    "card",
    "compare",
    "evaluate",
    "export",
    "gate",
    "history",
    "inspect",
    "judge",
    "pack_check",
    "pack_new",
    "phone_job",
    "phone_push",
    "phone_run",
    "probe",
    "record_baseline",
    "table",
    "unlearn",
    "verify",
    "waive",
]


def __getattr__(name: str) -> object:
    """Load the module of a public name when the name is used."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    """Name what is public."""
    return sorted(__all__)


class _Face(ModuleType):
    """Keeps the functions under their names where Python would put a package of the same name there."""

    def __setattr__(self, name: str, value: object) -> None:
        """Set an attribute, unless an imported package would hide a function."""
        if not (name in _PLACES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Face
