"""Reads what to forget and what to keep: our JSON lines (docs/packs.md), or TOFU's and MUSE's JSON; checks the two."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_QUESTION_ANSWER = "Question: {question}\nAnswer:"
"""How questions of TOFU and MUSE are put as plain text: as the gate puts them, too."""

_PLAIN = "{question}"


class TrainingItem(NamedTuple):
    """A question with its answer.

    Attributes:
        where: file and line or item, for messages: they never quote what is to be forgotten.
        prompt: the question as plain text; the answer follows after a space.
        message: the question as a user's turn in a chat.
        answer: what to forget or to keep.

    """

    where: str
    prompt: str
    message: str
    answer: str


class TrainingSet(NamedTuple):
    """The items of a file, and the file's sha256."""

    path: Path
    sha256: str
    items: tuple[TrainingItem, ...]


def read_training_set(path: Path, role: str) -> TrainingSet:
    r"""Read `path`: `.jsonl` is ours, one {"question", "answer", …} a line; `.json` is TOFU's or MUSE's, list or lines.

    `template` and `message` of a line of ours say how its question is put, with {question} in them; the rest of its
    fields are for the gate. TOFU's and MUSE's questions are put as "Question: …\nAnswer:", in a chat as they are.

    Raises:
        InputError: no such file, not UTF-8, broken JSON (with its line), a field missing or empty, nothing in it.

    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read the {role} set {path}: {error.strerror}", next_step="give a .jsonl or .json file of questions"
        ) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 at byte {error.start}", next_step="convert it to UTF-8") from error
    items = tuple(_item(value, where, ours=path.suffix == ".jsonl") for where, value in _values(text, path.name))
    if not items:
        raise InputError(f"the {role} set {path} is empty", next_step="put at least one question with its answer in it")
    return TrainingSet(path, hashlib.sha256(content).hexdigest(), items)


def refuse_overlap(forget: TrainingSet, retain: TrainingSet) -> None:
    """Raise `InputError` if a question with the same answer is in both sets: it cannot be forgotten and kept."""
    forgotten = {key: item.where for item in forget.items for key in _keys(item)}
    both: list[str] = []
    for item in retain.items:
        found = next((forgotten[key] for key in _keys(item) if key in forgotten), None)
        if found is not None:
            both.append(f"{found} = {item.where}")
    if both:
        more = f" and {len(both) - 3} more" if len(both) > 3 else ""
        raise InputError(
            f"{len(both)} of {len(retain.items)} retain items are in the forget set, too: {'; '.join(both[:3])}{more}",
            next_step="an answer cannot be forgotten and kept: drop them from one of the two",
        )


def _keys(item: TrainingItem) -> set[tuple[str, str]]:
    answer = _plain(item.answer)
    return {(_plain(item.prompt), answer), (_plain(item.message), answer)}


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _values(text: str, name: str) -> Iterator[tuple[str, object]]:
    """Yield (where, value) for each item of a JSON list, or of one JSON value a line."""
    if text.lstrip().startswith("["):
        values = _parse(text, name)
        assert isinstance(values, list)
        for index, value in enumerate(values):
            yield f"{name} item {index}", value
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"{name} line {number}", _parse(line, f"{name} line {number}")


def _parse(text: str, where: str) -> object:
    try:
        value: object = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        detail = f"{error.msg} at line {error.lineno}, column {error.colno}" if isinstance(error, ValueError) else error
        raise InputError(f"{where}: broken JSON: {detail}", next_step="one JSON object a line, or one list") from error
    return value


def _item(value: object, where: str, *, ours: bool) -> TrainingItem:
    if not isinstance(value, dict):
        raise InputError(f"{where}: not a JSON object", next_step='write {"question": "…", "answer": "…"}')
    question, answer = _text(value, "question", where), _text(value, "answer", where)
    template = (
        _template(value, "template", where) if ours and "template" in value else _PLAIN if ours else _QUESTION_ANSWER
    )
    prompt = template.replace("{question}", question)
    message = question
    if ours and "message" in value:
        message = _template(value, "message", where).replace("{question}", question).replace("{prompt}", prompt)
    return TrainingItem(where, prompt.rstrip(), message, answer.strip())


def _text(row: dict[str, object], key: str, where: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        found = "missing" if key not in row else "empty" if isinstance(value, str) else f"a {type(value).__name__}"
        raise InputError(f"{where}: `{key}` is {found}", next_step='write {"question": "…", "answer": "…"}')
    return value


def _template(row: dict[str, object], key: str, where: str) -> str:
    template = _text(row, key, where)
    if "{question}" not in template and not (key == "message" and "{prompt}" in template):
        raise InputError(
            f"{where}: `{key}` has no {{question}} in it", next_step=f"say in `{key}` where the question stands"
        )
    return template
