"""What tokenizer_metadata makes of folders, good and bad: small tokenizers written by hand."""

from __future__ import annotations

import json

import pytest
from edgeproof.contracts.errors import TokenizerError
from edgeproof.export.tokenizer.metadata import tokenizer_metadata
from edgeproof.export.tokenizer.pre_tokenizer import GPT4O, LLAMA3, QWEN2, TEKKEN
from edgeproof.export.tokenizer.vocabulary.entries import TokenType
from edgeproof_tests.export.tokenizer.folders import (
    added,
    byte_level_pipeline,
    byte_step,
    sentencepiece_model,
    sentencepiece_pipeline,
    write_json,
)

VOCAB = {"a": 0, "b": 1, "ab": 2, "Ġ": 3, "Ġa": 4}
MERGES = [["a", "b"], ["Ġ", "a"]]
MARKERS = [added(5, "<|end|>"), added(6, "plain one", special=False), added(7, "<|looks|>", special=False)]
CONFIG = {"model_type": "qwen2", "vocab_size": 10, "eos_token_id": 5}
SETTINGS = {"eos_token": "<|end|>", "tokenizer_class": "PreTrainedTokenizerFast"}


def split(pattern: str, behavior: str = "Isolated", *, invert: bool = False) -> dict:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}


@pytest.fixture
def folder(tmp_path):
    """A byte-level folder; `folder(pipeline={…}, settings={…})` overrides keys of its files."""

    def make(pipeline=None, settings=None, **model):
        parts = {"vocab": VOCAB, "merges": MERGES, **model}
        content = byte_level_pipeline(markers=MARKERS, steps=[split(QWEN2), byte_step(words=False)], **parts)
        write_json(tmp_path / "tokenizer.json", {**content, **(pipeline or {})})
        write_json(tmp_path / "tokenizer_config.json", {**SETTINGS, **(settings or {})})
        return tmp_path

    return make


def values(folder, config=None):
    return {entry.key: entry.value for entry in tokenizer_metadata(folder, config or CONFIG)}


def test_types_padding_and_merges(folder):
    keys = values(folder())
    tokens = [*VOCAB, "<|end|>", "plain one", "<|looks|>", "[PAD8]", "[PAD9]"]
    assert keys["tokenizer.ggml.tokens"] == tokens
    control, plain, unused = TokenType.CONTROL, TokenType.USER_DEFINED, TokenType.UNUSED
    assert keys["tokenizer.ggml.token_type"] == [1] * 5 + [control, plain, control, unused, unused]
    assert keys["tokenizer.ggml.merges"] == ["a b", "Ġ a"]
    assert keys["tokenizer.ggml.eos_token_id"] == 5


def test_a_space_inside_a_merge_is_drawn(folder):
    keys = values(folder(vocab={**VOCAB, "a b": 8}, merges=[["a", " b"]]))
    assert keys["tokenizer.ggml.merges"] == ["a Ġb"]


def test_a_byte_level_tokenizer_without_merges_is_refused(folder):
    with pytest.raises(TokenizerError, match="has no merges"):
        values(folder(merges=[]))


def test_old_merges_are_one_string(folder):
    assert values(folder(merges=["a b"]))["tokenizer.ggml.merges"] == ["a b"]


def test_a_token_named_in_the_settings_only_is_special(folder):
    keys = values(folder(settings={"additional_special_tokens": ["plain one"], "pad_token": "ab"}))
    assert keys["tokenizer.ggml.token_type"][6] == TokenType.CONTROL
    assert keys["tokenizer.ggml.token_type"][2] == TokenType.CONTROL


def test_a_token_of_the_settings_beyond_the_pipeline_belongs_to_it(folder):
    keys = values(folder(settings={"added_tokens_decoder": {"8": {"content": "<more>", "special": True}}}))
    assert keys["tokenizer.ggml.tokens"][8] == "<more>"
    assert keys["tokenizer.ggml.token_type"][8] == TokenType.CONTROL


