"""Turns reports of one model's files into evidence for its model card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.errors import EvidenceError
from edgeproof.release.steps.arguments import as_paths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.release.steps.arguments import StrPath


def card(reports: StrPath | Sequence[StrPath], *, name: str = "") -> str:
    """Return Hugging Face `model-index` metadata and a section in Markdown on the files of one model.

    The reports are read, not verified: `verify` does that. No texts of probes are in what is returned.

    Args:
        reports: report.json, or its folder, of each file.
        name: the model's name; by default the base's that the first report's baseline names.

    Raises:
        EvidenceError: a report is missing, damaged or of another version, or two are of different bases.

    """
    from edgeproof.eval.report.model_card import model_card
    from edgeproof.eval.report.read import has_its_digest, read_report
    from edgeproof.eval.report.write import REPORT

    found = []
    for given in as_paths(reports):
        path = given / REPORT if given.is_dir() else given
        content, report = read_report(path)
        if not has_its_digest(content):
            raise EvidenceError(
                f"{path} is not what its own digest says", next_step="use the report as the gate wrote it"
            )
        found.append(report)
    bases = {str(report["baseline"]["base"]) for report in found}
    if len(bases) > 1:
        raise EvidenceError(
            f"these reports are of {len(bases)} different bases", next_step="make one card for each model"
        )
    base = found[0]["baseline"]["base"]
    return model_card(found, name or (found[0]["artifact"]["name"] if base is None else str(base["name"])))
