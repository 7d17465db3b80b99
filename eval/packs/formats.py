"""Readers of probe files: edgeproof's JSON lines, and the published JSON of TOFU and MUSE."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.parsing import json_items
from edgeproof.contracts.templates import QUESTION_ANSWER
from edgeproof.eval.metrics.knowmem import MAX_TOKENS as KNOWMEM_TOKENS
from edgeproof.eval.metrics.knowmem import STOP as KNOWMEM_STOP
from edgeproof.eval.packs import fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from edgeproof.eval.packs.files import PackFile


@dataclass(frozen=True)
class RawProbe:
    """A probe as stored in its file; None for fields that the file lacks and the set defines.

    `extra` holds the fields that only `cluster = "FIELD"` of the set uses.
    """

    where: str
    question: str
    answer: str
    id: str | None = None
    aliases: tuple[str, ...] = ()
    paraphrases: tuple[str, ...] = ()
    decoys: tuple[str, ...] = ()
    trained: bool | None = None
    critical: bool = False
    template: str | None = None
    message: str | None = None
    answer_type: str | None = None
    extra: Mapping[str, object] | None = None


class TextSplit(NamedTuple):
    """Number of words of a bare text that are the prompt, and number after them that are the answer (muse-privleak)."""

    prompt_words: int
    answer_words: int


class ProbeFormat(NamedTuple):
    """A file format and its defaults for a set.

    Attributes:
        read: yields the file's probes in order.
        template: the raw prompt, with {question} in it.
        message: the user's turn on chat surfaces; None for the rendered template.
        match: "answer" or "verbatim".
        cluster: "each", "block:N", or a field's name.
        stop: strings that end a greedy raw answer.
        max_tokens: maximum tokens of a greedy raw answer; None for the answer's length and a margin.

    """

    read: Callable[[PackFile, TextSplit], Iterator[RawProbe]]
    template: str
    message: str | None
    match: str
    cluster: str
    stop: tuple[str, ...]
    max_tokens: int | None


LINE_KEYS = (
    "id",
    "cluster",
    "question",
    "answer",
    "aliases",
    "paraphrases",
    "decoys",
    "trained",
    "critical",
    "template",
    "message",
    "answer_type",
    "note",
)


def read_jsonl(file: PackFile, _split: TextSplit) -> Iterator[RawProbe]:
    """Read edgeproof's format: one JSON object per line, keys as in `LINE_KEYS`; others can only serve as clusters."""
    for number, line in enumerate(fields.read_text(file).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{file.name} line {number}"
        row = _object(fields.parse_json(line, file.name, line=number), where)
        yield RawProbe(
            where=where,
            id=fields.name_of(_needed(row, where, "id"), where, "id"),
            question=fields.text_of(_needed(row, where, "question"), where, "question"),
            answer=fields.text_of(_needed(row, where, "answer"), where, "answer"),
            aliases=fields.texts_of(row.get("aliases", []), where, "aliases"),
            paraphrases=fields.texts_of(row.get("paraphrases", []), where, "paraphrases"),
            decoys=fields.texts_of(row.get("decoys", []), where, "decoys"),
            trained=fields.flag_of(row["trained"], where, "trained") if "trained" in row else None,
            critical=fields.flag_of(row.get("critical", False), where, "critical"),
            template=fields.text_of(row["template"], where, "template") if "template" in row else None,
            message=fields.text_of(row["message"], where, "message") if "message" in row else None,
            answer_type=fields.name_of(row["answer_type"], where, "answer_type") if "answer_type" in row else None,
            extra=row,
        )


def read_tofu(file: PackFile, _split: TextSplit) -> Iterator[RawProbe]:
    """Read TOFU's perturbed files, a JSON list or one object per line (github.com/locuslab/tofu).

    `paraphrased_answer` is an alias, `paraphrased_question` a paraphrase, `perturbed_answer` are the decoys.
    """
    for probe, row in _pairs(file, "question", "answer"):
        where = probe.where
        alias, paraphrase, decoys = (
            row.get(key) for key in ("paraphrased_answer", "paraphrased_question", "perturbed_answer")
        )
        yield replace(
            probe,
            aliases=() if alias is None else (fields.text_of(alias, where, "paraphrased_answer"),),
            paraphrases=() if paraphrase is None else (fields.text_of(paraphrase, where, "paraphrased_question"),),
            decoys=() if decoys is None else _one_or_many(decoys, where, "perturbed_answer"),
        )


def read_muse_knowmem(file: PackFile, _split: TextSplit) -> Iterator[RawProbe]:
    """Read MUSE's knowmem files: [{question, answer}]."""
    return (probe for probe, _ in _pairs(file, "question", "answer"))


def read_muse_verbmem(file: PackFile, _split: TextSplit) -> Iterator[RawProbe]:
    """Read MUSE's verbmem files: [{prompt, gt}]; the text after the prompt is the answer."""
    return (probe for probe, _ in _pairs(file, "prompt", "gt"))


def read_muse_privleak(file: PackFile, split: TextSplit) -> Iterator[RawProbe]:
    """Read MUSE's privleak files: [str]. As for verbmem, a text's first words are the prompt, the next ones the answer.

    A text with fewer words than `split` is cut in the middle.
    """
    for where, item in _items(file):
        text = fields.text_of(item, where, "text").strip()
        words = text.split()
        if len(words) < 2:
            raise fields.fail(where, "a single word cannot be split into prompt and answer")
        cut = split.prompt_words if len(words) > split.prompt_words else len(words) // 2
        yield RawProbe(
            where=where, question=" ".join(words[:cut]), answer=" ".join(words[cut : cut + split.answer_words])
        )


FORMATS: Mapping[str, ProbeFormat] = {
    "jsonl": ProbeFormat(read_jsonl, "{question}", None, "answer", "cluster", ("\n",), None),
    "tofu": ProbeFormat(read_tofu, QUESTION_ANSWER, "{question}", "verbatim", "block:20", ("\n",), None),
    "muse-knowmem": ProbeFormat(
        read_muse_knowmem, QUESTION_ANSWER, "{question}", "answer", "each", KNOWMEM_STOP, KNOWMEM_TOKENS
    ),
    "muse-verbmem": ProbeFormat(read_muse_verbmem, "{question}", None, "verbatim", "each", (), None),
    "muse-privleak": ProbeFormat(read_muse_privleak, "{question}", None, "verbatim", "each", (), None),
}
"""Formats by their name in pack.toml. TOFU's files hold 20 consecutive questions per author."""


def _items(file: PackFile) -> Iterator[tuple[str, object]]:
    """Yield (where, value) for each item of a JSON list, or for one JSON value per line."""
    parse = partial(_parse, file.name)
    return ((f"{file.name} {place}", value) for place, value in json_items(fields.read_text(file), parse))


def _parse(name: str, text: str, line: int | None) -> object:
    return fields.parse_json(text, name, line=line)


def _pairs(file: PackFile, question: str, answer: str) -> Iterator[tuple[RawProbe, dict[str, object]]]:
    """Yield a probe for each JSON object, with its question and its answer under these keys, and the object."""
    for where, item in _items(file):
        row = _object(item, where)
        asked, said = (fields.text_of(_needed(row, where, key), where, key) for key in (question, answer))
        yield RawProbe(where=where, question=asked, answer=said, extra=row), row


def _object(value: object, where: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise fields.fail(where, "a probe must be a JSON object {…}")
    return value


def _needed(row: Mapping[str, object], where: str, key: str) -> object:
    if key not in row:
        raise fields.fail(where, f"`{key}` is missing")
    return row[key]


def _one_or_many(value: object, where: str, key: str) -> tuple[str, ...]:
    return (fields.text_of(value, where, key),) if isinstance(value, str) else fields.texts_of(value, where, key)
