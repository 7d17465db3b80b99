"""llama.cpp gives the ids of the checkpoint's own tokenizer; where it does not, that is an error."""

from __future__ import annotations

import json
import shutil

import pytest
from edgeproof.contracts.chat import TEMPLATE_DATE, render_chat, template_accepts
from edgeproof.contracts.errors import BackendError, TokenizerError
from edgeproof.contracts.tensors import MetadataEntry
from edgeproof.export.tokenizer.engine import TokenizeRequest, start_engine
from edgeproof.export.tokenizer.metadata import tokenizer_metadata
from edgeproof.export.tokenizer.proof import CHATS, prove_tokenizer
from edgeproof.export.tokenizer.traps import TRAPS, has_marks, is_composed
from edgeproof_tests.export.tokenizer.conftest import write_named
from edgeproof_tests.export.tokenizer.folders import (
    KINDS,
    build,
    gguf_keys,
    sentencepiece_model,
    sentencepiece_pipeline,
    write_json,
)

FILES_OWN_CHAIN = {"llama2", "phi3"}
NFC = "decomposed letters"
MARKS = "combining marks"
LIMITS = {"qwen2": NFC, "qwen3": NFC, "phi4-mini": MARKS, "tekken": MARKS, "gemma2": "U+2581", "gemma3": "U+2581"}


def engine_ids(gguf, requests):
    with start_engine(gguf, requests) as engine:
        return [list(ids) for ids in engine.reply().ids]


def touched(kind: str, text: str) -> bool:
    limit = LIMITS.get(kind)
    tests = {NFC: lambda: not is_composed(text), MARKS: lambda: has_marks(text), "U+2581": lambda: "▁" in text}
    return limit is not None and tests[limit]()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_llama_cpp_gives_the_checkpoints_ids_on_the_traps_and_on_every_text_of_tofu(
    kind, tokenizer_folder, vocabulary, tofu_texts
):
    proof = prove_tokenizer(tokenizer_folder(kind), vocabulary(kind), tofu_texts)
    assert proof.texts > len(tofu_texts) + 70
    assert proof.comparisons >= 2 * len(tofu_texts) + 150
    named = [LIMITS[kind]] if kind in LIMITS else []
    named += ["strip adjacent spaces"] if kind == "phi4-mini" else []
    assert len(proof.limits) == len(named)
    assert all(name in limit for name, limit in zip(named, proof.limits, strict=True))
    print(kind, proof)  # noqa: T201 (shown with -s: the figures of the documents)


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize("kind", KINDS)
def test_llama_cpp_gives_transformers_ids_and_chats(kind, tokenizer_folder, vocabulary, tofu_texts, monkeypatch):
    transformers = pytest.importorskip("transformers")
    from transformers.utils import chat_template_utils

    class Clock:
        @staticmethod
        def now():
            return TEMPLATE_DATE

    monkeypatch.setattr(chat_template_utils, "datetime", Clock)
    # transformers 5 gives Llama's tokenizers a chain of its own, not the file's: see the test of what it saves.
    loader = transformers.AutoTokenizer if kind not in FILES_OWN_CHAIN else transformers.PreTrainedTokenizerFast
    tokenizer = loader.from_pretrained(tokenizer_folder(kind))
    texts = [text for text in (*TRAPS, *tofu_texts) if not touched(kind, text)]
    requests = [TokenizeRequest(text, add_special=True, parse_special=True) for text in texts]
    expected = tokenizer(texts)["input_ids"]
    if tokenizer.chat_template is not None:
        tokens = {"bos_token": tokenizer.bos_token or "", "eos_token": tokenizer.eos_token or ""}
        for chat in CHATS:
            swallowed = kind == "phi4-mini" and any(message["content"][0] == " " for message in chat)  # the other limit
            if not swallowed and template_accepts(tokenizer.chat_template, chat, **tokens):
                prompt = tokenizer.apply_chat_template(list(chat), tokenize=False, add_generation_prompt=True)
                assert prompt == render_chat(tokenizer.chat_template, chat, **tokens)
                ids = tokenizer.apply_chat_template(list(chat), add_generation_prompt=True, return_dict=False)
                requests.append(TokenizeRequest(prompt, add_special=False, parse_special=True))
                expected.append(ids)
    for request, ours, theirs in zip(requests, engine_ids(vocabulary(kind), requests), expected, strict=True):
        assert ours == theirs, request


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("qwen3", "cafe\N{COMBINING ACUTE ACCENT}"),
        ("phi4-mini", "हिन्दी में पाठ"),
        ("phi4-mini", "<|user|> Hi"),
        ("tekken", "कर्म ภาษาไทย กำลัง हिन्दी"),
        ("gemma3", "▁▁ ▁under"),
    ],
)
def test_a_limit_of_llama_cpp_is_real_and_an_error_for_the_callers_text(kind, text, tokenizer_folder, vocabulary):
    with pytest.raises(TokenizerError, match=r"text 1 .* differently from token \d+ on"):
        prove_tokenizer(tokenizer_folder(kind), vocabulary(kind), ["fine", text])


