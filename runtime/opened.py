"""Base class of open backends: a description, and a context manager that closes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
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
