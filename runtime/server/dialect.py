"""Protocol of a server's interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgeproof.contracts.backend import GenerateRequest, Generation, Score, ScoreRequest
    from edgeproof.runtime.llama.model import Model
    from edgeproof.runtime.server.connection import Connection

SENTENCE = "The quick brown fox jumps over the lazy dog, and the old stone bridge lies quiet in the evening sun."
"""Sentence outside any pack, scored at the beginning and again later, to detect a changed model."""


class Identity(NamedTuple):
    """Identity of what a server runs; it must not change during a gate.

    Attributes:
        engine: the server's name and version, if it gives them.
        model: the name or path of its model.
        context_length: maximum tokens of a request; None if unknown.
        shape: sizes of the model by name (`Model.shape`); empty if unknown.
        chat_template: the template that the server would use; None if unknown.

    """

    engine: str
    model: str
    context_length: int | None
    shape: Mapping[str, int]
    chat_template: str | None


class Dialect(Protocol):
    """Interface of a server. Implementations check every value of an answer."""

    def __init__(self, connection: Connection, vocabulary: Model) -> None: ...

    @property
    def cannot_score(self) -> str:
        """Reason why the server gives no log-probabilities of given answers; empty if it does."""

    def identity(self) -> Identity:
        """Request the server's identity."""

    def same_tokens(self, texts: Sequence[tuple[str, bool]]) -> bool:
        """Compare the server's tokens of (text, parse_special) with the artifact's; False if it has no endpoint for it.

        Raises:
            ArtifactError: they differ.

        """

    def score(self, requests: Sequence[ScoreRequest], *, cached: bool = True) -> Iterator[Score]:
        """Score each request in order; `cached` lets the server keep common prefixes."""

    def generate(self, request: GenerateRequest) -> Generation:
        """Continue one request."""
