"""Reader for a Hugging Face folder's tokenizer: tokenizer.json, tokenizer_config.json and related files.

All files are parsed and validated here, once; the other modules of this package rely on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from edgeproof.contracts.errors import TokenizerError
from edgeproof.contracts.parsing import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Json = Mapping[str, Any]

WAYS_ROUND = (
    "convert the base to a float GGUF with your own llama.cpp and pass it as --base model-f16.gguf, "
    "or pass --converter DIR, a llama.cpp checkout whose converter knows this tokenizer"
)


class AddedToken(NamedTuple):
    """A token that is matched in the text first. Fields as in tokenizer.json's `added_tokens`."""

    id: int
    content: str
    special: bool = False
    normalized: bool = True
    lstrip: bool = False
    rstrip: bool = False


@dataclass(frozen=True)
class Pipeline:
    """Content of tokenizer.json.

    Attributes:
        kind: type of the model: "BPE", "Unigram", "WordPiece", "WordLevel".
        vocab: id by piece; ids are unique.
        merges: pairs in order of rank, BPE only.
        ignore_merges: whether a word in the vocabulary is one token without merging.
        byte_fallback: whether characters without a piece become <0xNN>, as in SentencePiece.
        added: tokens of `added_tokens`, by id.
        normalizer, pre_tokenizer, post_processor: as in the file.

    """

    kind: str
    vocab: Mapping[str, int]
    merges: tuple[tuple[str, str], ...]
    ignore_merges: bool
    byte_fallback: bool
    added: tuple[AddedToken, ...]
    normalizer: Json | None
    pre_tokenizer: Json | None
    post_processor: Json | None


@dataclass(frozen=True)
class Definition:
    """Tokenizer of a folder.

    Attributes:
        folder: the folder.
        pipeline: tokenizer.json, None if there is only a tokenizer.model.
        settings: tokenizer_config.json, None if missing.
        added: all added tokens by id: the pipeline's, then those that only added_tokens_decoder names.
        sentencepiece: tokenizer.model, None if missing.

    """

    folder: Path
    pipeline: Pipeline | None
    settings: Json | None
    added: Mapping[int, AddedToken]
    sentencepiece: Path | None

    @property
    def special_texts(self) -> frozenset[str]:
        """Texts of the special tokens in the settings, which Hugging Face treats as special too."""
        settings = self.settings or {}
        named = [value for key, value in settings.items() if key.endswith("_token")]
        for key in ("additional_special_tokens", "extra_special_tokens"):
            more = settings.get(key) or ()
            named += list(more.values()) if isinstance(more, dict) else list(more)
        return frozenset(text for text in map(token_text, named) if text is not None)

    @property
    def byte_level(self) -> bool:
        """Whether the tokenizer is byte-level BPE (as in GPT-2)."""
        return self.pipeline is not None and self.pipeline.kind == "BPE" and not self.pipeline.byte_fallback


def read_definition(folder: Path) -> Definition:
    """Read the tokenizer of `folder`.

    Raises:
        TokenizerError: there is no tokenizer, a file is broken, two tokens have one id, or two files contradict each
            other.

    """
    pipeline_path, model_path = folder / "tokenizer.json", folder / "tokenizer.model"
    pipeline = _read_pipeline(pipeline_path) if pipeline_path.is_file() else None
    if pipeline is None and not model_path.is_file():
        raise TokenizerError(
            f"{folder} has no tokenizer: neither tokenizer.json nor tokenizer.model",
            next_step="copy the base checkpoint's tokenizer files into the folder",
        )
    settings_path = folder / "tokenizer_config.json"
    settings = read_json(settings_path) if settings_path.is_file() else None
    return Definition(
        folder=folder,
        pipeline=pipeline,
        settings=settings,
        added=_all_added(folder, pipeline, settings or {}),
        sentencepiece=model_path if model_path.is_file() else None,
    )


def read_json(path: Path) -> Json:
    """Read a JSON object; `TokenizerError` with the file's name for anything else."""
    try:
        value = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TokenizerError(
            f"{path} cannot be read: {error}", next_step="download the tokenizer's files again"
        ) from error
    if not isinstance(value, dict):
        raise TokenizerError(
            f"{path} holds a {type(value).__name__}, not an object", next_step="download the tokenizer's files again"
        )
    return value


