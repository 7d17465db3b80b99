"""Fields of a row of data: a question with its answer, or a text. Messages name file, place and field, never quote."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import InputError
from edgeproof.contracts.parsing import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

HOW = 'write {"question": "…", "answer": "…"} or {"text": "…"}'


def parse_row(text: str, where: str) -> object:
    """Parse the JSON of a row, or of a list of rows; `where` names file and place.

    Raises:
        InputError: it is no JSON, or nested too deeply.

    """
    try:
        value: object = parse_json(text)
    except json.JSONDecodeError as error:
        line = "" if error.lineno == 1 else f"line {error.lineno}, "
        raise _broken(f"{error.msg} ({line}column {error.colno})", where) from error
    except ValueError as error:
        raise _broken(str(error), where) from error
    return value


def as_fields(value: object, where: str, *, strings: bool) -> dict[str, object]:
    """Return a row's fields; with `strings`, a bare string is a text.

    Raises:
        InputError: it is no object, or both a text and a question.

    """
    if isinstance(value, str) and strings:
        value = {"text": value}
    if not isinstance(value, dict):
        raise InputError(f"{where}: not a JSON object", next_step=HOW)
    if "text" in value and ("question" in value or "answer" in value):
        raise InputError(f"{where}: both a text and a question", next_step=HOW)
    return value


def text_of(row: Mapping[str, object], key: str, where: str) -> str:
    """Return a field's text, which is neither missing nor blank, unchanged."""
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        found = "missing" if key not in row else "empty" if isinstance(value, str) else f"a {type(value).__name__}"
        raise InputError(f"{where}: `{key}` is {found}", next_step=HOW)
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise InputError(f"{where}: `{key}` holds a NUL or half a surrogate pair", next_step="save the file as UTF-8")
    return value


def texts_of(row: Mapping[str, object], key: str, where: str) -> tuple[str, ...]:
    """Return a field's list of texts without the white space around them; empty if it is missing."""
    values = row.get(key, [])
    if not isinstance(values, list):
        raise InputError(f"{where}: `{key}` is a {type(values).__name__}", next_step="write a list of texts")
    return tuple(text_of({key: value}, key, where).strip() for value in values)


def template_of(row: Mapping[str, object], key: str, where: str) -> str:
    """Return a template, with {question} in it, or {prompt} in a message; empty if it is missing."""
    if key not in row:
        return ""
    template = text_of(row, key, where)
    if "{question}" not in template and not (key == "message" and "{prompt}" in template):
        raise InputError(f"{where}: `{key}` has no {{question}} in it", next_step=f"add {{question}} to `{key}`")
    return template


def _broken(detail: str, where: str) -> InputError:
    return InputError(f"{where}: broken JSON: {detail}", next_step="one JSON object a line, or one list")
