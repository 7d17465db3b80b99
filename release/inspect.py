"""Inspects an adapter, an artifact, a pack or a report; with base and adapter, what is left of the adapter in it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from edgeproof.contracts.errors import ArtifactError, InputError, UsageError
from edgeproof.contracts.parsing import parse_json
from edgeproof.contracts.progress import Silent
from edgeproof.release.arguments import as_path, as_paths, pack_identity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.contracts.progress import Progress
    from edgeproof.export.survival.measure import SurvivalMap
    from edgeproof.release.arguments import StrPath


@dataclass(frozen=True)
class Inspection:
    """What a file or folder is.

    Attributes:
        path: the file or folder.
        kind: "adapter", "artifact", "adapter beside a GGUF", "pack", "report", "baseline", "survival", "disclosure" or
            "disclosed probe".
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
    """Say what `path` is; with `base` and `adapter`, how much of the adapters is left in the artifact `path`.

    From the tensors alone, without running the model: the share of codes that moved, how much of the change survived
    the rounding, and whether the file is the merge, the base, merged twice, or something else.

    Args:
        path: an adapter, an artifact, a pack, a report or a baseline.
        base: what the artifact was made of.
        adapter: PEFT folders, in the order of merging.
        imatrix: the importance matrix that the artifact was quantized with.
        allow_requantize: accept a quantized GGUF as base.
        pack_key: the age identity for an encrypted pack; by default what EDGEPROOF_PACK_KEY holds.
        disclose: id of a probe of the salted pack `path`: give it with the key to its digest.
        disclosed: a file that `disclose` gave: find its probe in the report `path`.
        progress: hears how far it is; nobody by default.

    Raises:
        EdgeproofError: `path` cannot be read, or is none of these.

    """
    path, adapters = Path(path), as_paths(adapter)
    if (base is None) != (not adapters):
        raise UsageError(
            "--base and --adapter go together: the survival map needs both", next_step="give both, or leave both out"
        )
    if (disclose is not None or disclosed is not None) and (
        base is not None or (disclose is not None and disclosed is not None)
    ):
        raise UsageError("--disclose takes one PACK, --disclosed one report; neither goes with anything else")
    if disclose is not None:
        return Inspection(path, "disclosure", _disclose(path, disclose, as_path(pack_key)))
    if base is not None:
        listener = Silent() if progress is None else progress
        return _survival(
            path, Path(base), adapters, as_path(imatrix), allow_requantize=allow_requantize, progress=listener
        )
    if imatrix is not None or allow_requantize:
        raise UsageError("--imatrix and --allow-requantize belong to the survival map, which needs --base")
    facts = describe(path, as_path(pack_key)) if disclosed is None else _disclosed(path, Path(disclosed))
    return Inspection(path, str(facts.pop("kind")), facts)


def describe(path: Path, pack_key: Path | None = None) -> dict[str, object]:
    """Describe an adapter, an artifact, a pack, a report or a baseline.

    Raises:
        InputError: it is missing, damaged, or none of these.

    """
    from edgeproof.export.artifact.summary import describe_adapter, describe_artifact

    if not path.exists():
        raise InputError(f"{path} does not exist", next_step="check the path")
    if path.is_dir():
        if (path / "adapter_config.json").is_file():
            return describe_adapter(path)
        if (path / "model.onnx").is_file():
            return describe_artifact(path)
        if (path / "pack.toml").is_file():
            return _pack(path, pack_key)
        if (path / "report.json").is_file():
            return _report(path / "report.json")
    elif path.suffix == ".age":
        return _pack(path, pack_key)
    elif path.suffix == ".json":
        return _report(path) if _is_report(path) else _baseline(path)
    else:
        return describe_artifact(path)
    raise ArtifactError(
        f"{path} is no adapter (adapter_config.json), ONNX folder (model.onnx), pack (pack.toml) or "
        "report (report.json)",
        next_step="give one of these, or a .gguf file",
    )


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


def _pack(path: Path, pack_key: Path | None) -> dict[str, object]:
    from collections import Counter

    from edgeproof.eval.packs.reader import load_pack
    from edgeproof.eval.packs.surfaces import unasked

    pack = load_pack(path, pack_identity(pack_key))
    clusters = Counter(role for role, _ in {(probe.role.value, probe.cluster) for probe in pack.probes})
    return {
        "kind": "pack",
        "name": pack.name,
        "description": pack.description,
        "licence": pack.licence,
        "probes": dict(Counter(probe.role.value for probe in pack.probes)),
        "clusters": dict(clusters),
        "surfaces": [surface.name for surface in pack.surfaces],
        "note": "; ".join(unasked(pack)),
        "sha256": pack.digest,
    }


def _disclose(path: Path, probe: str, pack_key: Path | None) -> dict[str, str]:
    from edgeproof.eval.packs.reader import load_pack
    from edgeproof.eval.report.disclosure import disclose, to_json

    return to_json(disclose(load_pack(path, pack_identity(pack_key)), probe))


def _disclosed(path: Path, shown: Path) -> dict[str, object]:
    """Say what the report says of a probe that was shown to somebody."""
    from edgeproof.eval.report.disclosure import find, read_disclosure

    report = path / "report.json" if path.is_dir() else path
    disclosure = read_disclosure(shown)
    rows = find(_table(report), disclosure)
    kept = ("surface", "leaks", "leaks_critical", "right", "extraction_critical", "base_leaks")
    return {
        "kind": "disclosed probe",
        "probe": disclosure.probe,
        "digest": disclosure.digest,
        "verdict": _report(report)["verdict"],
        "rows": [{key: row[key] for key in kept if key in row} for row in rows],
    }


def _is_report(path: Path) -> bool:
    return _table(path).get("schema") == "edgeproof/report"


def _report(path: Path) -> dict[str, object]:
    table = _table(path)
    kept = ("verdict", "reason", "summary", "artifact", "pack", "baseline", "created", "versions")
    missing = [key for key in kept if key not in table]
    if missing:
        raise InputError(f"{path} is no report of edgeproof: it lacks {', '.join(missing)}")
    return {"kind": "report"} | {key: table[key] for key in kept}


def _baseline(path: Path) -> dict[str, object]:
    from edgeproof.eval.baselines.file import load_baselines

    found = load_baselines(path)
    first = next(iter(found.values()))
    return {
        "kind": "baseline",
        "pack": first.pack_name,
        "pack_sha256": first.pack_digest,
        "backends": sorted(found),
        "sources": None if first.sources is None else asdict(first.sources),
        "prompt_digests": {name: baseline.prompt_digest for name, baseline in found.items() if baseline.prompt_digest},
    }


def _table(path: Path) -> dict[str, object]:
    try:
        table = parse_json(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {error}", next_step="copy it again") from error
    if not isinstance(table, dict):
        raise InputError(f"{path} holds no JSON object")
    return table
