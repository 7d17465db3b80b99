"""llama.cpp context as a set of streams, each with its own sequence and key-value memory.

Streams and padded calls make results reproducible: llama.cpp's arithmetic depends on the composition of a batch. A
row's result changes with the number of rows (other kernels process fewer than 8 rows, 4 rows, or single rows) and with
the position of a sequence's cells in a shared memory (the order of summation). In 4-bit files, whose activations are
rounded to 8 bits, this changed single log-probabilities by up to 0.48 nat (mean 0.04) between single and batched
requests (a trial: 37 short probes, SmolLM2-135M in Q4_K_M, plain batches of 16 sequences, AVX-512).
Therefore

- each sequence begins at cell 0 of its own memory (`kv_unified` off), and trailing cells have exactly no weight;
- each call is one physical batch: adjacent streams with equal numbers of tokens, rows a multiple of 4 and at least 8;
- the number of rows with an output is a multiple of 4 and at least 8;
- flash attention, which uses float16 sums, is off.

Scores are then equal to the last bit in any order, batch or sharing of prefixes
(tests/runtime/llama/test_reproducible.py). Mixture-of-experts layers are the exception: the number of rows at an expert
depends on the other rows.
"""

from __future__ import annotations

import ctypes
import platform
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.contracts.errors import BackendError
from edgeproof.runtime.llama import log as llama_log
from edgeproof.runtime.llama.model import check_status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgeproof.runtime.llama.model import Model
    from numpy.typing import NDArray

ROW_GRAIN = 4
"""Rows are computed in multiples of this many …"""

MIN_ROWS = 8
"""… and at least this many."""


WIDTH_GRAIN = 2 if platform.machine() in {"x86_64", "AMD64"} else 4
"""Scores and prompts have a multiple of this many tokens per stream: attention uses another kernel for one token, on
ARM for fewer than four (ggml's llamafile_sgemm). Convolutions of recurrent layers need ROW_GRAIN."""


class Streams:
    """`count` streams of `cells` tokens each. `close` frees them; not thread-safe."""

    def __init__(
        self, model: Model, *, count: int, cells: int, rows: int, threads: int, beat: Callable[[], None]
    ) -> None:
        import llama_cpp

        self._api = llama_cpp
        self._beat = beat
        self._vocabulary = model.vocabulary_size
        self.count, self.cells, self.rows = count, cells, rows
        self._context = self._open(model, threads)
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._tokens = np.zeros(rows, np.int32)
        self._positions = np.zeros(rows, np.int32)
        self._outputs = np.zeros(rows, np.int8)
        self._stream_of = np.zeros(rows, np.int32)
        self._ones = np.ones(rows, np.int32)
        base = self._stream_of.ctypes.data
        self._stream_pointers = np.arange(base, base + 4 * rows, 4, dtype=np.uintp)
        self._batch = llama_cpp.llama_batch(
            token=_pointer(self._tokens, llama_cpp.llama_token),
            pos=_pointer(self._positions, llama_cpp.llama_pos),
            n_seq_id=_pointer(self._ones, ctypes.c_int32),
            seq_id=_pointer(self._stream_pointers, ctypes.POINTER(llama_cpp.llama_seq_id)),
            logits=_pointer(self._outputs, ctypes.c_int8),
        )

    def close(self) -> None:
        """Free the memory."""
        if self._context is not None:
            self._api.llama_free(self._context)
            self._context = None

    def clear(self, stream: int) -> None:
        """Clear a stream's sequence."""
        self._api.llama_memory_seq_rm(self._memory, stream, -1, -1)

    def truncate(self, stream: int, length: int) -> None:
        """Keep the first `length` tokens; `BackendError` for recurrent memories, which cannot be truncated."""
        if not self._api.llama_memory_seq_rm(self._memory, stream, length, -1):
            raise BackendError(f"llama.cpp cannot truncate stream {stream} to {length} tokens")

    def copy(self, source: int, target: int) -> None:
        """Copy the content of `source` to `target`."""
        self.clear(target)
        self._api.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def decode(self, first: int, starts: Sequence[int], tokens: NDArray[np.int32], wanted: NDArray[np.bool_]) -> None:
        """Decode tokens [streams, width] in the streams from `first` on, one row each, beginning at `starts`.

        `wanted` [streams, width] marks the rows with logits, which `logits` then returns by row index.
        """
        streams, width = tokens.shape
        rows = streams * width
        if rows > self.rows:
            raise BackendError(f"a batch of {rows} rows was requested; {self.rows} fit")
        self._tokens[:rows] = tokens.ravel()
        self._stream_of[:rows] = np.repeat(np.arange(first, first + streams, dtype=np.int32), width)
        self._positions[:rows] = (np.asarray(starts, np.int32)[:, None] + np.arange(width, dtype=np.int32)).ravel()
        self._outputs[:rows] = wanted.ravel()
        self._pad_outputs(rows)
        self._batch.n_tokens = rows
        llama_log.forget()
        check_status(int(self._api.llama_decode(self._context, self._batch)), f"compute {rows} tokens")
        self._beat()

    def logits(self, row: int) -> NDArray[np.float32]:
        """Return the logits [vocabulary] of a row of the last `decode`: a view that the next one overwrites."""
        pointer = self._api.llama_get_logits_ith(self._context, row)
        if not pointer:
            raise BackendError(f"llama.cpp gave no logits for row {row}")
        return np.ctypeslib.as_array(pointer, shape=(self._vocabulary,))

    def _pad_outputs(self, rows: int) -> None:
        """Request additional outputs, so that the output matrix also has a multiple of ROW_GRAIN rows."""
        outputs = self._outputs[:rows]
        asked = int(outputs.sum())
        missing = min(rows, max(MIN_ROWS, asked + -asked % ROW_GRAIN)) - asked if asked else 0
        if missing:
            outputs[np.flatnonzero(outputs == 0)[:missing]] = 1

    def _open(self, model: Model, threads: int) -> object:
        api = self._api
        options = api.llama_context_default_params()
        options.n_ctx, options.n_seq_max = self.count * self.cells, self.count
        options.n_batch = options.n_ubatch = options.n_outputs_max = self.rows
        options.n_outputs_max_per_seq = 0
        options.n_threads = options.n_threads_batch = threads
        options.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_DISABLED
        options.kv_unified = False
        options.swa_full = True
        options.offload_kqv = options.op_offload = False
        llama_log.forget()
        context = api.llama_init_from_model(model.handle, options)
        if not context:
            size = self.count * self.cells * model.cell_bytes
            raise BackendError(
                f"llama.cpp cannot make {self.count} streams of {self.cells:,} tokens "
                f"(about {size / 2**20:,.0f} MiB): {llama_log.last_lines()}",
                next_step="free memory, use fewer threads, or lower the context length",
            )
        if model.adapter is not None:
            adapters = (api.llama_adapter_lora_p_ctypes * 1)(model.adapter)
            check_status(
                int(api.llama_set_adapters_lora(context, adapters, 1, (ctypes.c_float * 1)(1.0))), "attach the adapter"
            )
        return context


def _pointer(array: NDArray[np.generic], kind: type[object]) -> object:
    return ctypes.cast(array.ctypes.data, ctypes.POINTER(kind))  # type: ignore[type-var]
