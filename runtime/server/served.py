"""Evidence that a server runs the artifact's file.

No server gives the digest of its file. Compared are the file's name, the sizes of its model, its chat template, its
tokens of texts, and its result for one sentence with that of this machine's llama.cpp.
"""

from __future__ import annotations

from pathlib import PurePath, PureWindowsPath
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.contracts.backend import DOUBTED, NOT_PROVED
from edgeproof.contracts.errors import ArtifactError
from edgeproof.runtime.llama.backend import LlamaCpp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from edgeproof.contracts.backend import ScoreRequest
    from edgeproof.runtime.server.dialect import Identity
    from numpy.typing import NDArray

NEAR = 0.05
"""Tolerance between two processors on the same file, on average over the sentence's tokens, as a share of a token's
own number of nats (at least 1): quantized kernels round activations, each in its own way, and what is improbable moves
most (two builds of llama.cpp: 0.02 on SmolLM2 in Q4_1, 0.01 on a tiny model in Q8_0)."""

ANOTHER = 0.5
"""Mean difference, in nat a token of the sentence, above which the server cannot have this file: more than ten times
what kernels were seen to differ by (0.04), and an eighth of what a tiny unlearned model was from its own base (4.0)."""


def own_score(
    artifact: Path, request: ScoreRequest, threads: int | None, beat: Callable[[], None]
) -> NDArray[np.float32]:
    """Score `request` with this machine's llama.cpp: log-probabilities, float32 [len(continuation)]."""
    with LlamaCpp(artifact, threads=threads, beat=beat) as engine:
        (score,) = engine.score([request])
        return score.logprobs


def proof(
    artifact: Path,
    identity: Identity,
    *,
    shape: Mapping[str, int],
    chat_template: str | None,
    tokenized: bool,
    said: NDArray[np.float32],
    expected: NDArray[np.float32] | None,
) -> dict[str, str]:
    """Return the options that say what agrees, what is not proved, and what is doubted; a digest is never proved.

    `said` and `expected` are the log-probabilities of the sentence by the server and by this machine; None if the
    server gives none.

    Raises:
        ArtifactError: they are more than `ANOTHER` apart.

    """
    name = PureWindowsPath(identity.model).name if "\\" in identity.model else PurePath(identity.model).name
    near, apart = False, "no log-probabilities"
    if expected is not None:
        difference = np.abs(said - expected)
        near = float((difference / np.maximum(1.0, np.abs(expected))).mean()) <= NEAR
        apart = f"{len(said)} tokens, {difference.mean():.3f} nat a token apart, at most {difference.max():.2f}"
        if not difference.mean() <= ANOTHER:
            raise ArtifactError(
                f"the server does not compute this file: a sentence there is of other probability ({apart}; more than "
                f"{ANOTHER} is another model, or one that is computed wrongly)",
                next_step="restart the server with the very file that is judged; if it has it, its engine is at fault",
            )
    checks = (
        ("the file's name", name == artifact.name),
        ("the model's sizes", bool(identity.shape) and identity.shape == shape),
        ("the chat template", identity.chat_template is not None and identity.chat_template == chat_template),
        ("the tokens of texts", tokenized),
        (f"what it says of a sentence ({apart})", near),
    )
    shown = [what for what, agrees in checks if agrees]
    missing = [what for what, agrees in checks if not agrees]
    options = {"served file, shown": ", ".join(shown) or "nothing", NOT_PROVED: ", ".join([*missing, "its sha256"])}
    return options if near or expected is None else options | {DOUBTED: f"a sentence of {apart}"}
