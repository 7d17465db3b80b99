"""onnxruntime session with its key-value memory: computes tokens at given positions and returns the logits.

The memory is one block for each layer's keys and values, [rows, kv_heads, cells, head_size], bound once as input and as
output, so that GroupQueryAttention writes new tokens in place. It can be viewed as many short rows or few long ones.

Reasons for the shape of the calls (measured with onnxruntime 1.32 on AVX-512, graphs of SmolLM2-135M in float32 and in
int4 at accuracy levels 0 and 4, and tiny models of other families):

- Right padding with ordinary tokens is exact: attention is causal. Left padding is not: rotary positions count from the
  mask's sum.
- One new token in a row uses another attention kernel than two or more (it changes logits by 4e-5 in float32, by 0.8 at
  level 4, whose rounding to 8 bits amplifies it); a single row uses another matrix kernel at level 0. Attention
  processes new tokens in blocks (of twice the head size, if the processor's cache allows it), and one token may remain
  for the last block. So scores and prompts are always computed with an even number of tokens per row, and single
  tokens in two rows or more. The bits then do not depend on batch, order, prefix, memory size or workers, at level 4
  as at level 0 (tests/runtime/onnxruntime/test_reproducible.py).
- Several rows with a past take one new token each: the kernel refuses more.
- A layer with a window may have a memory of the window's length (`sliding_window_cache`). Here its memory is as long
  as the others', so nothing is evicted, and a row can be truncated to any length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from edgeproof.contracts.errors import ArtifactError, BackendError
from edgeproof.contracts.progress import no_beat

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from edgeproof.runtime.onnxruntime.graph import Graph
    from numpy.typing import NDArray

GRAIN = 2
"""New tokens in a row, of scores and prompts, are a multiple of this many."""

MIN_ROWS = 2
"""Minimum number of rows of a batch of single tokens."""

LOGITS_BYTES = 2**27
"""Maximum total size of the workers' logits."""

MEMORY_BYTES = 2**29
"""Key-value memory of all workers for rows beyond each one's first …"""

SESSION_BYTES = 2**26
"""… and the minimum per worker."""

MAX_TOKENS = 512
"""Maximum number of tokens that all workers compute at a time."""

SESSION_OPTIONS = {
    "inter_op_threads": "1",
    "execution_mode": "sequential",
    "graph_optimization": "all",
    "execution_provider": "CPUExecutionProvider",
    "cpu_arena": "off",
    "spinning": "off",
}
"""Settings of every session, by `ModelInfo`'s names."""


