"""Describes an adapter, an artifact, a pack, a report or a baseline by its content."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import ArtifactError, InputError
from edgeproof.contracts.onnx_folder import is_onnx_folder
from edgeproof.contracts.parsing import parse_json, read_file
from edgeproof.release.steps.arguments import pack_identity
from edgeproof.release.steps.describe_run import describe_run, is_run

if TYPE_CHECKING:
    from pathlib import Path


def describe(path: Path, pack_key: Path | None = None) -> dict[str, object]:
    """Describe an adapter, an artifact, a pack, a report, a baseline or an unlearning run of OpenUnlearning.

    Raises:
        InputError: it is missing, damaged, or none of these.

    """
    from edgeproof.export.artifact.summary import describe_adapter, describe_artifact

    if not path.exists():
        raise InputError(f"{path} does not exist", next_step="check the path")
    if is_run(path):
        return describe_run(path)
    if path.is_dir():
        if (path / "adapter_config.json").is_file():
            return describe_adapter(path)
        if is_onnx_folder(path):
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
        f"{path} is no adapter (adapter_config.json), ONNX folder (genai_config.json), pack (pack.toml) or "
        "report (report.json)",
        next_step="give one of these, or a .gguf file",
    )


def disclose_probe(path: Path, probe: str, pack_key: Path | None) -> dict[str, str]:
    """Return a probe of a salted pack, with the key to its digest."""
    from edgeproof.eval.packs.reader import load_pack
    from edgeproof.eval.report.disclosure import disclose, to_json

    return to_json(disclose(load_pack(path, pack_identity(pack_key)), probe))


def describe_disclosed(path: Path, shown: Path) -> dict[str, object]:
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


def _pack(path: Path, pack_key: Path | None) -> dict[str, object]:
    from collections import Counter

    from edgeproof.eval.packs.files import open_pack
    from edgeproof.eval.packs.reader import read_pack
    from edgeproof.eval.packs.surfaces import unasked

    files = open_pack(path, pack_identity(pack_key))
    pack = read_pack(files, str(path))
    clusters = Counter(role for role, _ in dict.fromkeys((probe.role.value, probe.cluster) for probe in pack.probes))
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
        "files_sha256": files.digest(),
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
        table = parse_json(read_file(path))
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {error}", next_step="copy it again") from error
    if not isinstance(table, dict):
        raise InputError(f"{path} holds no JSON object")
    return table