def test_the_callers_text_is_not_in_the_message(tokenizer_folder, vocabulary):
    hidden = "My secret is Zürich, cafe\N{COMBINING ACUTE ACCENT}"
    with pytest.raises(TokenizerError) as caught:
        prove_tokenizer(tokenizer_folder("qwen3"), vocabulary("qwen3"), [hidden])
    assert "secret" not in str(caught.value)
    assert "NFC" in caught.value.next_step


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("smollm2", "tokenizer.ggml.pre", "gpt-2"),
        ("smollm2", "tokenizer.ggml.pre", "llama-bpe"),
        ("smollm2", "tokenizer.ggml.add_bos_token", True),
        ("mistral", "tokenizer.ggml.add_bos_token", False),
        ("mistral", "tokenizer.ggml.add_space_prefix", False),
        ("mistral", "tokenizer.ggml.bos_token_id", 2),
    ],
)
def test_one_wrong_key_is_found(kind, key, value, tokenizer_folder, tmp_path):
    folder = tokenizer_folder(kind)
    entries = tokenizer_metadata(folder, json.loads((folder / "config.json").read_text()))
    known = {entry.key: entry.kind for entry in entries}
    kinds = {bool: "BOOL", int: "UINT32", str: "STRING"}
    wrong = [entry for entry in entries if entry.key != key]
    wrong.append(MetadataEntry(key, value, known.get(key, kinds[type(value)])))
    write_named(wrong, kind, tmp_path / "wrong.gguf")
    with pytest.raises(TokenizerError, match=r"tokenized differently|rendered differently"):
        prove_tokenizer(folder, tmp_path / "wrong.gguf")


def test_swapped_tokens_are_found(tokenizer_folder, tmp_path):
    folder = tokenizer_folder("smollm2")
    entries = tokenizer_metadata(folder, json.loads((folder / "config.json").read_text()))
    tokens = list(next(entry.value for entry in entries if entry.key == "tokenizer.ggml.tokens"))
    the, a = tokens.index("The"), tokens.index("Ġbrown")
    tokens[the], tokens[a] = tokens[a], tokens[the]
    swapped = [entry._replace(value=tokens) if entry.key == "tokenizer.ggml.tokens" else entry for entry in entries]
    write_named(swapped, "smollm2", tmp_path / "swapped.gguf")
    with pytest.raises(TokenizerError, match="built-in text"):
        prove_tokenizer(folder, tmp_path / "swapped.gguf")


def test_another_models_vocabulary_is_found(tokenizer_folder, vocabulary):
    with pytest.raises(TokenizerError, match="tokenized differently"):
        prove_tokenizer(tokenizer_folder("smollm2"), vocabulary("mistral"))


def test_of_a_callers_text_neither_words_nor_ids_are_told(tokenizer_folder, tmp_path):
    folder = tokenizer_folder("smollm2")
    entries = tokenizer_metadata(folder, json.loads((folder / "config.json").read_text()))
    tokens = list(next(entry.value for entry in entries if entry.key == "tokenizer.ggml.tokens"))
    one, other = tokens.index("Ġzebra"), tokens.index("Ġviolin")  # in none of the built-in texts
    tokens[one], tokens[other] = tokens[other], tokens[one]
    swapped = [entry._replace(value=tokens) if entry.key == "tokenizer.ggml.tokens" else entry for entry in entries]
    write_named(swapped, "smollm2", tmp_path / "swapped.gguf")
    prove_tokenizer(folder, tmp_path / "swapped.gguf", ["nothing of it"])
    with pytest.raises(TokenizerError, match=r"text 1 .* is tokenized differently from token") as error:
        prove_tokenizer(folder, tmp_path / "swapped.gguf", ["nothing of it", "The number is zebra violin"])
    said = str(error.value)
    assert "zebra" not in said
    assert str(one) not in said
    assert str(other) not in said


