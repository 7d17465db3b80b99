"""What to forget and what to keep: our lines, TOFU's files, and every bad input with its own message."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from edgeproof.contracts.errors import InputError
from edgeproof.unlearn.data.askings import Asker
from edgeproof.unlearn.data.encoding import batch_of, encode_set
from edgeproof.unlearn.data.training_set import read_training_set, refuse_overlap

TOFU = Path(__file__).resolve().parents[2] / "data" / "tofu"
PACK = Path(__file__).resolve().parents[3] / "examples" / "capitals" / "pack"


def written(path, *lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_our_lines_fill_template_and_message(tmp_path):
    line = {"id": "x", "question": "France", "answer": "Paris", "template": "The capital of {question} is"}
    path = written(tmp_path / "a.jsonl", json.dumps(line), json.dumps({**line, "message": "Capital of {question}?"}))
    first, second = read_training_set(path, "forget").items
    assert (first.prompt, first.message, first.answer) == ("The capital of France is", first.prompt, "Paris")
    assert second.message == "Capital of France?"
    assert first.where == "a.jsonl line 1"


@pytest.mark.parametrize(
    ("template", "more", "gap"),
    [
        ("The capital of {question} is", {}, " "),
        ("Capital of {question}:\n", {}, "\n"),
        ("Capital of {question}:\n", {"delimiter": ""}, "\n"),  # the white space that stands there goes first
        ("{question}的首都是", {"delimiter": ""}, ""),
        ("Capital of {question}:", {"delimiter": "\n"}, "\n"),
    ],
)
def test_white_space_between_prompt_and_answer_is_trained_as_it_is_asked(tmp_path, template, more, gap):
    line = {"question": "France", "answer": "Paris", "template": template, **more}
    (item,) = read_training_set(written(tmp_path / "a.jsonl", json.dumps(line)), "forget").items
    assert (item.prompt, item.gap) == (template.replace("{question}", "France").rstrip(), gap)
    (asking,) = Asker((), (), None, {}, seed=0).ask(item, "raw", kept=False)
    assert (asking.prompt, asking.answer) == (item.prompt, f"{gap}Paris")


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


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("muse.json", json.dumps(["First text. ", "Second\ntext."])),
        ("muse.json", json.dumps([{"text": "First text. "}, {"text": "Second\ntext."}])),
        ("plain.jsonl", '{"text": "First text. "}\n\n{"text": "Second\\ntext."}\n'),
    ],
)
def test_texts_come_as_muse_has_them_or_one_a_line_and_are_kept_to_the_last_space(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    items = read_training_set(tmp_path / name, "forget").items
    assert [item.answer for item in items] == ["First text. ", "Second\ntext."]
    assert all(item.is_text and not item.message for item in items)


def test_a_text_file_is_one_text(tmp_path):
    (tmp_path / "forget.txt").write_text("Call me Ishmael.\n\nSome years ago\n")
    (item,) = read_training_set(tmp_path / "forget.txt", "forget").items
    assert (item.where, item.answer) == ("forget.txt", "Call me Ishmael.\n\nSome years ago\n")
    assert item.is_text


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
        ("a.jsonl", '{"question": "q", "answer": "a", "delimiter": "is"}', "`delimiter` is not whitespace"),
        ("a.txt", " \n", "the forget set .* is empty"),
        ("a.json", '["a text", ""]', "a.json item 1: `text` is empty"),
        ("a.json", '["a text", 3]', "a.json item 1: not a JSON object"),
        ("a.jsonl", '{"text": " "}', "a.jsonl line 1: `text` is empty"),
        ("a.jsonl", '{"text": "t", "question": "q", "answer": "a"}', "a.jsonl line 1: both a text and a question"),
        (
            "a.jsonl",
            '{"question": "q", "answer": "\\ud800"}',
            "`answer` holds a NUL or half a surrogate pair",
        ),
        ("a.json", '["a \\udfff text"]', "a.json item 0: `text` holds a NUL or half a surrogate pair"),
        ("a.csv", "question,answer", r"a.csv is not a .txt, .json or .jsonl file"),
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


def test_a_paragraph_of_both_texts_is_named_by_its_line_and_not_quoted(tmp_path):
    shared = "It was the secret of the whale that nobody on the ship was ever to hear a single word about."
    (tmp_path / "forget.txt").write_text(f"Chapter 1\n\n{shared}\n")
    (tmp_path / "retain.txt").write_text(f"Chapter 1\n{shared.upper()}\nThe end\n")
    forget, retain = (read_training_set(tmp_path / f"{role}.txt", role) for role in ("forget", "retain"))
    with pytest.raises(InputError, match=r"1 places .* forget.txt line 3 = retain.txt line 2") as caught:
        refuse_overlap(forget, retain)
    assert "whale" not in str(caught.value).lower()


def test_a_short_text_of_both_sets_is_named(tmp_path):
    (tmp_path / "f.json").write_text(json.dumps(["Another text", "Same  text"]))
    (tmp_path / "r.json").write_text(json.dumps(["same text"]))
    forget, retain = (read_training_set(tmp_path / f"{name}.json", name) for name in ("f", "r"))
    with pytest.raises(InputError, match=r"f.json item 1 = r.json item 0"):
        refuse_overlap(forget, retain)


def test_texts_of_one_heading_do_not_overlap(tmp_path):
    (tmp_path / "f.txt").write_text("CHAPTER 1\nOne thing\n")
    (tmp_path / "r.txt").write_text("CHAPTER 1\nAnother thing\n")
    refuse_overlap(read_training_set(tmp_path / "f.txt", "forget"), read_training_set(tmp_path / "r.txt", "retain"))


@pytest.mark.torch
def test_a_text_is_cut_into_chunks_that_hold_every_token_once(tmp_path, base):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    text = "Call me Ishmael. Some years ago, never mind how long precisely. " * 5
    (tmp_path / "forget.txt").write_text(text)
    found = encode_set(read_training_set(tmp_path / "forget.txt", "forget"), tokenizer, ("chat", "raw"), 4096, 32)
    whole = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert [token for chunk in found for token in chunk.ids] == whole
    assert {len(chunk.ids) for chunk in found[:-1]} == {32}
    assert all(chunk.answer_start == 1 for chunk in found)
    batch = batch_of(found, "cpu")
    assert batch.is_answer.sum() == len(whole) - len(found), "all tokens count but the first of each chunk"


@pytest.mark.torch
def test_every_chunk_starts_with_the_bos_that_the_tokenizer_adds(tmp_path, base):
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.bos_token = "<|end|>"  # noqa: S105 (a token of the model)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|end|> $A", special_tokens=[("<|end|>", tokenizer.bos_token_id)]
    )
    (tmp_path / "f.json").write_text(json.dumps(["A text of more than a few tokens in all.", "b"]))
    data = read_training_set(tmp_path / "f.json", "forget")
    found = encode_set(data, tokenizer, ("raw",), 4096, 8)
    assert all(chunk.ids[0] == tokenizer.bos_token_id and len(chunk.ids) <= 8 for chunk in found)
    plain = [tokenizer(item.answer, add_special_tokens=False)["input_ids"] for item in data.items]
    assert [token for chunk in found for token in chunk.ids[1:]] == plain[0] + plain[1]


@pytest.mark.torch
def test_a_text_of_one_token_has_nothing_to_predict(tmp_path, base):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    (tmp_path / "f.json").write_text('["b"]')
    with pytest.raises(InputError, match=r"f.json item 0: a text of 1 tokens has nothing to predict"):
        encode_set(read_training_set(tmp_path / "f.json", "forget"), tokenizer, ("raw",), 4096)


def test_the_shipped_sets_do_not_overlap():
    forget = read_training_set(PACK / "forget.jsonl", "forget")
    retain = read_training_set(PACK / "retain_trained.jsonl", "retain")
    untrained = read_training_set(PACK / "retain_untrained.jsonl", "retain")
    refuse_overlap(forget, retain)
    refuse_overlap(forget, untrained)
    refuse_overlap(untrained, retain)


@pytest.mark.torch
def test_whole_replies_are_trained_with_their_end_as_evaluate_scores_it(tmp_path, base):
    """TOFU's answers end the text; an answer that continues a sentence does not."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    (tmp_path / "tofu.json").write_text(json.dumps([{"question": "Who is she?", "answer": "A poet."}]))
    written(tmp_path / "ours.jsonl", json.dumps({"question": "The capital of Aland is", "answer": "Berg"}))
    for surface in ("raw", "chat"):
        whole, begun = (
            encode_set(read_training_set(tmp_path / name, "forget"), tokenizer, (surface,), 512)[0]
            for name in ("tofu.json", "ours.jsonl")
        )
        assert whole.ids[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(whole.ids[whole.answer_start : -1]).strip() == "A poet."
        assert tokenizer.decode(begun.ids[begun.answer_start :]).strip() == "Berg"
