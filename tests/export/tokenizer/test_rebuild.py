"""A tokenizer rebuilt from a GGUF gives the ids of the checkpoint that the GGUF came from, and of llama.cpp."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from edgeproof.contracts.errors import CheckpointError, TokenizerError, UnsupportedError
from edgeproof.contracts.gguf_header import read_metadata
from edgeproof.export.tokenizer.rebuild.rebuild import rebuild_tokenizer
from edgeproof.export.tokenizer.traps import TRAPS
from edgeproof.export.tokenizer.vocabulary_file import write_vocab_gguf
from edgeproof_tests.export.tokenizer.folders import KINDS, sdist_vocabulary
from edgeproof_tests.official.source import VOCABULARIES

if TYPE_CHECKING:
    from pathlib import Path

    from edgeproof.export.tokenizer.rebuild.rebuild import Rebuilt

FILES_OWN_CHAIN = {"llama2", "phi3"}
"""transformers 5 gives Llama's tokenizers a chain of its own, not the file's."""
QUICK = ("smollm2", "qwen3", "llama2", "phi3")
FIM = {151662, 151663, 151664}
"""Qwen's markers for code to be filled in, at which llama.cpp ends a generation too; so it does at SmolLM2's 4."""
ENDS = {
    "smollm2": {0, 2, 4}, "llama3": {128001, 128009}, "qwen2": {151643, 151645} | FIM,
    "lfm2": {128001, 128009}, "qwen3": {151643, 151645} | FIM, "phi4-mini": {199999, 200020}, "tekken": {2},
    "mistral": {2}, "llama2": {2}, "phi3": {32000, 32007}, "gemma2": {1, 107}, "gemma3": {1, 106},
}  # fmt: skip
"""Ends of texts and turns, as the checkpoints' generation_config.json have them."""


def rebuild(path: Path, texts: tuple[str, ...] = ()) -> Rebuilt:
    metadata = read_metadata(path, CheckpointError)
    rows = len(next(entry.value for entry in metadata if entry.key == "tokenizer.ggml.tokens"))
    return rebuild_tokenizer(path, metadata, rows=rows, texts=texts)


def loaded(made: Rebuilt) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_str(made.files["tokenizer.json"].decode())


@pytest.mark.torch
@pytest.mark.parametrize(
    "kind", [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]
)
def test_ids_equal_transformers_on_the_checkpoints_own_folder(kind, tokenizer_folder, vocabulary, tofu_texts):
    transformers = pytest.importorskip("transformers")
    made = rebuild(vocabulary(kind))
    loader = transformers.AutoTokenizer if kind not in FILES_OWN_CHAIN else transformers.PreTrainedTokenizerFast
    theirs, ours = loader.from_pretrained(tokenizer_folder(kind)), loaded(made)
    texts = [*TRAPS, *(tofu_texts if kind not in QUICK else tofu_texts[:500])]
    expected = theirs(texts)["input_ids"]
    different = [text for text, ids in zip(texts, expected, strict=True) if ours.encode(text).ids != ids]
    assert different == []
    backend = theirs.backend_tokenizer
    assert all(ours.decode(ids) == backend.decode(ids) for ids in expected[: len(TRAPS)])
    for role in ("bos", "eos", "unk", "pad"):
        settings = json.loads(made.files["tokenizer_config.json"])
        if (token := getattr(theirs, f"{role}_token")) is not None:
            assert settings[f"{role}_token"] == token
    assert set(json.loads(made.files["generation_config.json"])["eos_token_id"]) == ENDS[kind]


@pytest.mark.parametrize("name", VOCABULARIES)
def test_ids_equal_those_that_transformers_gave_for_llama_cpps_own_test_files(name):
    path = sdist_vocabulary(name)
    ours = loaded(rebuild(path))
    texts = path.with_name(f"{path.name}.inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")
    expected = path.with_name(f"{path.name}.out").read_text().splitlines()
    assert len(texts) > 40
    for text, ids in zip(texts, expected, strict=False):
        assert ours.encode(text, add_special_tokens=False).ids == [int(index) for index in ids.split()], text


@pytest.mark.parametrize("kind", QUICK)
def test_onnxruntime_genai_reads_it_as_it_reads_the_folders(kind, tokenizer_folder, vocabulary, tmp_path):
    genai = pytest.importorskip("onnxruntime_genai")
    ids = []
    files = {path.name: path.read_bytes() for path in tokenizer_folder(kind).iterdir() if path.suffix == ".json"}
    for name, content in (("ours", rebuild(vocabulary(kind)).files), ("theirs", files)):
        folder = tmp_path / name
        folder.mkdir()
        for file, data in content.items():
            (folder / file).write_bytes(data)
        model = {"type": "llama", "vocab_size": 8, "context_length": 8, "bos_token_id": 1, "eos_token_id": 2}
        decoder = {"filename": "none", "head_size": 1, "hidden_size": 1, "num_hidden_layers": 1}
        config = {"model": {**model, "pad_token_id": 0, "decoder": {**decoder, "session_options": {}}}, "search": {}}
        (folder / "genai_config.json").write_text(json.dumps(config))
        tokenizer = genai.Tokenizer(genai.Config(str(folder)))
        ids.append([list(map(int, tokenizer.encode(text))) for text in TRAPS])
    assert ids[0] == ids[1]