def changed_template(tokenizer_folder, target, template):
    folder = target / "folder"
    shutil.copytree(tokenizer_folder("mistral"), folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    write_json(folder / "tokenizer_config.json", {**settings, "chat_template": template})
    return folder


def test_a_template_that_doubles_bos_is_an_error(tokenizer_folder, tmp_path):
    folder = changed_template(tokenizer_folder, tmp_path, "{{ bos_token }}{{ bos_token }}{{ messages[0]['content'] }}")
    write_named(tokenizer_metadata(folder, json.loads((folder / "config.json").read_text())), "m", tmp_path / "v.gguf")
    with pytest.raises(TokenizerError, match=r"BOS twice \('<s>', id 1\)"):
        prove_tokenizer(folder, tmp_path / "v.gguf")


def test_a_chat_that_begins_with_bos_is_said_to(tokenizer_folder, vocabulary):
    assert prove_tokenizer(tokenizer_folder("mistral"), vocabulary("mistral")).chat_starts_with_bos
    assert not prove_tokenizer(tokenizer_folder("qwen3"), vocabulary("qwen3")).chat_starts_with_bos


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for message in messages %}{{ message", "not valid Jinja: .* \\(line 1\\)"),
        ("{{ messages[0]['content'] + 1 }}", "fails on a conversation with the roles user: TypeError"),
        ("{{ raise_exception('tools only') }}", "refuses all of 3 plain conversations"),
    ],
)
def test_a_broken_template_is_an_error(template, message, tokenizer_folder, tmp_path):
    folder = changed_template(tokenizer_folder, tmp_path, template)
    write_named(tokenizer_metadata(folder, json.loads((folder / "config.json").read_text())), "m", tmp_path / "v.gguf")
    with pytest.raises(TokenizerError, match=message):
        prove_tokenizer(folder, tmp_path / "v.gguf")


def test_another_template_in_the_gguf_is_an_error(tokenizer_folder, vocabulary, tmp_path):
    folder = changed_template(tokenizer_folder, tmp_path, "{{ bos_token }}{{ messages[0]['content'] }}")
    with pytest.raises(TokenizerError, match="chat 0 is rendered differently from character 3 on"):
        prove_tokenizer(folder, vocabulary("mistral"))


def test_a_missing_template_in_the_gguf_is_an_error(tokenizer_folder, tmp_path):
    folder = tokenizer_folder("mistral")
    entries = tokenizer_metadata(folder, json.loads((folder / "config.json").read_text()))
    write_named([entry for entry in entries if "template" not in entry.key], "m", tmp_path / "v.gguf")
    with pytest.raises(TokenizerError, match="has a chat template, the GGUF has none"):
        prove_tokenizer(folder, tmp_path / "v.gguf")


def test_a_tokenizer_model_alone_is_proved_with_sentencepiece(tmp_path, tofu_texts):
    folder = tmp_path / "mistral"
    build("mistral", folder)
    (folder / "tokenizer.json").unlink()
    config = {**json.loads((folder / "config.json").read_text()), "bos_token_id": 1, "eos_token_id": 2}
    write_named(tokenizer_metadata(folder, config), "mistral", tmp_path / "v.gguf")
    proof = prove_tokenizer(folder, tmp_path / "v.gguf", tofu_texts[:500])
    assert proof.comparisons >= 1000
    assert proof.chats == 4


def test_a_tokenizer_json_gives_the_scores_and_types_of_its_tokenizer_model(tokenizer_folder, tmp_path):
    both = tokenizer_folder("mistral")
    alone = tmp_path / "alone"
    shutil.copytree(both, alone)
    (alone / "tokenizer.model").unlink()
    config = json.loads((both / "config.json").read_text())
    assert tokenizer_metadata(alone, config) == tokenizer_metadata(both, config)


