"""llama.cpp backend: scores and generates on a GGUF file, in batches, bit for bit reproducible.

This class computes in its own process; `open_backend` runs it in a child process. `batching.prefixes` plans the
batches; `streams` explains their shape.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from edgeproof.contracts.backend import LONG_ROPE, ROPE_FACTORS, ModelInfo, chosen_by_size
from edgeproof.contracts.errors import UnsupportedError
from edgeproof.contracts.progress import no_beat
from edgeproof.runtime.batching.backend import BatchingBackend
from edgeproof.runtime.batching.prefixes import jobs
from edgeproof.runtime.batching.work_queue import Lot
from edgeproof.runtime.batching.workers import Workers
from edgeproof.runtime.llama.finite_values import refuse_non_finite
from edgeproof.runtime.llama.model import Model, may_repack
from edgeproof.runtime.llama.rope_factors import rope_factors
from edgeproof.runtime.llama.streams import MIN_ROWS, ROW_GRAIN
from edgeproof.runtime.llama.worker import LlamaWorker
from edgeproof.runtime.processor import physical_cores, processor_name
from edgeproof.runtime.prompt_digest import gguf_prompt_digest
from edgeproof.runtime.tokenizer_digest import read_tokenizer, tokenizer_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from edgeproof.runtime.batching.prefixes import Item
    from edgeproof.runtime.batching.watching import Watching

WORKER_BYTES = 2**29
"""Key-value memory of each worker's streams …"""

MIN_WAVE_BYTES = 2**30
"""… and its limit if fewer than MIN_ROWS streams would fit, since smaller steps use other kernels."""

LOGITS_BYTES = 2**27
"""Maximum total size of the workers' logits."""

MAX_ROWS = 512
"""Maximum number of tokens that all workers compute at a time."""

MAX_WAVE = 32
"""Maximum number of requests that a worker computes side by side."""

CELL_GRAIN = 256
"""llama.cpp makes streams in multiples of this many cells."""

DEFAULT_CONTEXT = 8192
"""Maximum default context length."""


class LlamaCpp(BatchingBackend[LlamaWorker]):
    """`Backend` on llama.cpp, in this process.

    Args:
        artifact: a GGUF file.
        lora: a GGUF LoRA adapter to apply unmerged.
        context_length: maximum tokens of a request; default: the model's training context, at most 8,192.
        threads: number of single-threaded workers; default: the physical cores available to this process.
        long_rope: compute every request with the long rope factors, as in a context beyond the original one; default:
            llama.cpp's choice, with contexts no larger than a request needs.
        beat: called during the work; may raise to stop it.

    Raises:
        ArtifactError: the file is not a GGUF, truncated, or of an unknown architecture; or the adapter is of another
            base.
        UnsupportedError: `long_rope` for a file without long rope factors.

    """

    def __init__(
        self,
        artifact: Path,
        *,
        lora: Path | None = None,
        context_length: int | None = None,
        threads: int | None = None,
        long_rope: bool = False,
        beat: Callable[[], None] = no_beat,
    ) -> None:
        tokenizer = read_tokenizer(artifact)
        self._factors, self._long_rope = rope_factors(artifact), long_rope
        if long_rope and self._factors is None:
            raise UnsupportedError(f"{artifact} has no long rope factors", next_step="omit long_rope")
        for path in (artifact, *([] if lora is None else [lora])):
            refuse_non_finite(path, beat)
        self._threads = threads or physical_cores()
        override = self._factors.override() if self._factors is not None and long_rope else {}
        self._model = Model(artifact, lora, beat, override=override)
        size = self._model.vocabulary_size
        rows = min(MAX_ROWS, LOGITS_BYTES // (4 * size)) // self._threads
        self._rows = max(32, rows - rows % MIN_ROWS)
        workers = Workers(self._threads, partial(LlamaWorker, self._model, self._rows), beat)
        engine, flags = self._model.engine()
        bos = self._model.bos if self._model.adds_bos else None
        info = ModelInfo(
            backend="llama.cpp",
            engine=engine,
            processor=f"{processor_name()}; {flags}",
            vocabulary=size,
            context_length=context_length or min(self._model.training_context, DEFAULT_CONTEXT),
            tokenizer_digest=tokenizer_digest(tokenizer, first=bos),
            chat_template=self._model.chat_template,
            bos=bos,
            options=self._options(lora),
            eos=self._model.eos,
            prompt_digest=gguf_prompt_digest(artifact),
        )
        super().__init__(info, self._model, self._model.is_end, workers)

    def close(self) -> None:
        """Free memory and weights."""
        super().close()
        self._model.close()

    def _score_lots(self, items: Sequence[Item], lengths: Sequence[int]) -> Iterator[Lot]:
        """Group items by their stream size, small ones first, then by common prefix."""
        groups: dict[int, list[Item]] = {}
        for item, length in zip(items, lengths, strict=True):
            groups.setdefault(self._cells(length + MIN_ROWS), []).append(item)
        for cells, group in sorted(groups.items()):
            wave = self._wave(cells)
            made = jobs(group, wave if wave > 1 else len(group))
            for job in sorted(made, key=lambda job: -len(job.items)):
                yield Lot(job.items, cells, wave, job.trunk)

    _generate_lots = _score_lots

    def _stream_lot(self, one: Watching) -> Lot:
        cells = self._cells(one.longest + MIN_ROWS)
        # A recurrent memory cannot be taken back: what is watched needs a stream of its own.
        return Lot((one.prompt,), cells, max(self._wave(cells), 2 if self._model.recurrent else 1))

    def _cells(self, length: int) -> int:
        """Return the stream size; one within the original context, if there is one, so that short factors are used."""
        cells = _cells(length)
        within = length + -length % CELL_GRAIN
        return within if self._factors is not None and within <= self._factors.original < cells else cells

    def _wave(self, cells: int) -> int:
        """Return the number of requests of this size per worker; below MIN_ROWS it does not depend on `threads`."""
        size = cells * max(1, self._model.cell_bytes)
        fit = max(WORKER_BYTES // size, min(MIN_ROWS, MIN_WAVE_BYTES // size))
        wave = max(1, min(MAX_WAVE, fit, self._rows // ROW_GRAIN))
        return wave - wave % ROW_GRAIN if wave >= ROW_GRAIN else wave

    def _options(self, lora: Path | None) -> dict[str, str]:
        factors = self._factors
        chosen = (
            {}
            if factors is None
            else {ROPE_FACTORS: LONG_ROPE if self._long_rope else chosen_by_size(factors.original)}
        )
        return chosen | {
            "threads": str(self._threads),
            "rows": str(self._rows * self._threads),
            "flash_attention": "off",
            "kv_type": "f16",
            "kv_unified": "off",
            "repacked_weights": "on" if may_repack() else "off",
            "lora": "none" if lora is None else lora.name,
        }


def _cells(length: int) -> int:
    """Round up to a stream size: 256, 512, 1024, then thousands; a function of the request's length only."""
    for size in (256, 512, 1024):
        if length <= size:
            return size
    return length + -length % 1024
