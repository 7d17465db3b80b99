"""Tokenizer of an ONNX folder, by `tokenizers` alone: encoding, decoding, special tokens, chat template.

tokenizer.json is the format of Hugging Face's tokenizers library; tokenizer_config.json, special_tokens_map.json and
chat_template.jinja are transformers'.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import ArtifactError
from edgeproof.contracts.onnx_folder import read_json
from edgeproof.runtime.tokenizer_digest import described_merges, vocabulary_digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_AGAIN = "export the folder again, with its tokenizer"


class Tokenizer:
    """The tokenizer of a folder.

    Attributes:
        size: number of ids, including added tokens, without special ones at the end that may be beyond the embedding
            (Gemma 3's image token in a text model).
        bos: id of the token that starts a text, None if the tokenizer adds none.
        chat_template: the Jinja source, None if there is none.
        description: content of tokenizer.json.

    Raises:
        ArtifactError: tokenizer.json is missing or unreadable, or its decoder is of an unknown kind.

    """

    def __init__(self, folder: Path) -> None:
        import tokenizers

        path = folder / "tokenizer.json"
        self.description = read_json(path)
        try:
            self._engine = tokenizers.Tokenizer.from_buffer(path.read_bytes())
        except Exception as error:  # the library raises plain Exception
            raise ArtifactError(f"{path} is not a tokenizer: {error}", next_step=_AGAIN) from error
        self._engine.no_padding()
        self._engine.no_truncation()
        self._added = self._engine.get_added_tokens_decoder()
        special = {index for index, token in self._added.items() if token.special}
        self._ids = {index: text for text, index in self._engine.get_vocab(with_added_tokens=True).items()}
        self.size = max(self._ids.keys() - special, default=-1) + 1
        self._bytes_of = _bytes_of(path, self.description)
        self._named = _named_tokens(folder)
        plain, whole = self._encode("a", special=False), self._encode("a", special=True)
        self._prefix = _prefix(whole, plain)
        named = self._engine.token_to_id(self.named_text("bos"))
        self.bos = self._prefix[0] if self._prefix and (named is None or self._prefix[0] == named) else None
        self.chat_template = _chat_template(folder)

    def digest(self, vocabulary: int) -> str:
        """Return the digest of the first `vocabulary` tokens, equal to that of the same model's GGUF."""
        return vocabulary_digest(
            {index: text.encode() for index, text in self._ids.items() if index < vocabulary},
            described_merges(self.description),
            first=self.bos,
            eos=self.named_id("eos"),
        )

    def named_text(self, role: str) -> str:
        """Return the text of the folder's token for `role` ("bos", "eos"), "" if it has none."""
        return self._named.get(f"{role}_token", "")

    def named_id(self, role: str) -> int | None:
        """Return the id of the folder's token for `role`."""
        text = self.named_text(role)
        found: int | None = self._engine.token_to_id(text) if text else None
        return found

    def tokenize(self, text: str, *, special: bool, parse_special: bool) -> tuple[int, ...]:
        """Return the ids of `text`; a prefix token of the tokenizer is not doubled if `text` begins with it."""
        tokens = self._encode(text, special=special, parse_special=parse_special)
        count = len(self._prefix)
        doubled = special and count and tokens[:count] == tokens[count : 2 * count] == self._prefix
        return tokens[count:] if doubled else tokens

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Return the text of `tokens`, without special tokens."""
        return str(self._engine.decode([token for token in tokens if token in self._ids], skip_special_tokens=True))

    def piece(self, token: int, *, special: bool) -> bytes:
        """Return the bytes that `token` adds to a text; for special tokens none, unless `special`.

        An id without a token adds nothing.
        """
        added = self._added.get(token)
        if added is not None and added.special and not special:
            return b""
        text = self._ids.get(token)
        if text is None:
            return b""
        return text.encode() if added is not None else self._bytes_of(text)

    def _encode(self, text: str, *, special: bool, parse_special: bool = True) -> tuple[int, ...]:
        self._engine.encode_special_tokens = not parse_special
        return tuple(self._engine.encode(text, add_special_tokens=special).ids)


class _ByteLevel:
    """Pieces of byte-level BPE: each character represents a byte, by GPT-2's table."""

    def __init__(self) -> None:
        plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
        spare = iter(range(256, 512))
        self._bytes = {chr(byte) if byte in plain else chr(next(spare)): byte for byte in range(256)}

    def __call__(self, piece: str) -> bytes:
        values = [self._bytes.get(character) for character in piece]
        return piece.encode() if None in values else bytes(value for value in values if value is not None)


class _Spaced:
    """Pieces of SentencePiece: a mark represents the space, <0xE4> a byte."""

    def __init__(self, mark: str) -> None:
        self._mark = mark

    def __call__(self, piece: str) -> bytes:
        found = _BYTE.fullmatch(piece)
        return bytes([int(found[1], 16)]) if found else piece.replace(self._mark, " ").encode()


def _bytes_of(path: Path, description: Mapping[str, object]) -> _ByteLevel | _Spaced:
    """Return the conversion of pieces to bytes for tokenizer.json's decoder."""
    decoder = description.get("decoder")
    parts = decoder.get("decoders", [decoder]) if isinstance(decoder, dict) else []
    kinds = {part.get("type"): part for part in parts if isinstance(part, dict)}
    if "ByteLevel" in kinds:
        return _ByteLevel()
    if "Metaspace" in kinds:
        return _Spaced(str(kinds["Metaspace"].get("replacement", "▁")))
    if "ByteFallback" in kinds and "Replace" in kinds:
        pattern = kinds["Replace"].get("pattern")
        return _Spaced(str(pattern.get("String", "▁") if isinstance(pattern, dict) else "▁"))
    raise ArtifactError(
        f"{path}: its decoder is {'+'.join(map(str, kinds)) or 'missing'}; "
        "ByteLevel, Metaspace and ByteFallback are supported",
        next_step="use a model with a BPE or SentencePiece tokenizer",
    )


def _named_tokens(folder: Path) -> dict[str, str]:
    """Return the texts of the special tokens by role, from tokenizer_config.json or special_tokens_map.json."""
    named: dict[str, str] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if not (folder / name).is_file():
            continue
        for key, value in read_json(folder / name).items():
            text = value.get("content") if isinstance(value, dict) else value
            if key in {"bos_token", "eos_token", "unk_token", "pad_token"} and isinstance(text, str):
                named[key] = text
    return named


def _chat_template(folder: Path) -> str | None:
    """Return the template: chat_template.jinja, or that of tokenizer_config.json ("default" if there are several)."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ArtifactError(f"{path} is not UTF-8: {error}", next_step=_AGAIN) from error
    config = folder / "tokenizer_config.json"
    template = read_json(config).get("chat_template") if config.is_file() else None
    if isinstance(template, list):
        named = {one.get("name"): one.get("template") for one in template if isinstance(one, dict)}
        template = named.get("default")
    return template if isinstance(template, str) else None


def _prefix(whole: tuple[int, ...], plain: tuple[int, ...]) -> tuple[int, ...]:
    """Return the tokens of `whole` before `plain` (which an end token may follow)."""
    for start in range(len(whole) - len(plain) + 1):
        if whole[start : start + len(plain)] == plain:
            return whole[:start]
    return ()
