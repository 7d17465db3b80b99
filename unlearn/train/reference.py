"""Reference log-probabilities of the model before unlearning, computed once, so that no second model is needed.

```
NPO   log π_ref(answer), one float32 per answer                            in memory
KLR   log π_ref at each token of the retain answers, the whole vocabulary  in a memory-mapped file beside --out
```
The file has no name: the system frees it when the process ends, even by a crash.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from typing import IO, TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import OutputError
from edgeproof.unlearn.data.encoding import answer_length
from edgeproof.unlearn.train.scoring import evaluated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from edgeproof.unlearn.data.encoding import EncodedText
    from torch import Tensor
    from torch.nn import Module

EVERYWHERE = 256
"""Largest number of texts that say whether a set's answers come out anywhere."""

_BYTES = 4
"""Bytes of a float32."""


class Distributions(NamedTuple):
    """Log π_ref of every next token of a set's answers.

    Attributes:
        rows: float32 [tokens, vocabulary], memory-mapped, text by text.
        starts: first row of each text, and the end: one more than there are texts.

    """

    rows: np.memmap[tuple[int, int], np.dtype[np.float32]]
    starts: Sequence[int]

    def of(self, chosen: Sequence[int]) -> Tensor:
        """Return the rows of these texts, one after another, float32 [tokens, vocabulary]."""
        import numpy as np
        import torch

        return torch.from_numpy(np.concatenate([self.rows[self.starts[i] : self.starts[i + 1]] for i in chosen]))

    def spread(self, some: Sequence[int], count: int) -> Distributions:
        """Return the same rows for `count` texts, of which only `some`, in ascending order, have any."""
        lengths = dict(zip(some, (end - start for start, end in itertools.pairwise(self.starts)), strict=True))
        return self._replace(starts=(0, *itertools.accumulate(lengths.get(index, 0) for index in range(count))))


class Texts(NamedTuple):
    """A training set.

    Attributes:
        encoded: every item in every form.
        reference: log π_ref of each text, float32 [texts]; NaN if unused.
        distributions: the distributions π_ref, if a loss needs them.
        groups: the texts of each item, by surface and form; None if items and texts are the same.

    """

    encoded: Sequence[EncodedText]
    reference: Tensor
    distributions: Distributions | None = None
    groups: Sequence[Sequence[Sequence[int]]] | None = None

    @property
    def items(self) -> int:
        """Number of items; a pass has each once."""
        return len(self.encoded) if self.groups is None else len(self.groups)

    @property
    def measured(self) -> list[int]:
        """Indices of the texts that represent the set when measured: one per item, with alternating surfaces."""
        return list(range(len(self.encoded))) if self.groups is None else in_turn(self.groups)

    @property
    def measured_texts(self) -> list[EncodedText]:
        """The texts of `measured`."""
        return [self.encoded[index] for index in self.measured]

    @property
    def everywhere(self) -> list[EncodedText]:
        """The texts of all items in all forms, or `EVERYWHERE` of them at equal distances."""
        every = [] if self.groups is None else [index for item in self.groups for forms in item for index in forms]
        indices = every or range(len(self.encoded))
        count = min(EVERYWHERE, len(indices))
        return [self.encoded[indices[len(indices) * place // count]] for place in range(count)]

    def tokens(self, chosen: Sequence[int]) -> int:
        """Return the number of answer tokens of these texts."""
        return sum(answer_length(self.encoded[index]) for index in chosen)


def in_turn(groups: Sequence[Sequence[Sequence[int]]]) -> list[int]:
    """Return one text per item: the first item on its first surface, the next on its second, and so on."""
    return [surfaces[number % len(surfaces)][0] for number, surfaces in enumerate(groups)]


def bytes_needed(texts: Sequence[EncodedText], vocabulary: int) -> int:
    """Return the size of the file of `reference_distributions`."""
    return sum(map(answer_length, texts)) * vocabulary * _BYTES


def reference_distributions(
    model: Module,
    texts: Sequence[EncodedText],
    folder: Path,
    *,
    vocabulary: int,
    batch_size: int,
    device: str,
    advance: Callable[[int], None],
) -> Distributions:
    """Compute log π_ref at each token of the answers, into an unnamed file in `folder`.

    Args:
        model: the model before training (with an adapter disabled by the caller).
        texts: the texts.
        folder: folder whose disk holds the file.
        vocabulary: number of logits.
        batch_size: texts per forward pass.
        device: the model's device.
        advance: receives the number of finished texts.

    Raises:
        OutputError: the disk has too little space (checked before the computation), or cannot be written.

    """
    import numpy as np
    import torch

    needed = bytes_needed(texts, vocabulary)
    try:
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise _no_room(folder, needed, f"{_size(free)} are free")
        file: IO[bytes] = tempfile.TemporaryFile(prefix=".reference.", dir=folder)  # noqa: SIM115 (the mapping keeps it)
        with file:
            for batch, logits in evaluated(model, texts, batch_size=batch_size, device=device, advance=advance):
                with torch.inference_mode():
                    rows = torch.log_softmax(logits[batch.is_answer], dim=1).cpu()
                # Written, not stored through the mapping, so that a full disk is an error instead of a fatal signal.
                file.write(rows.numpy().tobytes())
            file.flush()
            starts = (0, *itertools.accumulate(map(answer_length, texts)))
            mapped: np.memmap[tuple[int, int], np.dtype[np.float32]] = np.memmap(
                file, dtype=np.float32, mode="r", shape=(starts[-1], vocabulary)
            )
    except OSError as error:
        raise _no_room(folder, needed, error.strerror or str(error)) from error
    return Distributions(mapped, starts)


def _no_room(folder: Path, needed: int, why: str) -> OutputError:
    return OutputError(
        f"KL on the retain set needs a temporary file of {_size(needed)} in {folder}: {why}",
        next_step="give an --out on a larger disk, fewer retain texts, or a method with +gdr",
    )


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
