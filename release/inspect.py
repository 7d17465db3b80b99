"""Inspects an adapter, an artifact, a pack or a report; with base and adapter, what is left of the adapter in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from edgeproof.contracts.errors import UsageError
from edgeproof.contracts.progress import Silent
from edgeproof.release.steps.arguments import as_artifact, as_path, as_paths
from edgeproof.release.steps.describe import describe, describe_disclosed, disclose_probe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.contracts.progress import Progress
    from edgeproof.export.survival.measure import SurvivalMap
    from edgeproof.release.steps.arguments import StrPath


@dataclass(frozen=True)
class Inspection:
    """A description of a file or folder.

    Attributes:
        path: the file or folder.
        kind: "adapter", "artifact", "adapter beside a GGUF", "pack", "report", "baseline", "survival", "disclosure",
            "disclosed probe" or "unlearning run".
        facts: what was found, by name, as `export-edge inspect --json` gives it.
        survival: the survival map, where base and adapters were given; else None.

    """

    path: Path
    kind: str
    facts: Mapping[str, object]
    survival: SurvivalMap | None = field(default=None, repr=False)

    def show_survival(self, file: TextIO) -> None:
        """Print the survival map to `file`."""
        from edgeproof.export.survival.table import render

        assert self.survival is not None
        render(self.survival, self.path.name, file)


def inspect(
    path: StrPath,
    *,
    base: StrPath | None = None,
    adapter: StrPath | Sequence[StrPath] = (),
    imatrix: StrPath | None = None,
    allow_requantize: bool = False,
    pack_key: StrPath | None = None,
    disclose: str | None = None,
    disclosed: StrPath | None = None,
    progress: Progress | None = None,
) -> Inspection:
    """Describe `path`; with `base` and `adapter`, how much of the adapters is left in the artifact `path`.

    From the tensors alone, without running the model: the share of codes that moved, how much of the change survived
    the rounding, and whether the file is the merge, the base, merged twice, or something else.

    Args:
        path: an adapter, an artifact, a pack, a report, a baseline, or an unlearning run of OpenUnlearning.
        base: what the artifact was made of.
        adapter: PEFT folders, in the order of merging.
        imatrix: the importance matrix that the artifact was quantized with.
        allow_requantize: accept a quantized GGUF as base.
        pack_key: the age identity for an encrypted pack; by default what EDGEPROOF_PACK_KEY holds.
        disclose: id of a probe of the salted pack `path`: give it with the key to its digest.
        disclosed: a file that `disclose` gave: find its probe in the report `path`.
        progress: receives progress and warnings; by default nothing is shown.

    Raises:
        EdgeproofError: `path` cannot be read, or is none of these.

    """
    path, adapters = as_artifact(path), as_paths(adapter)
    if (base is None) != (not adapters):
        raise UsageError(
            "--base and --adapter go together: the survival map needs both", next_step="give both, or leave both out"
        )
    if (disclose is not None or disclosed is not None) and (
        base is not None or (disclose is not None and disclosed is not None)
    ):
        raise UsageError("--disclose takes one PACK, --disclosed one report; neither goes with anything else")
    if disclose is not None:
        return Inspection(path, "disclosure", disclose_probe(path, disclose, as_path(pack_key)))
    if base is not None:
        listener = Silent() if progress is None else progress
        return _survival(
            path, Path(base), adapters, as_path(imatrix), allow_requantize=allow_requantize, progress=listener
        )
    if imatrix is not None or allow_requantize:
        raise UsageError("--imatrix and --allow-requantize belong to the survival map, which needs --base")
    facts = describe(path, as_path(pack_key)) if disclosed is None else describe_disclosed(path, Path(disclosed))
    return Inspection(path, str(facts.pop("kind")), facts)


def _survival(
    path: Path,
    base: Path,
    adapters: tuple[Path, ...],
    imatrix: Path | None,
    *,
    allow_requantize: bool,
    progress: Progress,
) -> Inspection:
    from edgeproof.export.survival.measure import survival_map
    from edgeproof.export.survival.table import as_json

    found = survival_map(base, adapters, path, imatrix=imatrix, allow_requantize=allow_requantize, progress=progress)
    return Inspection(path, "survival", as_json(found), found)