@pytest.mark.parametrize(
    ("steps", "ignore_merges", "model_type", "name"),
    [
        ([byte_step(words=True)], False, "llama", "gpt-2"),
        ([{"type": "Digits", "individual_digits": True}, byte_step(words=True)], False, "llama", "smollm"),
        ([split(LLAMA3), byte_step(words=False)], True, "llama", "llama-bpe"),
        ([split(LLAMA3), byte_step(words=False)], False, "phi3", "dbrx"),
        ([split(LLAMA3), byte_step(words=False)], True, "lfm2", "lfm2"),
        ([split(LLAMA3), byte_step(words=False)], False, "lfm2", "lfm2"),
        ([split(QWEN2), byte_step(words=False)], False, "qwen3", "qwen2"),
        ([split(GPT4O, "Removed", invert=True), byte_step(words=False)], False, "phi3", "gpt-4o"),
        ([split(TEKKEN), byte_step(words=False)], True, "mistral", "tekken"),
    ],
)
def test_the_pre_tokenizer_is_named_by_its_chain(folder, steps, ignore_merges, model_type, name):
    made = folder({"pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}}, ignore_merges=ignore_merges)
    assert values(made, {**CONFIG, "model_type": model_type})["tokenizer.ggml.pre"] == name


@pytest.mark.parametrize(
    "steps",
    [
        [split(QWEN2 + "|x"), byte_step(words=False)],
        [split(QWEN2), byte_step(words=True)],
        [split(QWEN2, "MergedWithNext"), byte_step(words=False)],
        [byte_step(words=False)],
        [{"type": "Digits", "individual_digits": False}, byte_step(words=True)],
        [{**byte_step(words=True), "add_prefix_space": True}],
        [{"type": "Whitespace"}, byte_step(words=False)],
        [],
    ],
)
def test_an_unknown_pre_tokenizer_names_the_two_ways_round(folder, steps):
    made = folder({"pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}})
    with pytest.raises(TokenizerError, match=r"no known pre-tokenizer of llama.cpp") as caught:
        values(made)
    assert "--base model-f16.gguf" in caught.value.next_step
    assert "--converter" in caught.value.next_step


@pytest.mark.parametrize("normalizer", [{"type": "Lowercase"}, {"type": "NFKC"}, {"type": "StripAccents"}])
def test_an_unknown_normalizer_is_refused(folder, normalizer):
    with pytest.raises(TokenizerError, match=f"normalizer .*{normalizer['type']}"):
        values(folder({"normalizer": normalizer}))


def test_a_missing_tokenizer(tmp_path):
    with pytest.raises(TokenizerError, match=r"neither tokenizer.json nor tokenizer.model"):
        values(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"model": {"vocab": {"a"', "cannot be read"),
        ("[1, 2]", "holds a list, not an object"),
        ('{"added_tokens": []}', "not a tokenizer of the `tokenizers` library: KeyError: 'model'"),
        ('{"model": {"vocab": {"a": "x"}}}', "the id of 'a' is 'x'"),
        ('{"model": {"vocab": {"a": 0}, "merges": ["abc"]}}', "not a tokenizer of the `tokenizers` library"),
        ('{"model": {"vocab": {"a": 0, "b": 0}}}', "the id 0 belongs to two tokens, 'a' and 'b'"),
        ('{"model": {"vocab": {"a": 0}}, "added_tokens": [{"id": 0, "content": "z"}]}', "two tokens, 'a' and 'z'"),
    ],
)
def test_a_broken_tokenizer_json(tmp_path, content, message):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(TokenizerError, match=message):
        values(tmp_path)


def test_bytes_that_are_no_utf8(tmp_path):
    (tmp_path / "tokenizer.json").write_bytes(b'{"model": "\xff"}')
    with pytest.raises(TokenizerError, match="cannot be read"):
        values(tmp_path)


def test_settings_that_contradict_the_pipeline(folder):
    made = folder(settings={"added_tokens_decoder": {"5": {"content": "<|other|>", "special": True}}})
    with pytest.raises(TokenizerError, match=r"the id 5 belongs to two tokens, '<\|end\|>' and '<\|other\|>'"):
        values(made)


def test_a_tokenizer_larger_than_the_embedding(folder):
    with pytest.raises(TokenizerError, match="the token id 7, the embedding only 7 rows"):
        values(folder(), {**CONFIG, "vocab_size": 7})


@pytest.mark.parametrize("config", [{}, {"vocab_size": 0}, {"vocab_size": "10"}])
def test_an_embedding_of_unknown_size(folder, config):
    with pytest.raises(TokenizerError, match="gives vocab_size as"):
        tokenizer_metadata(folder(), {"model_type": "qwen2", **config})


def test_the_size_of_a_nested_text_model(folder):
    config = {"model_type": "gemma3", "text_config": {"vocab_size": 9, "eos_token_id": 3}}
    keys = values(folder(settings={"eos_token": None}), config)
    assert len(keys["tokenizer.ggml.tokens"]) == 9
    assert keys["tokenizer.ggml.eos_token_id"] == 3


# --- special tokens

FIRST = {"SpecialToken": {"id": "<|end|>", "type_id": 0}}
TEXT = {"Sequence": {"id": "A", "type_id": 0}}
SECOND = {"Sequence": {"id": "B", "type_id": 1}}


def template(single, pair=None):
    return {
        "post_processor": {"type": "TemplateProcessing", "single": single, "pair": pair or [], "special_tokens": {}}
    }


def test_the_post_processor_outweighs_the_settings(folder):
    made = folder(template([FIRST, TEXT]), {"bos_token": "<|end|>", "add_bos_token": False, "add_eos_token": True})
    keys = values(made)
    assert keys["tokenizer.ggml.add_bos_token"] is True
    assert keys["tokenizer.ggml.add_eos_token"] is True
    assert keys["tokenizer.ggml.bos_token_id"] == 5


def test_a_last_token_other_than_eos_ends_the_text_and_eos_the_turn(folder):
    """Qwen3-Embedding's way."""
    made = folder(template([TEXT, FIRST]), {"eos_token": "<|looks|>"})
    keys = values(made)
    assert (keys["tokenizer.ggml.eos_token_id"], keys["tokenizer.ggml.eot_token_id"]) == (5, 7)
    assert keys["tokenizer.ggml.add_eos_token"] is True


def test_a_separator_between_two_texts(folder):
    pair = [FIRST, TEXT, {"SpecialToken": {"id": "<|looks|>", "type_id": 0}}, SECOND]
    keys = values(folder(template([FIRST, TEXT], pair), {"bos_token": "<|end|>", "sep_token": "<|looks|>"}))
    assert keys["tokenizer.ggml.add_sep_token"] is True
    assert keys["tokenizer.ggml.seperator_token_id"] == 7


def test_ids_of_config_json_count_where_the_settings_name_none(folder):
    keys = values(folder(settings={"eos_token": None}), {**CONFIG, "bos_token_id": 3, "eos_token_id": [5, 7]})
    assert keys["tokenizer.ggml.bos_token_id"] == 3
    assert "tokenizer.ggml.eos_token_id" not in keys


def test_an_id_beyond_the_embedding_is_left_out(folder):
    assert "tokenizer.ggml.padding_token_id" not in values(folder(), {**CONFIG, "pad_token_id": 4096})


# --- chat templates


def test_a_template_in_the_settings(folder):
    assert values(folder(settings={"chat_template": "{{ x }}"}))["tokenizer.chat_template"] == "{{ x }}"


def test_named_templates_in_the_settings(folder):
    named = [
        {"name": "tool use!", "template": "T"},
        {"name": "default", "template": "D"},
        {"name": "rag", "template": "R"},
    ]
    keys = values(folder(settings={"chat_template": named}))
    assert keys["tokenizer.chat_template"] == "D"
    assert keys["tokenizer.chat_template.tool_use_"] == "T"
    assert keys["tokenizer.chat_templates"] == ["rag", "tool_use_"]


def test_templates_in_files(folder):
    made = folder()
    (made / "chat_template.jinja").write_text("J")
    (made / "additional_chat_templates").mkdir()
    (made / "additional_chat_templates" / "tool.jinja").write_text("T")
    keys = values(made)
    assert (keys["tokenizer.chat_template"], keys["tokenizer.chat_template.tool"]) == ("J", "T")


def test_a_template_in_a_json_file(folder):
    made = folder()
    write_json(made / "chat_template.json", {"chat_template": "P"})
    assert values(made)["tokenizer.chat_template"] == "P"


def test_two_templates_that_differ_are_an_error(folder):
    made = folder(settings={"chat_template": "A"})
    (made / "chat_template.jinja").write_text("B")
    with pytest.raises(TokenizerError, match=r"tokenizer_config.json and chat_template.jinja hold different"):
        values(made)
    (made / "chat_template.jinja").write_text("A")
    assert values(made)["tokenizer.chat_template"] == "A"


@pytest.mark.parametrize("bad", [3, {"name": "default"}, [{"name": "default"}], ["text"]])
def test_a_template_that_is_no_text(folder, bad):
    with pytest.raises(TokenizerError, match="neither a string nor a list of name and template"):
        values(folder(settings={"chat_template": bad}))


# --- SentencePiece

PIECES = ["<unk>", "<s>", "</s>", "<0x0A>", "▁a", "ab", "▁", "a", "b", "<mine>"]
SCORES = [0.0, 0.0, 0.0, 0.0, -1.0, -2.0, -3.0, -4.0, -5.0, 0.0]
TYPES = [2, 3, 3, 6, 1, 1, 1, 1, 1, 4]


@pytest.fixture
def spm(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(sentencepiece_model(PIECES, SCORES, TYPES))
    return tmp_path


def test_a_sentencepiece_model_alone(spm):
    keys = values(spm, {"model_type": "llama", "vocab_size": 12, "bos_token_id": 1, "eos_token_id": 2})
    assert keys["tokenizer.ggml.model"] == "llama"
    assert keys["tokenizer.ggml.pre"] == "default"
    assert keys["tokenizer.ggml.tokens"] == [*PIECES, "[PAD10]", "[PAD11]"]
    assert keys["tokenizer.ggml.scores"] == [*SCORES, -10000.0, -10000.0]
    assert keys["tokenizer.ggml.token_type"] == [*TYPES, 5, 5]
    assert (keys["tokenizer.ggml.bos_token_id"], keys["tokenizer.ggml.eos_token_id"]) == (1, 2)


def test_added_tokens_of_a_sentencepiece_model(spm):
    write_json(spm / "added_tokens.json", {"<|user|>": 10, "two▁words": 11})
    decoder = {"10": {"content": "<|user|>", "special": True}, "400": {"content": "<image>", "special": True}}
    write_json(spm / "tokenizer_config.json", {"added_tokens_decoder": decoder})
    keys = values(spm, {"model_type": "llama", "vocab_size": 12})
    assert keys["tokenizer.ggml.tokens"][10:] == ["<|user|>", "two words"]
    assert keys["tokenizer.ggml.token_type"][10:] == [TokenType.CONTROL, TokenType.USER_DEFINED]
    assert keys["tokenizer.ggml.scores"][10:] == [-1000.0, -1000.0]


def test_more_pieces_than_the_embedding_has_rows(spm):
    with pytest.raises(TokenizerError, match="has 10 pieces, the embedding only 9 rows"):
        values(spm, {"model_type": "llama", "vocab_size": 9})


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-3], lambda _: b"IQ== 0\nIg== 1\n", lambda _: b"", lambda b: b"\xff" * 12 + b]
)
def test_a_damaged_sentencepiece_model(spm, damage):
    path = spm / "tokenizer.model"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(TokenizerError, match="is not a SentencePiece model"):
        values(spm, {"model_type": "llama", "vocab_size": 12})


def test_a_tiktoken_file_beside_a_byte_level_tokenizer_is_not_read(folder):
    made = folder()
    (made / "tokenizer.model").write_bytes(b"IQ== 0\n")
    assert values(made)["tokenizer.ggml.model"] == "gpt2"


def test_a_hole_in_the_ids_of_a_sentencepiece_pipeline(tmp_path):
    content = sentencepiece_pipeline(PIECES, SCORES, [], bos=True)
    del content["model"]["vocab"]["ab"]
    write_json(tmp_path / "tokenizer.json", content)
    with pytest.raises(TokenizerError, match="has 9 pieces, but none with the id 5"):
        values(tmp_path, {"model_type": "llama", "vocab_size": 12})


@pytest.mark.parametrize(("model_type", "expected"), [("gemma2", False), ("gemma3_text", False), ("llama", None)])
def test_gemma_puts_no_space_before_a_text(spm, model_type, expected):
    keys = values(spm, {"model_type": model_type, "vocab_size": 12})
    assert keys.get("tokenizer.ggml.add_space_prefix") is expected


def test_the_settings_of_the_llama_family_decide_on_the_space(spm):
    write_json(spm / "tokenizer_config.json", {"add_prefix_space": False})
    entries = tokenizer_metadata(spm, {"model_type": "mistral", "vocab_size": 12})
    assert entries[0].key == "tokenizer.ggml.add_space_prefix"
    assert entries[0].value is False
    assert json.dumps([entry.key for entry in entries]).count("add_space_prefix") == 1
