"""Converts arguments of the Python API to the types that the stations take."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from edgeproof.contracts.errors import InputError, UnsupportedError, UsageError
from edgeproof.contracts.parsing import read_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeproof.export.options import ExportOptions

StrPath: TypeAlias = str | os.PathLike[str]

KEY_VARIABLE = "EDGEPROOF_PACK_KEY"
"""The environment variable that may hold the identity for encrypted packs, as CI's secrets are handed over."""


@overload
def as_path(given: StrPath) -> Path: ...
@overload
def as_path(given: StrPath | None) -> Path | None: ...
def as_path(given: StrPath | None) -> Path | None:
    """Return the path of a string or path; None stays None."""
    return None if given is None else Path(given)


def as_artifact(given: StrPath) -> Path:
    """Return the path of an artifact, under the name by which its manifest and its report go, also where it is "."."""
    path = Path(given)
    return path.resolve() if path.name in {"", ".."} else path


def as_paths(given: StrPath | Sequence[StrPath]) -> tuple[Path, ...]:
    """Return the paths of an option that may be given several times; one alone needs no list."""
    return (Path(given),) if isinstance(given, str | os.PathLike) else tuple(map(Path, given))


def as_words(given: str | Sequence[str]) -> tuple[str, ...]:
    """Return the values of an option that may be given several times; one alone needs no list."""
    return (given,) if isinstance(given, str) else tuple(given)


def as_format(name: str) -> str:
    """Return a format's own name.

    Raises:
        UsageError: there is no such format.

    """
    from edgeproof.export.formats import find_format

    try:
        return find_format(name).name
    except UnsupportedError as error:
        raise UsageError(error.message, next_step=error.next_step) from error


def pack_identity(pack_key: Path | None) -> str | None:
    """Read the identity for encrypted packs: of `pack_key`, else of the environment; None where there is neither."""
    from edgeproof.eval.packs.files import read_identity

    if pack_key is not None:
        try:
            return read_identity(read_file(pack_key).decode("ascii"), str(pack_key))
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise InputError(f"cannot read the key {pack_key}: {reason}", next_step="check --pack-key") from error
    held = os.environ.get(KEY_VARIABLE, "")
    return read_identity(held, f"the environment variable {KEY_VARIABLE}") if held.strip() else None


def export_options(given: Mapping[str, Any]) -> ExportOptions:
    """Return the options of an export among a call's arguments by name."""
    from edgeproof.export.options import ExportOptions

    return ExportOptions(
        imatrix=as_path(given["imatrix"]),
        tensor_types=as_words(given["tensor_type"]),
        converter=as_path(given["converter"]),
        allow_requantize=given["allow_requantize"],
        unmerged=given.get("unmerged", False),
        shared_scales=given["shared_scales"],
        small_embedding=given["small_embedding"],
        onnx_builder=given["onnx_builder"],
        name=given["name"],
    )


def equivalent_command(job: Callable[..., object], verb: str, given: Mapping[str, object]) -> tuple[str, ...]:
    """Return the command line that does the same as a call of `job`, for manifests and reports.

    Args:
        job: the function; what equals a default of its signature is left out.
        verb: the name of its command.
        given: its arguments by name; those that are no options (`progress`, `command`) are left out.

    """
    import inspect

    words = ["export-edge", verb]
    for name, parameter in inspect.signature(job).parameters.items():
        value = given.get(name)
        if name in {"progress", "command"} or value is None or value == parameter.default or callable(value):
            continue
        option = f"--{name.replace('_', '-')}"
        if parameter.kind is not parameter.KEYWORD_ONLY:
            words.append(str(value))
        elif isinstance(value, bool):
            words.append(option)
        else:
            items = value if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
            for item in items:
                words += [option, str(item)]
    return tuple(words)
