"""The shown files, and the questions, ways of asking and baselines that they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeproof.contracts.errors import EdgeproofError
    from edgeproof.contracts.survival import AdapterSurvival
    from edgeproof.demo.asking.questions import Questions
    from edgeproof.demo.asking.ways import Way
    from edgeproof.demo.seal import Seal
    from edgeproof.eval.measurement import Baseline

ORIGINAL = "original"
"""Key of the model that knows everything."""

Event = dict[str, object]
"""A message to the page, in JSON's own kinds."""


@dataclass(frozen=True)
class DemoModel:
    """A file that is shown.

    Attributes:
        key: its name in requests of the page: ORIGINAL, or "0", "1", …
        path: the artifact.
        format_name: its name in the baseline; the original's may be unknown.
        seal: the bytes that it had when the demo started.
        survival: the manifest's record of how much of the adapters is left; None where it has none.

    """

    key: str
    path: Path
    format_name: str | None
    seal: Seal
    survival: AdapterSurvival | None


class Sheet(NamedTuple):
    """What all models are asked from: questions, ways by name, and what the baselines recorded, by backend."""

    questions: Questions
    ways: Mapping[str, Way]
    baselines: Mapping[str, Baseline]


def shown_names(models: Sequence[DemoModel]) -> dict[str, str]:
    """Return a name for each model by its key: the file's own, with as many folders as tell it from all others."""
    parts = {model.key: model.path.resolve().parts for model in models}
    names: dict[str, str] = {}
    for key, own in parts.items():
        others = [other for other_key, other in parts.items() if other_key != key and other != own]
        count = next(count for count in range(1, len(own) + 1) if own[-count:] not in {one[-count:] for one in others})
        names[key] = "/".join(own[-count:])
    return names


def failure(error: EdgeproofError) -> Event:
    """Return an error as a message to the page."""
    return {"kind": "error", "message": error.message, "next_step": error.next_step}
