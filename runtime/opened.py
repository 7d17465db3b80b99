"""Base classes of open backends: a description, a context manager that closes, and the artifact's own vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

from edgeproof.contracts.chat import render_chat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from edgeproof.contracts.backend import ModelInfo


class OpenedBackend:
    """Base class of open backends; a subclass sets `_info`."""

    _info: ModelInfo

    @property
    def info(self) -> ModelInfo:
        """Description of the loaded artifact."""
        return self._info

    def close(self) -> None:
        """Free what is held; repeated calls have no effect."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Vocabulary(Protocol):
    """The artifact's tokenizer."""

    def tokenize(self, text: str, *, special: bool, parse_special: bool) -> tuple[int, ...]:
        """Return the ids of `text`; a BOS at the beginning of `text` is not doubled."""

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Return the text of `tokens`, without special tokens."""

    def piece(self, token: int, *, special: bool) -> bytes:
        """Return the bytes that `token` adds to a text; for special tokens none, unless `special`."""

    def named_text(self, role: str) -> str:
        """Return the text of the artifact's special token for `role` ("bos", "eos"), or ""."""


class TokenizingBackend(OpenedBackend):
    """Base class of backends that make prompts with the artifact's own vocabulary; a subclass sets `_vocabulary`."""

    _vocabulary: Vocabulary

    def tokenize(self, text: str, *, special: bool, parse_special: bool = False) -> tuple[int, ...]:
        """Token ids of `text`; a BOS at the beginning of `text` is never doubled."""
        return self._vocabulary.tokenize(text, special=special, parse_special=parse_special)

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Text of `tokens` without special tokens; invalid UTF-8 becomes U+FFFD."""
        return self._vocabulary.detokenize(tokens)

    def render_chat(self, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool = True) -> str:
        """Render `messages` with the artifact's own template; tokenize it with `special=True, parse_special=True`."""
        return render_chat(
            self._info.chat_template,
            messages,
            bos_token=self._vocabulary.named_text("bos"),
            eos_token=self._vocabulary.named_text("eos"),
            add_generation_prompt=add_generation_prompt,
        )
