"""Tokenizer files of a base, copied into the ONNX folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import TokenizerError
from edgeproof.contracts.parsing import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TOKENIZER = "tokenizer.json"
SETTINGS = "tokenizer_config.json"
GENERATION = "generation_config.json"
SPECIAL = "special_tokens_map.json"
COPIED = (
    TOKENIZER,
    SPECIAL,
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
)
"""Files copied unchanged, if present; `SETTINGS` is rewritten, `GENERATION` goes into genai_config.json."""


@dataclass(frozen=True)
class TokenizerFiles:
    """Tokenizer files of a base.

    Attributes:
        where: the base, for messages.
        files: content of `COPIED`, `SETTINGS` and `GENERATION`, by name.
        special_tokens: texts of the special tokens "bos", "eos", "pad".
        vocabulary: id by token, including added tokens.

    """

    where: Path
    files: Mapping[str, bytes]
    special_tokens: Mapping[str, str]
    vocabulary: Mapping[str, int]

    def read(self, name: str) -> dict[str, object]:
        """Return one file's JSON object; empty if the file is missing.

        Raises:
            TokenizerError: the content is not a JSON object.

        """
        return _parse(self.where, name, self.files)


def read_tokenizer_files(folder: Path) -> TokenizerFiles:
    """Read the files that onnxruntime-genai's tokenizer needs from a base's folder; errors as for `tokenizer_files`."""
    names = (*COPIED, SETTINGS, GENERATION)
    try:
        return tokenizer_files(folder, {name: path.read_bytes() for name in names if (path := folder / name).is_file()})
    except OSError as error:
        raise TokenizerError(f"cannot read the tokenizer in {folder}: {error.strerror}") from error


def tokenizer_files(where: Path, files: Mapping[str, bytes]) -> TokenizerFiles:
    """Parse `files`, content by name, as the tokenizer files of the base `where`.

    Raises:
        TokenizerError: tokenizer.json or tokenizer_config.json is missing or cannot be read, or tokenizer.json is none
            that the library of this format can load.

    """
    if TOKENIZER not in files:
        found = "only tokenizer.model" if "tokenizer.model" in files else "none"
        raise TokenizerError(
            f"an ONNX folder ships a {TOKENIZER}, and {where} has {found}",
            next_step="create it with transformers, and copy it there: python -c "
            f"""\"from transformers import AutoTokenizer as T; T.from_pretrained('{where}').save_pretrained('.')\"""",
        )
    if SETTINGS not in files:
        raise TokenizerError(
            f"{where} has a {TOKENIZER} but no {SETTINGS}, which onnxruntime-genai reads beside it",
            next_step="copy or download it too",
        )
    settings, mapped = _parse(where, SETTINGS, files), _parse(where, SPECIAL, files)
    vocabulary = _vocabulary(where, _parse(where, TOKENIZER, files))
    _check_loads(where, files[TOKENIZER])
    special = {
        which: text
        for which in ("bos", "eos", "pad")
        if (text := _text(settings.get(f"{which}_token")) or _text(mapped.get(f"{which}_token")))
    }
    return TokenizerFiles(where, files, special, vocabulary)


def write_tokenizer_files(files: TokenizerFiles, folder: Path, *, context_length: int) -> None:
    """Write them to `folder`, with the model's context as maximum length: many bases have 10³⁰, which parsers refuse.

    Raises:
        OSError: `folder` cannot be written.

    """
    for name in COPIED:
        if name in files.files:
            (folder / name).write_bytes(files.files[name])
    settings = {**files.read(SETTINGS), "model_max_length": context_length}
    (folder / SETTINGS).write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _check_loads(where: Path, content: bytes) -> None:
    """Refuse what the engine could not load: the folder would ship and not run."""
    from tokenizers import Tokenizer

    try:
        Tokenizer.from_buffer(content)
    except Exception as error:  # the library raises plain Exception
        raise TokenizerError(
            f"{where / TOKENIZER} cannot be loaded: {error}", next_step="download the tokenizer's files again"
        ) from error


def _vocabulary(where: Path, tokenizer: Mapping[str, object]) -> dict[str, int]:
    model, added = tokenizer.get("model"), tokenizer.get("added_tokens")
    tokens = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(tokens, dict | list):
        raise TokenizerError(f"{where}: {TOKENIZER} has no vocabulary", next_step="copy or download the file again")
    try:
        # A unigram model has pairs of token and score.
        plain = tokens if isinstance(tokens, dict) else {pair[0]: index for index, pair in enumerate(tokens)}
        return plain | {item["content"]: item["id"] for item in (added if isinstance(added, list) else [])}
    except (TypeError, KeyError, IndexError) as error:
        raise TokenizerError(
            f"{where}: {TOKENIZER} has a malformed token: {type(error).__name__}: {error}",
            next_step="copy or download the file again",
        ) from error


def _text(token: object) -> str | None:
    """Return a token's text, stored as a string or in an object."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else None


def _parse(where: Path, name: str, files: Mapping[str, bytes]) -> dict[str, object]:
    if name not in files:
        return {}
    try:
        content = parse_json(files[name])
    except ValueError as error:
        raise TokenizerError(
            f"{where}: {name} is not JSON: {error}", next_step="copy or download the file again"
        ) from error
    if not isinstance(content, dict):
        raise TokenizerError(f"{where}: {name} is not a JSON object", next_step="copy or download the file again")
    try:
        if rb"\ud" in files[name].lower():
            json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise TokenizerError(
            f"{where}: {name} has {half!a}, half of a surrogate pair, which is no character",
            next_step="copy or download the file again",
        ) from error
    return content