def token_text(entry: object) -> str | None:
    """Return the text of a token in tokenizer_config.json: a string, or an object with `content`; else None."""
    content = entry.get("content") if isinstance(entry, dict) else entry
    return content if isinstance(content, str) else None


def _read_pipeline(path: Path) -> Pipeline:
    content = read_json(path)
    try:
        return _parse_pipeline(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TokenizerError(
            f"{path} is not a tokenizer of the `tokenizers` library: {type(error).__name__}: {error}",
            next_step="download the tokenizer's files again",
        ) from error


def _parse_pipeline(content: Json) -> Pipeline:
    model = content["model"]
    vocab = model["vocab"]
    if isinstance(vocab, list):  # Unigram: [piece, score] in order of id
        vocab = {piece: index for index, (piece, _) in enumerate(vocab)}
    holders: dict[int, str] = {}
    for piece, index in vocab.items():
        if not isinstance(index, int) or index < 0:
            raise ValueError(f"the id of {piece!r} is {index!r}")
        if index in holders:
            raise _duplicate(index, holders[index], piece)
        holders[index] = piece
    added = tuple(_added_token(int(token["id"]), token) for token in content.get("added_tokens") or ())
    for token in added:
        if holders.setdefault(token.id, token.content) != token.content:
            raise _duplicate(token.id, holders[token.id], token.content)
    return Pipeline(
        # Old files omit the type if the model can only be BPE.
        kind=model.get("type") or "BPE",
        vocab=vocab,
        merges=tuple(_pair(merge) for merge in model.get("merges") or ()),
        ignore_merges=bool(model.get("ignore_merges", False)),
        byte_fallback=bool(model.get("byte_fallback", False)),
        added=added,
        normalizer=_component(content, "normalizer"),
        pre_tokenizer=_component(content, "pre_tokenizer"),
        post_processor=_component(content, "post_processor"),
    )


def _component(content: Json, name: str) -> Json | None:
    """Return a part of the pipeline, checked to consist of objects at every level."""
    value = content.get(name)
    waiting = [] if value is None else [value]
    while waiting:
        part = waiting.pop()
        if not isinstance(part, dict):
            raise TypeError(f"{name} holds {str(part)[:40]!r} instead of an object")
        for key in ("normalizers", "pretokenizers", "processors", "single", "pair"):
            if not isinstance(inner := part.get(key) or [], list):
                raise TypeError(f"{key} of {name} is {str(inner)[:40]!r}, not a list")
            waiting.extend(inner)
    return value


def _pair(merge: str | list[str]) -> tuple[str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(left, str) or not isinstance(right, str):
        raise TypeError(f"a merge of {str(left)[:40]!r} and {str(right)[:40]!r}")
    return left, right


def _added_token(index: int, token: Json) -> AddedToken:
    special = bool(token.get("special", False))
    return AddedToken(
        id=index,
        content=str(token["content"]),
        special=special,
        normalized=bool(token.get("normalized", not special)),
        lstrip=bool(token.get("lstrip", False)),
        rstrip=bool(token.get("rstrip", False)),
    )


def _all_added(folder: Path, pipeline: Pipeline | None, settings: Json) -> dict[int, AddedToken]:
    """Return all added tokens, including those that only added_tokens.json and added_tokens_decoder name."""
    added = {token.id: token for token in pipeline.added} if pipeline is not None else {}
    known = {index: piece for piece, index in pipeline.vocab.items()} if pipeline is not None else {}
    known.update((token.id, token.content) for token in added.values())
    try:
        listed = [_added_token(int(index), token) for index, token in settings.get("added_tokens_decoder", {}).items()]
        path = folder / "added_tokens.json"
        if path.is_file():
            ids = {token.id for token in listed}
            listed += [AddedToken(int(i), text) for text, i in read_json(path).items() if int(i) not in ids]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TokenizerError(
            f"{folder}: the added tokens are not pairs of id and content: {type(error).__name__}: {error}",
            next_step="download the tokenizer's files again",
        ) from error
    for token in listed:
        if known.setdefault(token.id, token.content) != token.content:
            raise _duplicate(token.id, known[token.id], token.content)
        added.setdefault(token.id, token)
    return added


def _duplicate(index: int, first: str, second: str) -> TokenizerError:
    return TokenizerError(
        f"the id {index} belongs to two tokens, {first!r} and {second!r}",
        next_step="take tokenizer.json, tokenizer_config.json and added_tokens.json from the same checkpoint",
    )
