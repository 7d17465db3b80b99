"""The graph of an ONNX folder: the one file that its genai_config.json names.

onnxruntime-genai runs that file. Every reader of a graph gets its path from `graph_file` or `named_graph`. A pipeline,
an encoder, a second graph, an operator library or weights from elsewhere would run on the device without being
measured: folders with any of these are refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import ArtifactError
from edgeproof.contracts.parsing import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from onnx import GraphProto, NodeProto

NAME = "genai_config.json"
GRAPHS = frozenset({".onnx", ".ort"})
DECODER = "model.decoder.filename"
_ELSEWHERE = re.compile(r"filename|librar|path|initializer|pipeline|ep_context|ep\.context", re.IGNORECASE)
"""Keys of genai_config.json that refer to another file."""
_NEXT = "export the folder again, or restore the genai_config.json of its graph"


def is_onnx_folder(path: Path) -> bool:
    """Whether `path` is a folder with a genai_config.json or a graph, complete or not."""
    return path.is_dir() and any(one.name == NAME or one.suffix.lower() in GRAPHS for one in path.iterdir())


def nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """Yield all nodes, including those of branches."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from nodes(attribute.g)


def graph_file(folder: Path) -> Path:
    """Return the path of the graph that `folder`/genai_config.json names; errors as for `named_graph`."""
    return named_graph(folder, read_genai_config(folder))


def named_graph(folder: Path, values: Mapping[str, object]) -> Path:
    """Return the path of the graph that `values`, the content of `folder`/genai_config.json, names.

    Raises:
        ArtifactError: it names no graph, one that is missing, or one outside the folder; the folder has a second graph;
            it names a graph, library or path besides the decoder's.

    """
    path = folder / NAME
    name: object = values
    for part in DECODER.split("."):
        name = name.get(part) if isinstance(name, dict) else None
    if not isinstance(name, str) or not name:
        raise ArtifactError(f"{path}: {DECODER} is {repr(name)[:80]}, not the name of a graph", next_step=_NEXT)
    _refuse_other_graphs(folder, values, name)
    graph = inside(folder, name, f"the graph that {NAME} names")
    if graph.parent != folder:
        raise ArtifactError(
            f"{path}: {DECODER} is {name[:80]!r}; a graph lies in the folder itself, with all that belongs to it",
            next_step=_NEXT,
        )
    return graph


def read_genai_config(folder: Path) -> Mapping[str, object]:
    """Read `folder`/genai_config.json.

    Raises:
        ArtifactError: the file is missing, not JSON, not an object, or gives a key twice, which engines read
            differently.

    """
    if not (folder / NAME).is_file():
        raise ArtifactError(
            f"{folder / NAME}: no such file; it names the graph of an ONNX folder",
            next_step="give a .gguf file, or the folder that holds genai_config.json and its graph",
        )
    return read_json(folder / NAME, pairs=_once)


def read_json(path: Path, *, pairs: Callable[[list[tuple[str, object]]], object] | None = None) -> Mapping[str, object]:
    """Read a JSON object; `pairs` as for `parse_json`.

    Raises:
        ArtifactError: the file is missing, not JSON, or not an object.

    """
    if not path.is_file():
        raise ArtifactError(f"{path}: no such file", next_step="export the folder again")
    try:
        values = parse_json(path.read_bytes(), pairs=pairs)
    except ValueError as error:
        raise ArtifactError(f"{path} is not JSON: {error}", next_step="export the folder again") from error
    if not isinstance(values, dict):
        raise ArtifactError(f"{path} is not a JSON object", next_step="export the folder again")
    return values


def inside(folder: Path, location: str, what: str) -> Path:
    """Return the path of the file `location` in `folder`.

    Raises:
        ArtifactError: the file is missing, or outside the folder by an absolute path, "..", or a link.

    """
    parts = location.replace("\\", "/").split("/")
    if not location or location.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in location:
        raise ArtifactError(
            f"{what} is stored in {location!r}, outside {folder}",
            next_step="do not run this folder: a graph's data must be beside it",
        )
    path = folder / location
    if not path.is_file():
        raise ArtifactError(
            f"{what} is missing: {path}: no such file",
            next_step="copy or export the folder again: it is truncated or incomplete",
        )
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ArtifactError(
            f"{what} is a link that leads out of the folder: {path} → {path.resolve()}",
            next_step="replace the link by a copy of the file",
        )
    return path


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Make a table of `pairs`; a key given twice is a `ValueError`."""
    values = dict(pairs)
    if len(values) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"it gives {next(key for key in keys if keys.count(key) > 1)[:80]!r} twice")
    return values


def _refuse_other_graphs(folder: Path, values: Mapping[str, object], graph: str) -> None:
    """Check that `folder` has no graph besides `graph`, and that `values` refer to no other file."""
    others = sorted(one.name for one in folder.iterdir() if one.suffix.lower() in GRAPHS and one.name != graph)
    if others:
        raise ArtifactError(
            f"{folder} holds {len(others)} graphs beside {graph}: {', '.join(others[:3])}; only {graph} is measured",
            next_step="remove the files that do not belong to this model, or export again",
        )
    for key, value in _leaves(values, ""):
        if key != DECODER and _ELSEWHERE.search(key) and value not in (None, "", False):
            raise ArtifactError(
                f"{folder / NAME}: {key} is {str(value)[:80]!r}: it refers to a file that is not measured",
                next_step="remove the key, or gate a folder with one decoder graph",
            )


def _leaves(values: Mapping[str, object], place: str) -> Iterator[tuple[str, object]]:
    """Yield all values except tables, by their path in the file."""
    for key, value in values.items():
        where = f"{place}.{key}" if place else str(key)
        parts = [value] if isinstance(value, dict) else value if isinstance(value, list) else []
        tables = [part for part in parts if isinstance(part, dict)]
        for table in tables:
            yield from _leaves(table, where)
        if not tables and value != {}:
            yield where, value
