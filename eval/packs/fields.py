"""Strict readers of a pack's fields: type and size are checked, errors name file and line."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import PackError
from edgeproof.eval.packs.files import MAX_FILE_BYTES, is_hidden

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edgeproof.eval.packs.files import PackFile, PackFiles

MAX_CHARACTERS = 100_000
"""Maximum length of a text, in characters; no phone's context holds more."""

MAX_NAME = 120
_NAME = re.compile(r"[^\W_](?:[\w .,:;+()&'’-]*[\w).])?")

_FIX = "fix the pack; docs/packs.md describes the format"


def fail(where: str, what: str, next_step: str = _FIX) -> PackError:
    """Return the error for `what` at `where` ("forget.jsonl line 3")."""
    return PackError(f"{where}: {what}", next_step=next_step)


def text_of(value: object, where: str, key: str) -> str:
    """Return a non-blank string, or raise."""
    if not isinstance(value, str):
        raise fail(where, f"`{key}` must be a string, not {_kind(value)}")
    if not value.strip():
        raise fail(where, f"`{key}` is empty")
    return _sane(value, where, key)


def any_text_of(value: object, where: str, key: str) -> str:
    """Return a string that may be empty, or raise."""
    if not isinstance(value, str):
        raise fail(where, f"`{key}` must be a string, not {_kind(value)}")
    return _sane(value, where, key)


def texts_of(value: object, where: str, key: str) -> tuple[str, ...]:
    """Return a list of such strings as a tuple, or raise."""
    if not isinstance(value, list):
        raise fail(where, f"`{key}` must be a list of strings, not {_kind(value)}")
    return tuple(text_of(item, where, f"{key}[{index}]") for index, item in enumerate(value))


def flag_of(value: object, where: str, key: str) -> bool:
    """Return true or false, or raise."""
    if not isinstance(value, bool):
        raise fail(where, f"`{key}` must be true or false, not {_kind(value)}")
    return value


def count_of(value: object, where: str, key: str, *, least: int) -> int:
    """Return an integer of at least `least`, or raise."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise fail(where, f"`{key}` must be a whole number, not {_kind(value)}")
    if not least <= value <= 10**9:
        raise fail(where, f"`{key}` must be between {least} and 10⁹, not {value}")
    return value


def name_of(value: object, where: str, key: str) -> str:
    """Return an id, cluster or surface name: short and printable, since reports and file names contain it."""
    name = str(value) if isinstance(value, int) and not isinstance(value, bool) else text_of(value, where, key)
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        raise fail(
            where, f"`{key}` must be at most {MAX_NAME} letters, digits and -_.,:;+()&' (no / and no line break)"
        )
    return name


def tables_of(table: Mapping[str, object], key: str, where: str) -> list[dict[str, object]]:
    """Return a list of tables, empty if missing, or raise."""
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise fail(where, f"write `{key}` as [[{key}]] tables")
    return value


def choice_of(value: object, where: str, key: str, choices: list[str]) -> str:
    """Return one of `choices`, or raise."""
    chosen = text_of(value, where, key) if value is not None else ""
    if chosen not in choices:
        raise fail(where, f"`{key}` is {chosen[:MAX_NAME]!r}", f"one of: {', '.join(choices)}")
    return chosen


def check_keys(table: Mapping[str, object], allowed: Iterable[str], where: str) -> None:
    """Raise if `table` has an unknown key: a misspelt one would be ignored silently."""
    known = sorted(allowed)
    for key in table:
        if key not in known:
            raise fail(where, f"unknown key `{key[:MAX_NAME]}`", f"known here: {', '.join(known)}")


def file_inside(files: PackFiles, value: object, where: str, key: str) -> PackFile:
    """Return the file that `value` names inside the pack, or raise."""
    name = text_of(value, where, key)
    try:
        found = files.find(name)
    except PackError as error:
        raise fail(where, f"`{key}` = {error.message}", error.next_step) from error
    if found is None:
        raise fail(where, f"`{key}` = {name!r}: there is no such file in the pack")
    if is_hidden(name) or is_hidden(found.path):
        # It would be used without being part of the digest of the pack's files.
        raise fail(where, f"`{key}` = {name!r} is hidden (its name begins with a dot)", "remove the dot from its name")
    return found


def read_text(file: PackFile) -> str:
    """Read a UTF-8 file of at most `MAX_FILE_BYTES`, without a byte-order mark, or raise."""
    try:
        content = file.read()
    except OSError as error:
        raise fail(file.name, f"cannot be read: {error.strerror or error}") from error
    if len(content) > MAX_FILE_BYTES:
        raise fail(file.name, f"{len(content)} bytes; a probe file has at most {MAX_FILE_BYTES}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise fail(file.name, f"not UTF-8 at byte {error.start}", "save the file as UTF-8") from error
    # Normalize line ends, as text mode does.
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse_json(text: str, name: str, *, line: int | None = None) -> object:
    """Parse JSON strictly: no NaN, Infinity or duplicate keys. `text` is line `line` of the file `name`, or all."""
    where = name if line is None else f"{name} line {line}"
    try:
        value: object = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        where = f"{name} line {error.lineno if line is None else line}"
        raise fail(where, f"broken JSON: {error.msg} (column {error.colno})") from error
    except ValueError as error:  # NaN, a duplicate key, a number of thousands of digits
        raise fail(where, f"broken JSON: {error}") from error
    except RecursionError as error:
        raise fail(where, "broken JSON: nested too deeply") from error
    return value


def _sane(value: str, where: str, key: str) -> str:
    if len(value) > MAX_CHARACTERS:
        raise fail(where, f"`{key}` has {len(value)} characters; at most {MAX_CHARACTERS} are read")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise fail(where, f"`{key}` holds a NUL or half a surrogate pair")
    return value


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return {bool: "true/false", int: "a number", float: "a number", str: "a string", list: "a list"}.get(
        type(value), "a table"
    )


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a number")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key appears twice in one object")
    return table
