"""Rows of the data that a pack is made from: questions with answers, or texts.

```
.jsonl  {"question": "…", "answer": "…"}     docs/packs.md; other columns can name the subject
.jsonl  {"text": "…"}                        one text per line
.json   [{"question": …, "answer": …}]       TOFU, MUSE; or one object per line
.json   ["…", "…"]                           MUSE's texts
.txt                                         one text
```
JSON lines are read one at a time, so that a file of 100,000 rows takes little memory.
"""

from __future__ import annotations

import codecs
import hashlib
import json
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import InputError
from edgeproof.contracts.parsing import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MAX_CHARACTERS = 100_000
"""Maximum length of a question or answer."""

READ = ("question", "answer", "aliases", "paraphrases", "decoys", "template", "message", "answer_type", "text")
"""Keys of a row that a pack takes over."""

TOFU = ("paraphrased_answer", "paraphrased_question", "perturbed_answer")
"""Keys of TOFU's perturbed files, read as alias, paraphrase and decoys."""

UNUSED = (*TOFU, "id", "note", "trained", "critical", "surfaces", "delimiter", "task_id", "original_answer")
"""Further keys that are known, and not named as unread."""

_HOW = 'write {"question": "…", "answer": "…"} or {"text": "…"}'
_ENCODINGS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Row(NamedTuple):
    """A question with its answer, or a text.

    Attributes:
        where: file and line, for messages, which never quote the row.
        question: the question; empty for a text.
        answer: the answer; the text itself.
        aliases: other answers that count as right.
        paraphrases: other wordings of the question.
        decoys: wrong answers.
        template: raw prompt with {question}; empty for the default.
        message: user's turn; empty for the default.
        answer_type: as in a pack; empty if it is to be found out.
        fields: all fields of the row, one of which can name the subject.

    """

    where: str
    question: str
    answer: str
    aliases: tuple[str, ...] = ()
    paraphrases: tuple[str, ...] = ()
    decoys: tuple[str, ...] = ()
    template: str = ""
    message: str = ""
    answer_type: str = ""
    fields: Mapping[str, object] = {}

    @property
    def is_text(self) -> bool:
        """Whether it is a text, without a question."""
        return not self.question


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of `path`, by its suffix.

    Raises:
        InputError: the file cannot be read, is not UTF-8 (with its line) or JSON, or a row lacks what it needs.

    """
    if path.suffix not in {".txt", ".json", ".jsonl"}:
        raise InputError(
            f"{path} is not a .txt, .json or .jsonl file", next_step="docs/from-data.md describes the files"
        )
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is not a regular file", next_step="write its content to a file")
    try:
        if path.suffix == ".txt":
            text = _decoded(path.read_bytes(), path.name)
            if text.strip():
                yield Row(path.name, "", text)
        elif path.suffix == ".json" and _is_list(path):
            items = _parsed(_decoded(path.read_bytes(), path.name), path.name)
            assert isinstance(items, list)
            for number, item in enumerate(items):
                yield _row(item, f"{path.name} item {number}", ours=False)
        else:
            for number, line in _lines(path):
                where = f"{path.name} line {number}"
                yield _row(_parsed(line, where), where, ours=path.suffix == ".jsonl")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}", next_step="check the path") from error


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_list(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(1024).removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, with their numbers."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            text = _decoded(line, f"{path.name} line {number}")
            if text.strip():
                yield number, text


def _decoded(content: bytes, where: str) -> str:
    if content.startswith(_ENCODINGS):
        raise InputError(f"{where} is UTF-16, not UTF-8", next_step="save the file as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not UTF-8 (byte {error.start})", next_step="save the file as UTF-8") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _parsed(text: str, where: str) -> object:
    try:
        value: object = parse_json(text)
    except ValueError as error:
        detail = f"{error.msg} (column {error.colno})" if isinstance(error, json.JSONDecodeError) else error
        raise InputError(f"{where}: broken JSON: {detail}", next_step="one JSON object a line, or one list") from error
    return value


def _row(value: object, where: str, *, ours: bool) -> Row:
    if isinstance(value, str) and not ours:
        value = {"text": value}
    if not isinstance(value, dict):
        raise InputError(f"{where}: not a JSON object", next_step=_HOW)
    if "text" in value:
        if "question" in value or "answer" in value:
            raise InputError(f"{where}: both a text and a question", next_step=_HOW)
        return Row(where, "", _text(value, "text", where, longest=None), fields=value)
    alias, paraphrase = ((_text(value, key, where),) if value.get(key) else () for key in TOFU[:2])
    return Row(
        where=where,
        question=_text(value, "question", where),
        answer=_text(value, "answer", where),
        aliases=(*_texts(value, "aliases", where), *alias),
        paraphrases=(*_texts(value, "paraphrases", where), *paraphrase),
        decoys=(*_texts(value, "decoys", where), *_perturbed(value, where)),
        template=_template(value, "template", where) if ours else "",
        message=_template(value, "message", where) if ours else "",
        answer_type=_text(value, "answer_type", where) if value.get("answer_type") else "",
        fields=value,
    )


def _text(row: Mapping[str, object], key: str, where: str, *, longest: int | None = MAX_CHARACTERS) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        found = "missing" if key not in row else "empty" if isinstance(value, str) else f"a {type(value).__name__}"
        raise InputError(f"{where}: `{key}` is {found}", next_step=_HOW)
    if longest is not None and len(value) > longest:
        raise InputError(
            f"{where}: `{key}` has {len(value)} characters; at most {longest} are read",
            next_step='give long texts as {"text": "…"}',
        )
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise InputError(f"{where}: `{key}` holds a NUL or half a surrogate pair", next_step="save the file as UTF-8")
    return value.strip() if longest else value


def _texts(row: Mapping[str, object], key: str, where: str) -> tuple[str, ...]:
    values = row.get(key, [])
    if not isinstance(values, list):
        raise InputError(f"{where}: `{key}` is a {type(values).__name__}", next_step="write a list of texts")
    return tuple(_text({key: value}, key, where) for value in values)


def _perturbed(row: Mapping[str, object], where: str) -> tuple[str, ...]:
    value = row.get(TOFU[2])
    if value is None:
        return ()
    return (_text(row, TOFU[2], where),) if isinstance(value, str) else _texts(row, TOFU[2], where)


def _template(row: Mapping[str, object], key: str, where: str) -> str:
    if key not in row:
        return ""
    template = str(row[key]) if isinstance(row[key], str) else _text(row, key, where)
    if "{question}" not in template and not (key == "message" and "{prompt}" in template):
        raise InputError(f"{where}: `{key}` has no {{question}} in it", next_step=f"add {{question}} to `{key}`")
    return template