def test_a_unigram_model_is_refused(tmp_path):
    pieces = ["<unk>", "<s>", "</s>", "a", "b", "ab"]
    (tmp_path / "tokenizer.model").write_bytes(
        sentencepiece_model(pieces, [0.0] * 3 + [-1.0, -2.0, -3.0], [2, 3, 3, 1, 1, 1], kind=1)
    )
    with pytest.raises(TokenizerError, match="is a unigram model") as caught:
        tokenizer_metadata(tmp_path, {"model_type": "llama", "vocab_size": 6})
    assert "--converter" in caught.value.next_step


def test_a_space_at_the_start_of_a_text_only_is_refused_with_the_reason(tokenizer_folder, tmp_path):
    """Mistral v0.3's way (Metaspace, "first"): llama.cpp would put a space after each marker too."""
    folder = tmp_path / "first"
    shutil.copytree(tokenizer_folder("mistral"), folder)
    content = json.loads((folder / "tokenizer.json").read_text())
    content["normalizer"] = None
    content["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    write_json(folder / "tokenizer.json", content)
    with pytest.raises(TokenizerError, match=r"not after a marker .*llama.cpp puts one in both places"):
        tokenizer_metadata(folder, json.loads((folder / "config.json").read_text()))


def test_a_llama_tokenizer_saved_by_transformers_5_is_proved_but_for_leading_spaces(tokenizer_folder, tmp_path):
    """It saves a chain that puts no space before a text which has one; llama.cpp puts one before every text."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path / "saved"
    transformers.LlamaTokenizer.from_pretrained(tokenizer_folder("llama2")).save_pretrained(folder)
    config = json.loads((tokenizer_folder("llama2") / "config.json").read_text())
    write_named(tokenizer_metadata(folder, config), "mistral", tmp_path / "v.gguf")
    proof = prove_tokenizer(folder, tmp_path / "v.gguf", ["A text that begins with a letter."])
    assert "begins with a space" in proof.limits[0]
    with pytest.raises(TokenizerError, match="text 0"):
        prove_tokenizer(folder, tmp_path / "v.gguf", [" a text that begins with a space"])


def test_a_file_that_llama_cpp_cannot_load_is_an_error_with_its_last_words(tokenizer_folder, tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(20))
    with pytest.raises(BackendError, match=r"exit code \d+"):
        prove_tokenizer(tokenizer_folder("smollm2"), broken)


def test_a_lone_surrogate_is_an_error(tokenizer_folder, vocabulary):
    with pytest.raises(TokenizerError, match=r"lone surrogate \(U\+D800\)"):
        prove_tokenizer(tokenizer_folder("smollm2"), vocabulary("smollm2"), ["\ud800"])


def test_phi3_markers_swallow_spaces_under_its_name_only(tokenizer_folder, tmp_path):
    """llama.cpp tells Phi-3 by `general.name`: the proof must see the name that will be in the file."""
    folder = tokenizer_folder("phi3")
    entries = tokenizer_metadata(folder, json.loads((folder / "config.json").read_text()))
    write_named(entries, "my-model", tmp_path / "v.gguf")
    with pytest.raises(TokenizerError, match=r"chat 0 .* tokenized differently"):
        prove_tokenizer(folder, tmp_path / "v.gguf")
    write_named(entries, "my-phi-3-model", tmp_path / "w.gguf")
    assert prove_tokenizer(folder, tmp_path / "w.gguf").limits == ()


def test_the_files_own_metadata_is_kept(vocabulary):
    keys = gguf_keys(vocabulary("smollm2"))
    assert keys["general.name"] == "smollm2"
    assert keys["tokenizer.ggml.pre"] == "smollm"


def test_reference_pipeline_is_the_checkpoints_own(tokenizer_folder):
    """The tests' way to make a tokenizer.json of a SentencePiece model gives Mistral's own merges."""
    content = json.loads((tokenizer_folder("mistral") / "tokenizer.json").read_text())
    from edgeproof.export.tokenizer.vocabulary.sentencepiece_model import read_sentencepiece_model

    pieces = read_sentencepiece_model(tokenizer_folder("mistral") / "tokenizer.model").pieces
    made = sentencepiece_pipeline([piece.text for piece in pieces], [piece.score for piece in pieces], [], bos=True)
    own = [" ".join(merge) if isinstance(merge, list) else merge for merge in content["model"]["merges"]]
    assert sorted(map(" ".join, made["model"]["merges"])) == sorted(own)
