"""Rebuilds a Hugging Face tokenizer from a GGUF's vocabulary, and proves it equal to llama.cpp's on that file.

llama.cpp names a byte-level BPE's steps (`tokenizer.ggml.pre`); `pre_tokenizer.CHAINS` lists them. A SentencePiece
vocabulary has scores instead of merges: every split of a piece into two becomes a merge, ranked by the piece's score.
llama.cpp's own decisions (whether it adds BOS, which ids end a generation) are read from llama.cpp, not guessed.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import UnsupportedError
from edgeproof.contracts.scratch import scratch_folder
from edgeproof.export.tokenizer.engine import start_engine
from edgeproof.export.tokenizer.proof import prove_tokenizer
from edgeproof.export.tokenizer.rebuild.definition import (
    MARKERS,
    added_tokens,
    byte_level,
    post_processor,
    sentencepiece,
)
from edgeproof.export.tokenizer.rebuild.vocabulary import PREFIX, WAY_ROUND, read_vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.contracts.tensors import MetadataEntry
    from edgeproof.export.tokenizer.engine import EngineVocabulary
    from edgeproof.export.tokenizer.proof import Proof
    from edgeproof.export.tokenizer.rebuild.vocabulary import Vocabulary

    Json = dict[str, object]


class Rebuilt(NamedTuple):
    """A tokenizer's files by name, and the proof that they give llama.cpp's ids."""

    files: dict[str, bytes]
    proof: Proof


def rebuild_tokenizer(
    path: Path, metadata: Sequence[MetadataEntry], *, rows: int, texts: Sequence[str] = ()
) -> Rebuilt:
    """Rebuild the tokenizer of the GGUF `path`.

    Args:
        path: the file, whose vocabulary llama.cpp loads.
        metadata: its entries.
        rows: number of rows of the embedding table.
        texts: additional texts for the proof.

    Raises:
        UnsupportedError: the tokenizer is neither byte-level BPE with a known pre-tokenizer nor SentencePiece BPE.
        TokenizerError: the vocabulary is inconsistent or contradicts the table, or the proof fails.
        BackendError: llama.cpp cannot load the file.

    """
    values = {entry.key: entry.value for entry in metadata}
    vocabulary = read_vocabulary(path, values, rows)
    with start_engine(path, []) as engine:
        stored = engine.reply().vocabulary
    kind = values.get(f"{PREFIX}model")
    if kind == "gpt2":
        definition = byte_level(path, values, vocabulary)
    elif kind == "llama":
        definition = sentencepiece(values, vocabulary)
    else:
        raise UnsupportedError(
            f"{path}: the tokenizer is of the kind {kind!r}; edgeproof rebuilds 'gpt2' (byte-level BPE) and "
            "'llama' (SentencePiece BPE)",
            next_step=WAY_ROUND,
        )
    definition["added_tokens"] = added_tokens(values, vocabulary)
    definition["post_processor"] = post_processor(path, stored, byte_level=kind == "gpt2")
    files = {"tokenizer.json": _json(definition), **_companions(values, vocabulary, stored)}
    with scratch_folder(Path(tempfile.gettempdir()), "edgeproof-tokenizer-") as folder:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return Rebuilt(files, prove_tokenizer(folder, path, texts))


def _companions(values: dict[str, object], vocabulary: Vocabulary, stored: EngineVocabulary) -> dict[str, bytes]:
    """Return tokenizer_config.json, generation_config.json and the chat templates."""
    roles: Json = {}
    for role, key in {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding", "sep": "seperator"}.items():
        index = values.get(f"{PREFIX}{key}_token_id")
        if isinstance(index, int) and 0 <= index < len(vocabulary.texts):
            roles[f"{role}_token"] = vocabulary.texts[index]
    context = next((value for key, value in values.items() if key.endswith(".context_length")), None)
    settings: Json = {
        **roles,
        "add_bos_token": stored.add_bos,
        "add_eos_token": stored.add_eos,
        "clean_up_tokenization_spaces": False,
        **({} if context is None else {"model_max_length": context}),
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    own = [stored.eos[0]] if stored.eos is not None else []
    # llama.cpp also treats a plain word that looks like an end as one (Qwen's "</s>"); no checkpoint does.
    ends = [index for index in stored.ends if vocabulary.types[index] in MARKERS]
    generation: Json = {
        "bos_token_id": values.get(f"{PREFIX}bos_token_id"),
        "eos_token_id": list(dict.fromkeys([*own, *ends])),
        "pad_token_id": values.get(f"{PREFIX}padding_token_id"),
    }
    files = {"tokenizer_config.json": _json(settings), "generation_config.json": _json(generation)}
    if stored.chat_template is not None:
        files["chat_template.jinja"] = stored.chat_template.encode()
    return files


def _json(content: object) -> bytes:
    return json.dumps(content, ensure_ascii=False, indent=1).encode()
