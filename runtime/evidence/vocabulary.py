"""The backend "vocabulary": a GGUF's tokenizer and chat template alone. It computes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from edgeproof.contracts.backend import ModelInfo
from edgeproof.contracts.errors import ArtifactError, UnsupportedError
from edgeproof.contracts.gguf_header import read_metadata
from edgeproof.contracts.progress import no_beat
from edgeproof.runtime.llama.model import Model
from edgeproof.runtime.opened import TokenizingBackend
from edgeproof.runtime.prompt_digest import gguf_prompt_digest
from edgeproof.runtime.tokenizer_digest import read_tokenizer, tokenizer_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from edgeproof.contracts.backend import GenerateRequest, Generation, Score, ScoreRequest

DEFAULT_CONTEXT = 8192


class VocabularyOnly(TokenizingBackend):
    """`Backend` that tokenizes and renders chats, as all that run this GGUF with llama.cpp do.

    Args:
        artifact: a GGUF.
        lora: must be None.
        context_length: tokens that the longest request may have.
        threads: not used.
        beat: called as work goes on; may raise to stop it.

    Raises:
        UnsupportedError: no single GGUF file.
        ArtifactError: it cannot be loaded.

    """

    def __init__(
        self,
        artifact: Path,
        *,
        lora: Path | None = None,
        context_length: int | None = None,
        threads: int | None = None,  # noqa: ARG002 (a backend's)
        beat: Callable[[], None] = no_beat,
    ) -> None:
        if lora is not None or artifact.is_dir():
            raise UnsupportedError("a device runs one GGUF file", next_step="merge the adapter, or export a GGUF")
        tokenizer = read_tokenizer(artifact)
        self._model = self._vocabulary = Model(artifact, None, beat, vocabulary_only=True)
        bos = self._model.bos if self._model.adds_bos else None
        self._info = ModelInfo(
            backend="llama.cpp",
            engine="none",
            processor="none",
            vocabulary=self._model.vocabulary_size,
            context_length=context_length or min(training_context(artifact), DEFAULT_CONTEXT),
            tokenizer_digest=tokenizer_digest(tokenizer, first=bos),
            chat_template=self._model.chat_template,
            bos=bos,
            options={"lora": "none"},
            eos=self._model.eos,
            prompt_digest=gguf_prompt_digest(artifact),
        )

    def close(self) -> None:
        """Free the vocabulary."""
        self._model.close()

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Score]:  # noqa: ARG002 (a backend's)
        """Refuse: nothing is computed."""
        _refuse()

    def generate(self, requests: Sequence[GenerateRequest]) -> Iterator[Generation]:  # noqa: ARG002 (a backend's)
        """Refuse: nothing is computed."""
        _refuse()


def training_context(artifact: Path) -> int:
    """Return the context that the model was trained on, as its file says."""
    entries = {entry.key: entry.value for entry in read_metadata(artifact, ArtifactError)}
    length = entries.get(f"{entries.get('general.architecture')}.context_length")
    if not isinstance(length, int) or length < 1:
        raise ArtifactError(f"{artifact} does not say the length of its context", next_step="export it again")
    return length


def _refuse() -> NoReturn:
    raise UnsupportedError("the backend vocabulary computes nothing", next_step="choose another --backend")
