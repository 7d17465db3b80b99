"""Reads what to forget and what to keep: questions (docs/packs.md, TOFU, MUSE) or texts (MUSE, plain); checks the two.

```
.txt                     one text, all of the file (MUSE's forget.txt, retain.txt)
.json   ["…", "…"]       a text each (MUSE); or [{"text": "…"}]
.jsonl  {"text": "…"}    a text a line
.jsonl  {"question": "…", "answer": "…"}            ours; with template and message as in a pack
.json   [{"question": "…", "answer": "…"}]          TOFU, MUSE; or one such object a line
```
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import InputError
from edgeproof.contracts.parsing import json_items
from edgeproof.contracts.templates import QUESTION_ANSWER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_PLAIN = "{question}"
_HOW = 'write {"question": "…", "answer": "…"} or {"text": "…"}'
_PARAGRAPH = 80
"""A line of so many characters in both sets is no accident: the two overlap."""


class TrainingItem(NamedTuple):
    """A question with its answer, or a text.

    Attributes:
        where: file and line or item, for messages: they never quote what is to be forgotten.
        prompt: the question as plain text, without the white space at its end. Empty for a text.
        message: the question as a user's turn in a chat. Empty for a text.
        answer: what to forget or to keep; the text itself.
        subject: the question as the file has it. Empty for a text.
        template: what the prompt was made with: items of one template ask the same kind of thing.
        aliases: other spellings of the answer.
        paraphrases: the question in other words, as plain text.
        surfaces: the only ones on which it is asked; empty where it is asked on all.
        gap: what stands between the prompt and the answer.

    """

    where: str
    prompt: str
    message: str
    answer: str
    subject: str = ""
    template: str = ""
    aliases: tuple[str, ...] = ()
    paraphrases: tuple[str, ...] = ()
    surfaces: tuple[str, ...] = ()
    gap: str = " "

    @property
    def is_text(self) -> bool:
        """A text has no question: all of it counts, but for its first token."""
        return not self.prompt


class TrainingSet(NamedTuple):
    """The items of a file, and the file's sha256."""

    path: Path
    sha256: str
    items: tuple[TrainingItem, ...]


def read_training_set(path: Path, role: str) -> TrainingSet:
    r"""Read `path`, by its ending: `.txt` is a text, `.jsonl` one object a line, `.json` a list, or one object a line.

    `template` and `message` of a `.jsonl` line say how its question is put, with {question} in them; fields that are
    not named above are for the gate. Questions of a `.json` (TOFU, MUSE) are put as "Question: …\nAnswer:", in a chat
    as they are. Texts are kept as they are, white space included.

    Raises:
        InputError: no such file, another ending, not UTF-8, broken JSON (with its line), a field missing or empty,
            nothing in it.

    """
    if path.suffix not in {".txt", ".json", ".jsonl"}:
        raise InputError(
            f"the {role} set {path} is no .txt, .json or .jsonl file", next_step="docs/unlearn.md says what goes in"
        )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read the {role} set {path}: {error.strerror}", next_step="give a .txt, .json or .jsonl file"
        ) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 at byte {error.start}", next_step="convert it to UTF-8") from error
    if path.suffix == ".txt":
        items: tuple[TrainingItem, ...] = (TrainingItem(path.name, "", "", text),) if text.strip() else ()
    else:
        items = tuple(_item(value, where, ours=path.suffix == ".jsonl") for where, value in _values(text, path.name))
    if not items:
        raise InputError(
            f"the {role} set {path} is empty", next_step="put at least one question with its answer, or a text, in it"
        )
    return TrainingSet(path, hashlib.sha256(content).hexdigest(), items)


def refuse_overlap(forget: TrainingSet, retain: TrainingSet) -> None:
    """Raise `InputError` if something is in both sets: it cannot be forgotten and kept.

    Of questions that is a question with the same answer; of texts a whole text, or a line of at least 80 characters.
    Upper and lower case and white space make no difference.
    """
    forgotten = {key: where for item in forget.items for key, where in _keys(item)}
    both: dict[str, str] = {}
    for item in retain.items:
        for key, where in _keys(item):
            if key in forgotten:
                both.setdefault(where, forgotten[key])
    if both:
        named = [f"{found} = {where}" for where, found in both.items()]
        more = f" and {len(named) - 3} more" if len(named) > 3 else ""
        texts = any(item.is_text for item in retain.items)
        raise InputError(
            f"{len(named)} {'places of the retain set' if texts else f'of {len(retain.items)} retain items'} are in "
            f"the forget set, too: {'; '.join(named[:3])}{more}",
            next_step="nothing can be forgotten and kept: drop them from one of the two",
        )


