"""What the backend needs of a server, whichever interface it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgeproof.contracts.backend import GenerateRequest, Generation, Score, ScoreRequest
    from edgeproof.runtime.llama.model import Model
    from edgeproof.runtime.server.connection import Connection

SENTENCE = "The quick brown fox jumps over the lazy dog, and the old stone bridge lies quiet in the evening sun."
"""Words of no pack, asked at the beginning and again later: the same model says the same of them."""


class Identity(NamedTuple):
    """What a server says that it runs; it must say the same to the end.

    Attributes:
        engine: the server's name and version, as far as it tells them.
        model: the name or path of its model.
        context_length: tokens that one request may have, None where it does not tell.
        shape: sizes of the model by name (`Model.shape`), none where it does not tell.
        chat_template: the template that it would use itself, None where it does not tell.

    """

    engine: str
    model: str
    context_length: int | None
    shape: Mapping[str, int]
    chat_template: str | None


class Dialect(Protocol):
    """Asks a server in its own words. Checks every value that comes back."""

    def __init__(self, connection: Connection, vocabulary: Model) -> None: ...

    @property
    def cannot_score(self) -> str:
        """Why it gives no log-probabilities of given answers; empty where it does."""

    def identity(self) -> Identity:
        """Ask what it runs."""

    def same_tokens(self, texts: Sequence[tuple[str, bool]]) -> bool:
        """Compare the server's tokens of (text, parse_special) with the artifact's; False where it cannot be asked.

        Raises:
            ArtifactError: it has others.

        """

    def score(self, requests: Sequence[ScoreRequest], *, cached: bool = True) -> Iterator[Score]:
        """Score each request in order; `cached` lets the server keep what requests have in common."""

    def generate(self, request: GenerateRequest) -> Generation:
        """Continue one request."""