@pytest.mark.parametrize(
    "kind", [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]
)
def test_its_digest_is_that_of_the_gguf(kind, vocabulary, tmp_path):
    from edgeproof.runtime.onnxruntime.tokenizer import Tokenizer
    from edgeproof.runtime.tokenizer_digest import read_tokenizer, tokenizer_digest

    path = vocabulary(kind)
    for name, content in rebuild(path).files.items():
        (tmp_path / name).write_bytes(content)
    tokenizer = Tokenizer(tmp_path)
    assert tokenizer.digest(KINDS[kind].vocab_size) == tokenizer_digest(read_tokenizer(path), first=tokenizer.bos)


def changed(source: Path, target: Path, **changes: Any) -> Path:
    entries = [
        entry._replace(value=changes.get(entry.key.removeprefix("tokenizer.ggml."), entry.value))
        for entry in read_metadata(source, CheckpointError)
    ]
    write_vocab_gguf([entry for entry in entries if entry.value is not None], "llama", target)
    return target


def test_the_callers_texts_are_proved_too(vocabulary):
    few, more = rebuild(vocabulary("smollm2")).proof, rebuild(vocabulary("smollm2"), ("one more text",)).proof
    assert more.texts == few.texts + 1
    with pytest.raises(TokenizerError, match=r"text 0 .* differently"):
        rebuild(vocabulary("qwen3"), ("cafe\N{COMBINING ACUTE ACCENT}",))


def test_other_merges_than_llama_cpp_uses_are_an_error(vocabulary):
    # llama.cpp ranks a pair by its place; the file's metadata are given in another order than the file has them.
    metadata = read_metadata(vocabulary("smollm2"), CheckpointError)
    shuffled = [
        entry._replace(value=entry.value[::-1]) if entry.key == "tokenizer.ggml.merges" else entry for entry in metadata
    ]
    with pytest.raises(TokenizerError, match="tokenized differently"):
        rebuild_tokenizer(vocabulary("smollm2"), shuffled, rows=49152)


def test_what_llama_cpp_adds_to_a_text_is_added(vocabulary, tmp_path):
    plain = loaded(rebuild(changed(vocabulary("llama2"), tmp_path / "plain.gguf", add_bos_token=False)))
    both = loaded(rebuild(changed(vocabulary("llama2"), tmp_path / "both.gguf", add_eos_token=True)))
    assert [1, *plain.encode("Hello").ids, 2] == both.encode("Hello").ids
    assert both.encode("Hello", "there").ids == [*both.encode("Hello").ids, *both.encode("there").ids]


def test_a_token_that_stands_twice_is_refused(vocabulary, tmp_path):
    tokens = next(
        entry.value for entry in read_metadata(vocabulary("smollm2"), CheckpointError) if entry.key.endswith(".tokens")
    )
    path = changed(vocabulary("smollm2"), tmp_path / "twice.gguf", tokens=[*tokens[:-1], tokens[300]])
    with pytest.raises(TokenizerError, match="tokens 300 and 49151 have one text"):
        rebuild(path)


@pytest.mark.parametrize(("key", "value"), [("token_type", [1, 2]), ("tokens", ["a"])])
def test_lists_of_unequal_length_are_refused(key, value, vocabulary):
    metadata = [
        entry._replace(value=value) if entry.key == f"tokenizer.ggml.{key}" else entry
        for entry in read_metadata(vocabulary("smollm2"), CheckpointError)
    ]
    with pytest.raises(TokenizerError, match=r"for the 49,152 rows of the embedding table"):
        rebuild_tokenizer(vocabulary("smollm2"), metadata, rows=49152)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("token_type", [7] * 49152, "token_type 7 is none of 1, 2, 3, 4, 5, 6"),
        ("tokens", 5, "tokens is not a list of str"),
        ("merges", ["a b", 5], "merges is not a list of str"),
    ],
)
def test_values_of_another_kind_are_refused(key, value, message, vocabulary):
    metadata = [
        entry._replace(value=value) if entry.key == f"tokenizer.ggml.{key}" else entry
        for entry in read_metadata(vocabulary("smollm2"), CheckpointError)
    ]
    with pytest.raises(TokenizerError, match=message):
        rebuild_tokenizer(vocabulary("smollm2"), metadata, rows=49152)


def test_a_bos_that_is_added_and_not_named_is_refused(vocabulary, tmp_path):
    path = changed(vocabulary("llama2"), tmp_path / "nameless.gguf", bos_token_id=None)
    with pytest.raises(TokenizerError, match="adds BOS to every text, but the file does not define that token"):
        rebuild(path)


def test_an_unknown_pre_tokenizer_is_refused_by_name(vocabulary, tmp_path):
    path = changed(vocabulary("smollm2"), tmp_path / "other.gguf", pre="command-r")
    with pytest.raises(UnsupportedError, match=r"the pre-tokenizer 'command-r' is unknown; known: .*smollm"):
        rebuild(path)