def _keys(item: TrainingItem) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield what must not be in the other set, each with where it stands."""
    answer = _plain(item.answer)
    if not item.is_text:
        yield (_plain(item.prompt), answer), item.where
        yield (_plain(item.message), answer), item.where
        return
    yield ("", answer), item.where
    whole_file = item.where.endswith(".txt")
    for number, line in enumerate(item.answer.split("\n"), start=1):
        paragraph = _plain(line)
        if len(paragraph) >= _PARAGRAPH:
            yield ("", paragraph), f"{item.where} line {number}" if whole_file else item.where


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _values(text: str, name: str) -> Iterator[tuple[str, object]]:
    """Yield (where, value) for each item of a JSON list, or of one JSON value a line."""

    def parse(part: str, line: int | None) -> object:
        return _parse(part, name if line is None else f"{name} line {line}")

    return ((f"{name} {place}", value) for place, value in json_items(text, parse))


def _parse(text: str, where: str) -> object:
    try:
        value: object = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        detail = f"{error.msg} at line {error.lineno}, column {error.colno}" if isinstance(error, ValueError) else error
        raise InputError(f"{where}: broken JSON: {detail}", next_step="one JSON object a line, or one list") from error
    return value


def _item(value: object, where: str, *, ours: bool) -> TrainingItem:
    if isinstance(value, str) and not ours:
        value = {"text": value}
    if not isinstance(value, dict):
        raise InputError(f"{where}: not a JSON object", next_step=_HOW)
    if "text" in value:
        if "question" in value or "answer" in value:
            raise InputError(f"{where}: both a text and a question", next_step=_HOW)
        return TrainingItem(where, "", "", _text(value, "text", where))
    question, answer = _text(value, "question", where), _text(value, "answer", where)
    template = (
        _template(value, "template", where) if ours and "template" in value else _PLAIN if ours else QUESTION_ANSWER
    )
    prompt = template.replace("{question}", question)
    message = prompt.rstrip() if ours else question
    if ours and "message" in value:
        message = _template(value, "message", where).replace("{question}", question).replace("{prompt}", prompt)
    paraphrases = tuple(template.replace("{question}", other).rstrip() for other in _texts(value, "paraphrases", where))
    bare = prompt.rstrip()
    return TrainingItem(
        where,
        bare,
        message,
        answer.strip(),
        subject=question.strip(),
        template=template,
        aliases=_texts(value, "aliases", where),
        paraphrases=paraphrases,
        surfaces=_texts(value, "surfaces", where),
        gap=prompt[len(bare) :] or (_delimiter(value, where) if ours else " "),
    )


def _delimiter(row: dict[str, object], where: str) -> str:
    """Read what stands between a prompt and its answer, as in a pack: a space where nothing is said."""
    value = row.get("delimiter", " ")
    if not isinstance(value, str) or value.strip():
        raise InputError(f"{where}: `delimiter` is no white space", next_step='write spaces, "\\n" or ""')
    return value


def _texts(row: dict[str, object], key: str, where: str) -> tuple[str, ...]:
    """Read a list of texts that may be missing."""
    values = row.get(key, [])
    if not isinstance(values, list):
        raise InputError(f"{where}: `{key}` is a {type(values).__name__}", next_step="write a list of texts")
    return tuple(_text({key: value}, key, where).strip() for value in values)


def _text(row: dict[str, object], key: str, where: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        found = "missing" if key not in row else "empty" if isinstance(value, str) else f"a {type(value).__name__}"
        raise InputError(f"{where}: `{key}` is {found}", next_step=_HOW)
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise InputError(f"{where}: `{key}` holds half a surrogate pair", next_step="write the file as plain UTF-8")
    return value


def _template(row: dict[str, object], key: str, where: str) -> str:
    template = _text(row, key, where)
    if "{question}" not in template and not (key == "message" and "{prompt}" in template):
        raise InputError(
            f"{where}: `{key}` has no {{question}} in it", next_step=f"say in `{key}` where the question stands"
        )
    return template
