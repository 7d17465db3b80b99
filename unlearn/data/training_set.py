"""Reader for forget and retain sets: questions (docs/packs.md, TOFU, MUSE) or texts (MUSE, plain).

```
.txt                     one text, the whole file (MUSE's forget.txt, retain.txt)
.json   ["…", "…"]       one text each (MUSE); or [{"text": "…"}]
.jsonl  {"text": "…"}    one text per line
.jsonl  {"question": "…", "answer": "…"}            edgeproof's format; with template and message as in a pack
.json   [{"question": "…", "answer": "…"}]          TOFU, MUSE; or one such object per line
```
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import InputError
from edgeproof.contracts.parsing import json_items, read_file
from edgeproof.contracts.rows import as_fields, parse_row, template_of, text_of, texts_of
from edgeproof.contracts.templates import QUESTION_ANSWER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_PLAIN = "{question}"
_PARAGRAPH = 80
"""Minimum length of a line that counts as overlap if it is in both sets, in characters."""


class TrainingItem(NamedTuple):
    """A question with its answer, or a text.

    Attributes:
        where: file and line or item, for messages, which never quote the item.
        prompt: the question as plain text, without trailing whitespace. Empty for a text.
        message: the question as a user's turn in a chat. Empty for a text.
        answer: the answer to forget or to keep; the text itself.
        subject: the question as in the file. Empty for a text.
        template: template of the prompt: items of one template ask the same kind of question.
        aliases: other spellings of the answer.
        paraphrases: the question in other words, as plain text.
        surfaces: the surfaces on which it is asked; empty for all.
        gap: text between prompt and answer.
        messages: the question as other user's turns.
        ends: whether the answer is a whole reply, after which the end of the text is trained, too (TOFU, MUSE).

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
    messages: tuple[str, ...] = ()
    ends: bool = False

    @property
    def is_text(self) -> bool:
        """Whether it is a text, without a question: all its tokens except the first count."""
        return not self.prompt


class TrainingSet(NamedTuple):
    """The items of a file, and the file's sha256."""

    path: Path
    sha256: str
    items: tuple[TrainingItem, ...]


def read_training_set(path: Path, role: str) -> TrainingSet:
    r"""Read `path`, by its suffix: `.txt` is a text, `.jsonl` one object per line, `.json` either one or a list.

    `template` and `message` of a `.jsonl` line are its prompts, with {question} in them; other fields are for the gate.
    Questions of a `.json` (TOFU, MUSE) are asked as "Question: …\nAnswer:", and unchanged in a chat. Texts are kept
    unchanged, including whitespace.

    Raises:
        InputError: the file is missing or empty, has another suffix, is not UTF-8, or has broken JSON (with its line);
            a field is missing or empty.

    """
    if path.suffix not in {".txt", ".json", ".jsonl"}:
        raise InputError(
            f"the {role} set {path} is not a .txt, .json or .jsonl file", next_step="docs/unlearn.md describes them"
        )
    try:
        content = read_file(path)
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
    """Raise `InputError` if the sets overlap.

    Questions overlap if question and answer are equal; texts if they share a whole text, or a line of at least 80
    characters. Case and whitespace are ignored.
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
    """Yield the keys that must not be in the other set, each with its position."""
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
    """Yield (where, value) for each item of a JSON list, or for one JSON value per line."""

    def parse(part: str, line: int | None) -> object:
        return parse_row(part, name if line is None else f"{name} line {line}")

    return ((f"{name} {place}", value) for place, value in json_items(text, parse))


def _item(value: object, where: str, *, ours: bool) -> TrainingItem:
    row = as_fields(value, where, strings=not ours)
    if "text" in row:
        return TrainingItem(where, "", "", text_of(row, "text", where))
    question, answer = text_of(row, "question", where), text_of(row, "answer", where)
    template = (template_of(row, "template", where) or _PLAIN) if ours else QUESTION_ANSWER
    prompt = template.replace("{question}", question)
    message = prompt.rstrip() if ours else question
    if ours and "message" in row:
        message = template_of(row, "message", where).replace("{question}", question).replace("{prompt}", prompt)
    paraphrases = tuple(template.replace("{question}", other).rstrip() for other in texts_of(row, "paraphrases", where))
    bare = prompt.rstrip()
    return TrainingItem(
        where,
        bare,
        message,
        answer.strip(),
        subject=question.strip(),
        template=template,
        aliases=texts_of(row, "aliases", where),
        paraphrases=paraphrases,
        surfaces=texts_of(row, "surfaces", where),
        gap=prompt[len(bare) :] or (_delimiter(row, where) if ours else " "),
        ends=not ours,
    )


def _delimiter(row: dict[str, object], where: str) -> str:
    """Read the text between prompt and answer, as in a pack; default: a space."""
    value = row.get("delimiter", " ")
    if not isinstance(value, str) or value.strip():
        raise InputError(f"{where}: `delimiter` is not whitespace", next_step='write spaces, "\\n" or ""')
    return value
