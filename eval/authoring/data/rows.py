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
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import InputError
from edgeproof.contracts.rows import as_fields, parse_row, template_of, text_of, texts_of

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
            items = parse_row(_decoded(path.read_bytes(), path.name), path.name)
            assert isinstance(items, list)
            for number, item in enumerate(items):
                yield _row(item, f"{path.name} item {number}", ours=False)
        else:
            for number, line in _lines(path):
                where = f"{path.name} line {number}"
                yield _row(parse_row(line, where), where, ours=path.suffix == ".jsonl")
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


def _row(value: object, where: str, *, ours: bool) -> Row:
    row = as_fields(value, where, strings=not ours)
    if "text" in row:
        return Row(where, "", text_of(row, "text", where), fields=row)
    alias, paraphrase = ((_short(row, key, where),) if row.get(key) else () for key in TOFU[:2])
    return Row(
        where=where,
        question=_short(row, "question", where),
        answer=_short(row, "answer", where),
        aliases=(*texts_of(row, "aliases", where), *alias),
        paraphrases=(*texts_of(row, "paraphrases", where), *paraphrase),
        decoys=(*texts_of(row, "decoys", where), *_perturbed(row, where)),
        template=template_of(row, "template", where) if ours else "",
        message=template_of(row, "message", where) if ours else "",
        answer_type=_short(row, "answer_type", where) if row.get("answer_type") else "",
        fields=row,
    )


def _short(row: Mapping[str, object], key: str, where: str) -> str:
    value = text_of(row, key, where)
    if len(value) > MAX_CHARACTERS:
        raise InputError(
            f"{where}: `{key}` has {len(value)} characters; at most {MAX_CHARACTERS} are read",
            next_step='give long texts as {"text": "…"}',
        )
    return value.strip()


def _perturbed(row: Mapping[str, object], where: str) -> tuple[str, ...]:
    value = row.get(TOFU[2])
    if value is None:
        return ()
    return (_short(row, TOFU[2], where),) if isinstance(value, str) else texts_of(row, TOFU[2], where)
