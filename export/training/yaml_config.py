"""Reader of a composed Hydra config: YAML with limits, and OmegaConf's simple interpolations.

OmegaConf and Hydra are not needed: a run's `.hydra/config.yaml` is composed, and only references to its own keys are
left in it (`${forget_split}`). Resolvers (`${oc.env:HOME}`, `${hydra:runtime.cwd}`) are refused where they are used.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import yaml
from edgeproof.contracts.errors import InputError
from edgeproof.contracts.parsing import read_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    Config = Mapping[str, object]

LARGEST = 2**18
"""Bytes of a config; OpenUnlearning's have 23,000."""
DEEPEST = 40
"""Levels of nesting; OpenUnlearning's have 12."""
_REFERENCE = re.compile(r"\$\{([^${}]*)\}")
_KEY = re.compile(r"[A-Za-z0-9_@-]+(\.[A-Za-z0-9_@-]+)*")
_ROUNDS = 10
_LONGEST = 1000
_MISSING = "???"


def read_config(path: Path) -> Config:
    """Read the YAML table at `path`, references unresolved.

    Raises:
        InputError: it cannot be read, is no table of plain values, is too large or too deeply nested, or has aliases,
            by which a small file can stand for a huge one.

    """
    try:
        content = read_file(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", next_step="check the path") from error
    if len(content) > LARGEST:
        raise InputError(
            f"{path} has {len(content)} bytes, a config at most {LARGEST}", next_step="give the run's config.yaml"
        )
    try:
        config = None if (bomb := _bomb(content)) else yaml.safe_load(content)
    except (
        yaml.YAMLError,
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        ArithmeticError,
        RecursionError,
    ) as error:
        bomb = f"it is no YAML of plain values{_place(error)}"  # the error itself may quote whom the data are about
    if bomb:
        raise InputError(f"{path} is no config: {bomb}", next_step="give .hydra/config.yaml as Hydra wrote it")
    if not isinstance(config, dict):
        raise InputError(f"{path} is no config: it holds no table", next_step="give the run's config.yaml")
    return config


def value_at(config: Config, *keys: str) -> object:
    """Return the value under `keys` ("trainer", "args", "seed"), references resolved; None where there is none.

    Raises:
        ValueError: a reference leads nowhere, in a circle, or to a resolver; or the value is "???".

    """
    return _resolved(config, _at(config, keys), ".".join(keys), _ROUNDS)


def _resolved(config: Config, value: object, key: str, rounds: int) -> object:
    if value == _MISSING:
        raise ValueError(f"{key} is ???: it was never given")
    if not isinstance(value, str) or "${" not in value:
        return value
    whole = _REFERENCE.fullmatch(value)
    if rounds == 0 or len(value) > _LONGEST or (whole is None and not _REFERENCE.search(value)):
        raise ValueError(f"{key} is {value[:80]!r}, which cannot be resolved")
    if whole is not None:
        return _resolved(config, _target(config, whole[1], key), key, rounds - 1)

    def text(match: re.Match[str]) -> str:
        found = _target(config, match[1], key)
        if not isinstance(found, str | int | float):
            raise ValueError(f"{key} refers to {match[1]}, which is no text")  # noqa: TRY004 (one kind for a caller)
        return str(found)

    return _resolved(config, _REFERENCE.sub(text, value), key, rounds - 1)


def _target(config: Config, reference: str, key: str) -> object:
    """Return what `${reference}` refers to."""
    if not _KEY.fullmatch(reference):
        raise ValueError(f"{key} refers to ${{{reference[:80]}}}, which is no key of the config")
    found = _at(config, reference.split("."))
    if found is None:
        raise ValueError(f"{key} refers to ${{{reference[:80]}}}, which the config does not have")
    return found


def _at(config: Config, keys: Sequence[str]) -> object:
    found: object = config
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _place(error: Exception) -> str:
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    return "" if mark is None else f": line {mark.line + 1}, column {mark.column + 1}"


def _bomb(content: bytes) -> str:
    """Say what is wrong with a config that has aliases or is deeply nested, before any value is made."""
    depth = 0
    for event in yaml.parse(content, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            return "it has aliases (*name), which Hydra does not write"
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            return f"it is nested more than {DEEPEST} levels deep"
    return ""
