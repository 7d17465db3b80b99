"""`export-edge inspect`: what is this adapter, artifact, pack or report; with base and adapter, what is left in it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from edgeproof.cli import options as opt
from edgeproof.contracts.errors import ArtifactError, InputError, UsageError
from edgeproof.contracts.parsing import parse_json

if TYPE_CHECKING:
    from pathlib import Path


@click.command("inspect")
@click.argument("paths", nargs=-1, required=True, type=opt.PATH, metavar="PATH …")
@click.option("--base", type=opt.PATH, metavar="DIR|GGUF", help="What the artifact was made of.")
@opt.ADAPTERS
@click.option("--imatrix", type=opt.PATH, metavar="FILE", help="The importance matrix that it was quantized with.")
@click.option("--allow-requantize", is_flag=True, help="Accept a quantized GGUF as base.")
@opt.PACK_KEY
@click.option("--disclose", metavar="ID", help="Print one probe of the salted pack PATH with the key to its digest.")
@click.option(
    "--disclosed", type=opt.PATH, metavar="FILE", help="Find the probe that was printed so in the report PATH."
)
@opt.LISTENING
def command(
    paths: tuple[Path, ...],
    *,
    base: Path | None,
    adapters: tuple[Path, ...],
    imatrix: Path | None,
    allow_requantize: bool,
    pack_key: Path | None,
    disclose: str | None,
    disclosed: Path | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Say what PATH is; with --base and --adapter, how much of the adapters is left in the artifact PATH.

    From the tensors alone, without running the model: the share of codes that moved, how much of the change survived
    the rounding, and whether the file is the merge, the base, merged twice, or something else.

    Exit codes: 0 done, whatever was found; 3 where it could not be read.
    """
    if (base is None) != (not adapters):
        raise UsageError(
            "--base and --adapter go together: the survival map needs both", next_step="give both, or leave both out"
        )
    if disclose is not None or disclosed is not None:
        if len(paths) != 1 or base is not None or (disclose is not None and disclosed is not None):
            raise UsageError("--disclose takes one PACK, --disclosed one report; neither goes with anything else")
        if disclose is not None:
            click.echo(json.dumps(_disclose(paths[0], disclose, pack_key), ensure_ascii=False))
            return 0
    if base is None:
        if imatrix is not None or allow_requantize:
            raise UsageError("--imatrix and --allow-requantize belong to the survival map, which needs --base")
        results = [
            {"path": str(path)} | (describe_path(path, pack_key) if disclosed is None else _disclosed(path, disclosed))
            for path in paths
        ]
    else:
        results = [
            _survival(path, base, adapters, imatrix, allow_requantize=allow_requantize, quiet=quiet) for path in paths
        ]
    if as_json:
        click.echo(json.dumps({"inspected": results}, allow_nan=False))
    elif base is None:
        for result in results:
            _show(result)
    return 0


def describe_path(path: Path, pack_key: Path | None = None) -> dict[str, object]:
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
    quiet: bool,
) -> dict[str, object]:
    from edgeproof.cli.progress import Terminal
    from edgeproof.export.survival.measure import survival_map
    from edgeproof.export.survival.table import as_json, render

    with Terminal(quiet=quiet) as progress:
        found = survival_map(
            base, adapters, path, imatrix=imatrix, allow_requantize=allow_requantize, progress=progress
        )
    if not quiet:
        render(found, path.name, sys.stderr)
    return {"path": str(path), "kind": "survival"} | as_json(found)


def _pack(path: Path, pack_key: Path | None) -> dict[str, object]:
    from collections import Counter

    from edgeproof.eval.packs.reader import load_pack
    from edgeproof.eval.packs.surfaces import unasked

    pack = load_pack(path, opt.pack_identity(pack_key))
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

    return to_json(disclose(load_pack(path, opt.pack_identity(pack_key)), probe))


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


def _show(values: dict[str, object], indent: str = "") -> None:
    """Print names and values to stderr, tables indented; what stands in a table is named as it is."""
    for key, value in values.items():
        if value in (None, "", [], {}, ()):
            continue
        label = f"{indent}{key}:" if indent else f"{key.replace('_', ' ')}:"
        if isinstance(value, dict):
            click.echo(label, err=True)
            _show(value, indent + "  ")
        elif isinstance(value, list) and all(isinstance(item, dict) for item in value):
            click.echo(label, err=True)
            for item in value:
                _show(item, indent + "  ")
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            click.echo(f"{label} {''.join(c if c.isprintable() else '�' for c in shown)}", err=True)