class Engine:
    """A loaded graph, shared by several sessions.

    Args:
        graph: the graph to load.
        workers: number of sessions.

    Raises:
        ArtifactError: onnxruntime refuses the graph, or a trial run of two tokens fails.

    """

    def __init__(self, graph: Graph, *, workers: int) -> None:
        self.graph = graph
        self.failures = _failures()
        self.session = self._open()
        self._memory_bytes = max(SESSION_BYTES, MEMORY_BYTES // workers)
        tokens = min(MAX_TOKENS, LOGITS_BYTES // (4 * graph.config.vocabulary)) // workers
        self.tokens = max(32, tokens // GRAIN * GRAIN)
        self._trial()

    @property
    def cell_bytes(self) -> int:
        """Bytes of key-value memory per token."""
        config = self.graph.config
        return len(config.past) * config.kv_heads * config.head_size * np.dtype(self.graph.cache_type).itemsize

    def rows(self, cells: int) -> int:
        """Return the number of rows of `cells` tokens that fit into a session's memory, at least 1."""
        return max(1, self._memory_bytes // (max(cells, self.graph.window) * self.cell_bytes))

    def close(self) -> None:
        """Free the weights. Sessions must be closed before."""
        self.session = None

    def _open(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        source = self.graph.source
        if isinstance(source, bytes):
            folder = str(self.graph.folder)
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
        given = source if isinstance(source, bytes) else str(source)
        try:
            return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
        except self.failures as error:
            raise ArtifactError(
                f"onnxruntime {onnxruntime.__version__} cannot load {self.graph.folder}: {_reason(error)}",
                next_step="export the folder again; if its operators are new, upgrade onnxruntime",
            ) from error

    def _trial(self) -> None:
        """Run two tokens, to detect errors that no check of the graph finds (the head size)."""
        session = Session(self, beat=no_beat)
        session.reserve(1, GRAIN)
        try:
            session.run(0, [0], np.zeros((1, GRAIN), np.int64))
        except BackendError as error:
            raise ArtifactError(
                f"{self.graph.folder}: its graph does not run with the values of genai_config.json: {error.message}",
                next_step="restore the genai_config.json of this graph, or export the folder again",
            ) from error


class Session:
    """A key-value memory, and the engine's calls that compute in it. Not thread-safe.

    Args:
        engine: the loaded graph.
        beat: called after each call; may raise.

    """

    def __init__(self, engine: Engine, beat: Callable[[], None]) -> None:
        self.engine, self._graph, self._beat = engine, engine.graph, beat
        self._config = config = engine.graph.config
        self._logits = np.empty(engine.tokens * config.vocabulary, np.dtype(self._graph.logits_type))
        self._cell = config.kv_heads * config.head_size
        self._blocks: list[NDArray[np.generic]] = []
        self._capacity = 0
        self._shape = (0, 0)
        self._bindings: dict[tuple[int, int], Any] = {}

    def reserve(self, rows: int, cells: int) -> bool:
        """Arrange the memory as `rows` of `cells` tokens each; return whether it is unchanged, content included."""
        cells = max(cells + cells % GRAIN, self._graph.window)
        if (rows, cells) == self._shape:
            return True
        self._bindings.clear()
        if rows * cells > self._capacity:
            self._blocks.clear()  # before the new allocation
            self._capacity = rows * cells
            kind = np.dtype(self._graph.cache_type)
            self._blocks = [np.zeros(self._capacity * self._cell, kind) for _ in self._config.past]
        self._shape = (rows, cells)
        return False

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of the row `source` to the row `target`."""
        for block in self._blocks:
            view = self._view(block)
            view[target, :, :length] = view[source, :, :length]

    def run(
        self, first: int, starts: Sequence[int], tokens: NDArray[np.int64], *, length: int = 0
    ) -> NDArray[np.float32]:
        """Compute tokens [rows, width] in the rows from `first` on, each beginning at its position in `starts`.

        `length` is the length of the whole sequence, if the graph's rotary table depends on it.

        Returns:
            The logits, float32 [rows, width, vocabulary]: a view that the next call overwrites.

        Raises:
            BackendError: onnxruntime failed.

        """
        rows, width = tokens.shape
        ends = np.array(starts) + width
        if rows * width > self.engine.tokens or first + rows > self._shape[0] or ends.max() > self._shape[1]:
            raise BackendError(
                f"{rows} × {width} tokens up to {ends.max()} were requested; {self.engine.tokens} tokens, "
                f"and a memory of {self._shape[0]} × {self._shape[1]}, are available"
            )
        ids = np.ascontiguousarray(tokens, np.int64)
        mask = (np.arange(max(ends.max(), length)) < ends[:, None]).astype(np.int64)
        logits = self._logits[: rows * width * self._config.vocabulary]
        binding = self._binding(first, rows)
        _bind(binding.bind_input, self._config.input_ids, ids, ids.shape)
        _bind(binding.bind_input, self._config.attention_mask, mask, mask.shape)
        if self._graph.has_positions:
            positions = np.array(starts)[:, None] + np.arange(width)
            _bind(binding.bind_input, self._config.position_ids, positions, positions.shape)
        shape = (rows, width, self._config.vocabulary)
        _bind(binding.bind_output, self._config.logits, logits, shape)
        try:
            self.engine.session.run_with_iobinding(binding)
        except self.engine.failures as error:
            raise BackendError(
                f"onnxruntime failed to compute {rows} × {width} tokens: {_reason(error)}",
                next_step="close other programs if memory is short, or lower the context length",
            ) from error
        self._beat()
        return logits.reshape(shape).astype(np.float32, copy=False)

    def close(self) -> None:
        """Free the memory."""
        self._bindings.clear()
        self._blocks.clear()

    def _binding(self, first: int, rows: int) -> Any:
        """Return the binding of the memory's rows `first` to `first + rows`, created once per layout."""
        if (first, rows) not in self._bindings:
            binding = self.engine.session.io_binding()
            for past, present, block in zip(self._config.past, self._config.present, self._blocks, strict=True):
                view = self._view(block)[first : first + rows]
                _bind(binding.bind_input, past, view, view.shape)
                _bind(binding.bind_output, present, view, view.shape)
            self._bindings[first, rows] = binding
        return self._bindings[first, rows]

    def _view(self, block: NDArray[np.generic]) -> NDArray[np.generic]:
        rows, cells = self._shape
        used = block[: rows * cells * self._cell]
        return used.reshape(rows, self._config.kv_heads, cells, self._config.head_size)


def _bind(bind: Callable[..., None], name: str, array: NDArray[np.generic], shape: tuple[int, ...]) -> None:
    """Bind an array's memory, which the caller keeps alive until the run ends."""
    bind(name, "cpu", 0, array.dtype.type, shape, array.ctypes.data)


def _failures() -> tuple[type[Exception], ...]:
    """Return onnxruntime's exceptions, which have no common base class."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = (
        "EPFail EngineError Fail InvalidArgument InvalidGraph InvalidProtobuf ModelRequiresCompilation NoModel "
        "NoSuchFile NotFound NotImplemented RuntimeException"
    )
    there = (getattr(state, name) for name in names.split() if hasattr(state, name))  # not in every version
    return (*there, RuntimeError, ValueError)


def _reason(error: Exception) -> str:
    """Return onnxruntime's message on one line, without its source path."""
    return " ".join(str(error).split()).removeprefix("[ONNXRuntimeError] : ")[:600]
