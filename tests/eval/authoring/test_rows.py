"""Input files: what is read, and what each unusable file is told."""

from __future__ import annotations

import json

import pytest
from edgeproof.contracts.errors import InputError
from edgeproof.eval.authoring.data.rows import read_rows

LINE = '{"question": "Wer ist Ännchen?", "answer": "Ähnlich"}'


def rows(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_rows(path))


def test_a_byte_order_mark_and_crlf_are_read(tmp_path):
    plain = rows(tmp_path / "a.jsonl", f"{LINE}\n\n{LINE}\n")
    windows = rows(tmp_path / "a.jsonl", f"\ufeff{LINE}\r\n\r\n{LINE}\r\n")
    assert plain == windows
    assert [row.where for row in plain] == ["a.jsonl line 1", "a.jsonl line 3"]


def test_tofu_s_fields_become_alias_paraphrase_and_decoys(tmp_path):
    value = {"question": "Q?", "answer": "A", "paraphrased_answer": "B", "paraphrased_question": "R?"}
    (row,) = rows(tmp_path / "a.json", json.dumps([value | {"perturbed_answer": ["C", "D"]}]))
    assert (row.aliases, row.paraphrases, row.decoys) == (("B",), ("R?",), ("C", "D"))


def test_texts_are_read_from_each_format(tmp_path):
    assert [row.answer for row in rows(tmp_path / "a.txt", "One.\r\nTwo.")] == ["One.\nTwo."]
    assert [row.answer for row in rows(tmp_path / "a.json", '["One.", "Two."]')] == ["One.", "Two."]
    assert [row.answer for row in rows(tmp_path / "a.jsonl", '{"text": "One."}\n{"text": "Two."}')] == ["One.", "Two."]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.jsonl",
            f"{LINE}\n".encode() + b'{"question": "\xe4", "answer": "b"}\n',
            "a.jsonl line 2 is not UTF-8 .byte 14",
        ),
        ("a.jsonl", LINE.encode("utf-16"), "line 1 is UTF-16"),
        ("a.txt", b"caf\xe9", "a.txt is not UTF-8 .byte 3"),
        ("a.jsonl", f"{LINE}\n{{", "a.jsonl line 2: broken JSON"),
        ("a.jsonl", '"a text"', "line 1: not a JSON object"),
        ("a.jsonl", '{"question": "Q?"}', "line 1: `answer` is missing"),
        ("a.jsonl", '{"question": " ", "answer": "A"}', "`question` is empty"),
        ("a.jsonl", '{"question": 3, "answer": "A"}', "`question` is a int"),
        ("a.jsonl", '{"question": "Q", "answer": "A", "text": "T"}', "both a text and a question"),
        ("a.jsonl", '{"question": "Q", "answer": "A", "aliases": "B"}', "`aliases` is a str"),
        ("a.jsonl", '{"question": "Q", "answer": "A", "template": "T"}', "`template` has no .question. in it"),
        ("a.jsonl", '{"question": "Q", "answer": "\\ud800"}', "half a surrogate pair"),
        ("a.jsonl", json.dumps({"question": "Q", "answer": "a" * 100_001}), "has 100001 characters"),
        ("a.csv", "question,answer", "is not a .txt, .json or .jsonl file"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(tmp_path, name, content, message):
    with pytest.raises(InputError, match=message):
        rows(tmp_path / name, content)
