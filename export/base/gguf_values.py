"""Typed reader for the metadata of a GGUF file's architecture; tracks unread keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from edgeproof.contracts.errors import CheckpointError, UnsupportedError

if TYPE_CHECKING:
    from edgeproof.export.base.gguf_file import GgufBase

WAY_ROUND = "give the model's Hugging Face folder as --base"


class GgufValues:
    """The metadata of one file, read with types; records the keys read.

    Raises (every reader): CheckpointError: the value is missing or of another type.
    """

    def __init__(self, base: GgufBase) -> None:
        self.path = base.path
        self.architecture = base.architecture
        self._values = {entry.key: entry.value for entry in base.metadata}
        self._read: set[str] = set()

    def integer(self, key: str, default: int | None = None, *, least: int = 1) -> int:
        """Return an integer, `least` or more; for a list with one per layer, their common value."""
        value = self._get(key, default)
        if isinstance(value, list) and value and value.count(value[0]) == len(value):
            value = value[0]
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self._wrong(key, value, f"one whole number for all layers, {least} or more")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Return a finite number above 0, in its shortest decimal form."""
        value = self._get(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
            raise self._wrong(key, value, "a number above 0")
        return shortest(value)

    def optional_number(self, key: str) -> float | None:
        """Return the number, None if the key is missing."""
        return self.number(key) if self.has(key) else None

    def text(self, key: str, default: str) -> str:
        """Return a string."""
        value = self._get(key, default)
        if not isinstance(value, str):
            raise self._wrong(key, value, "a text")
        return value

    def has(self, key: str) -> bool:
        """Whether the architecture has the key `key`."""
        return f"{self.architecture}.{key}" in self._values

    def only(self, key: str, allowed: tuple[object, ...], why: str) -> None:
        """Refuse any value of `key` not in `allowed`; a missing key passes."""
        value = self._get(key, allowed[0])
        if value not in allowed:
            raise UnsupportedError(f"{self.path}: {self.architecture}.{key} is {value!r}; {why}", next_step=WAY_ROUND)

    def refuse_unread(self) -> None:
        """Refuse unread keys of the architecture: their effect is unknown."""
        ours = (key for key in self._values if key.startswith(f"{self.architecture}."))
        unread = [key for key in ours if key not in self._read]
        if unread:
            shown = ", ".join(f"{key} = {self._values[key]!r}"[:80] for key in unread)
            raise UnsupportedError(
                f"{self.path}: these keys have no known meaning in a Hugging Face configuration: {shown}",
                next_step=WAY_ROUND,
            )

    def _get(self, key: str, default: object) -> object:
        full = f"{self.architecture}.{key}"
        self._read.add(full)
        return self._values.get(full, default)

    def _wrong(self, key: str, value: object, wanted: str) -> CheckpointError:
        says = "is missing" if value is None else f"is {value!r}"
        return CheckpointError(
            f"{self.path}: {self.architecture}.{key} {says}, not {wanted}", next_step="convert the model again"
        )


def shortest(value: float) -> float:
    """Return the shortest decimal that is the same number in float32."""
    return float(str(np.float32(value)))
