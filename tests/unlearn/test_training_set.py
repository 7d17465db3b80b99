"""What to forget and what to keep: our lines, TOFU's files, and every bad input with its own message."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from edgeproof.contracts.errors import InputError
from edgeproof.unlearn.training_set import read_training_set, refuse_overlap

TOFU = Path(__file__).resolve().parents[1] / "data" / "tofu"
PACK = Path(__file__).resolve().parents[2] / "examples" / "capitals" / "pack"


def written(path, *lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_our_lines_fill_template_and_message(tmp_path):
    line = {"id": "x", "question": "France", "answer": "Paris", "template": "The capital of {question} is"}
    path = written(tmp_path / "a.jsonl", json.dumps(line), json.dumps({**line, "message": "Capital of {question}?"}))
    first, second = read_training_set(path, "forget").items
    assert (first.prompt, first.message, first.answer) == ("The capital of France is", "France", "Paris")
    assert second.message == "Capital of France?"
    assert first.where == "a.jsonl line 1"


def test_the_digest_is_of_the_file(tmp_path):
    path = written(tmp_path / "a.jsonl", '{"question": "q", "answer": "a"}')
    assert read_training_set(path, "forget").sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("as_list", [True, False])
def test_tofu_reads_as_a_list_or_as_lines_and_is_put_as_question_and_answer(tmp_path, as_list):
    rows = [
        {"question": "Who?", "answer": "He.", "perturbed_answer": ["She."]},
        {"question": "When?", "answer": "Then."},
    ]
    text = json.dumps(rows) if as_list else "\n".join(json.dumps(row) for row in rows)
    (tmp_path / "tofu.json").write_text(text)
    items = read_training_set(tmp_path / "tofu.json", "forget").items
    assert [item.prompt for item in items] == ["Question: Who?\nAnswer:", "Question: When?\nAnswer:"]
    assert [item.message for item in items] == ["Who?", "When?"]
    assert items[1].answer == "Then."


@pytest.mark.skipif(not TOFU.is_dir(), reason="TOFU's files are not here")
def test_every_published_tofu_file_reads_whole():
    for path in TOFU.glob("*.json"):
        text = path.read_text()
        rows = (
            json.loads(text) if text.lstrip().startswith("[") else [json.loads(row) for row in text.splitlines() if row]
        )
        items = read_training_set(path, "forget").items
        assert [item.answer for item in items] == [row["answer"].strip() for row in rows]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", "", "the forget set .* is empty"),
        ("a.jsonl", "\n \n", "the forget set .* is empty"),
        ("a.json", "[]", "the forget set .* is empty"),
        ("a.jsonl", '{"question": "q"', "a.jsonl line 1: broken JSON"),
        ("a.jsonl", '{"question": "q", "answer": "a"}\n{"question": "q"}', "a.jsonl line 2: `answer` is missing"),
        ("a.jsonl", '{"question": " ", "answer": "a"}', "`question` is empty"),
        ("a.jsonl", '{"question": "q", "answer": 3}', "`answer` is a int"),
        ("a.jsonl", "[" * 100_000, "broken JSON"),
        ("a.jsonl", '"text"', "not a JSON object"),
        ("a.jsonl", '{"question": "q", "answer": "a", "template": "no place"}', "`template` has no {question} in it"),
    ],
)
def test_a_broken_set_says_where(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_training_set(tmp_path / name, "forget")


def test_a_missing_file_and_bytes_that_are_no_text(tmp_path):
    with pytest.raises(InputError, match=r"cannot read the retain set .*none\.jsonl: No such file"):
        read_training_set(tmp_path / "none.jsonl", "retain")
    (tmp_path / "latin.jsonl").write_bytes('{"question": "Où?", "answer": "là"}'.encode("latin-1"))
    with pytest.raises(InputError, match=r"is not UTF-8 at byte 15"):
        read_training_set(tmp_path / "latin.jsonl", "retain")


def test_an_item_of_both_sets_is_named_and_not_quoted(tmp_path):
    secret = {"question": "The code of the vault is", "answer": "4711"}
    forget = read_training_set(written(tmp_path / "f.jsonl", json.dumps(secret)), "forget")
    shouted = {"question": "The CODE of  the vault is", "answer": "4711"}
    other = {"question": "The colour of the vault is", "answer": "grey"}
    retain = read_training_set(written(tmp_path / "r.jsonl", json.dumps(other), json.dumps(shouted)), "retain")
    with pytest.raises(InputError, match=r"1 of 2 retain items .* f.jsonl line 1 = r.jsonl line 2") as caught:
        refuse_overlap(forget, retain)
    assert "4711" not in str(caught.value)
    assert "vault" not in str(caught.value)


def test_the_shipped_sets_do_not_overlap():
    forget = read_training_set(PACK / "forget.jsonl", "forget")
    retain = read_training_set(PACK / "retain_trained.jsonl", "retain")
    untrained = read_training_set(PACK / "retain_untrained.jsonl", "retain")
    refuse_overlap(forget, retain)
    refuse_overlap(forget, untrained)
    refuse_overlap(untrained, retain)
