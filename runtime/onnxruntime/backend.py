"""onnxruntime backend: scores and generates on a folder with an ONNX graph in onnxruntime-genai's layout.

This class computes in its own process; `open_backend` runs it in a child process. `layout` arranges the requests;
`session` explains the shape of the calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.backend import LONG_ROPE, ROPE_FACTORS, ModelInfo, chosen_by_size
from edgeproof.contracts.errors import ArtifactError, UnsupportedError
from edgeproof.contracts.packages import missing_packages
from edgeproof.contracts.progress import no_beat
from edgeproof.runtime.batching.backend import BatchingBackend
from edgeproof.runtime.batching.work_queue import Lot
from edgeproof.runtime.batching.workers import Workers
from edgeproof.runtime.onnxruntime.graph import Graph, read_graph
from edgeproof.runtime.onnxruntime.layout import Group, call_tokens, groups
from edgeproof.runtime.onnxruntime.session import GRAIN, SESSION_OPTIONS, Engine, Session
from edgeproof.runtime.onnxruntime.tokenizer import Tokenizer
from edgeproof.runtime.onnxruntime.worker import OnnxWorker
from edgeproof.runtime.processor import physical_cores, processor_name
from edgeproof.runtime.prompt_digest import folder_prompt_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from edgeproof.runtime.batching.prefixes import Item
    from edgeproof.runtime.batching.watching import Watching

MAX_ROWS = 32
"""Maximum number of parallel generations."""

DEFAULT_CONTEXT = 8192
"""Maximum default context length."""

CHAIN_PART = 16
"""Number of a chain's items that a worker takes at a time."""


class OnnxRuntime(BatchingBackend[OnnxWorker]):
    """`Backend` on onnxruntime, in this process, on the CPU.

    Args:
        artifact: the folder.
        lora: must be None: adapters beside the graph are not supported.
        context_length: maximum tokens of a request; default: the model's training context, at most 8,192.
        threads: number of single-threaded workers; default: the physical cores available to this process.
        accuracy_level: accuracy level of 4-bit products: 4 rounds activations to 8 bits, 0 does not; default: the
            graph's. The folder is never written to.
        long_rope: compute sequences within the original context with the long rotary tables (`read_graph`).
        beat: called during the work; may raise to stop it.

    Raises:
        ArtifactError: the folder is not a complete model that onnxruntime can run.
        UnsupportedError: a package is not installed, or an adapter, an unsupported accuracy level, or `long_rope` for
            a graph with one pair of tables is given.

    """

    def __init__(
        self,
        artifact: Path,
        *,
        lora: Path | None = None,
        context_length: int | None = None,
        threads: int | None = None,
        accuracy_level: int | None = None,
        long_rope: bool = False,
        beat: Callable[[], None] = no_beat,
    ) -> None:
        _require("onnx", "onnxruntime", "tokenizers")
        if lora is not None:
            raise UnsupportedError(
                "the onnxruntime backend applies no adapter beside the graph",
                next_step="export with the adapter merged",
            )
        graph = read_graph(artifact, accuracy_level=accuracy_level, long_rope=long_rope)
        config = self._config = graph.config
        self._tokenizer = Tokenizer(artifact)
        if self._tokenizer.size > config.vocabulary:
            raise ArtifactError(
                f"{artifact}: the tokenizer has {self._tokenizer.size:,} tokens, "
                f"the graph {config.vocabulary:,} logits",
                next_step="restore the tokenizer of this graph",
            )
        self._threads = threads or physical_cores()
        self._by_length = graph.original_context is not None
        self._overhead = call_tokens(graph.accuracy_levels)
        self._engine = Engine(graph, workers=self._threads)
        workers = Workers(self._threads, self._worker, beat)
        info = self._described(graph, context_length, twin=accuracy_level is not None, long_rope=long_rope)
        super().__init__(info, self._tokenizer, config.ends.__contains__, workers)

    def close(self) -> None:
        """Free memory and weights."""
        super().close()
        self._engine.close()

    def _worker(self, beat: Callable[[], None]) -> OnnxWorker:
        return OnnxWorker(
            Session(self._engine, beat),
            vocabulary=self._config.vocabulary,
            layout=self._groups,
            by_length=self._by_length,
        )

    def _score_lots(self, items: Sequence[Item], _lengths: Sequence[int]) -> list[Lot]:
        """Arrange chains, which several workers can share, and batches, the largest first."""
        lots = [
            Lot(group.items, _cells(max(len(item.tokens) for item in group.items)), wave, chained=group.chained)
            for group in self._groups(items)
            for wave in [CHAIN_PART if group.chained else len(group.items)]
        ]
        return sorted(lots, key=lambda lot: -len(lot.items) * lot.cells)

    def _stream_lot(self, one: Watching) -> Lot:
        return Lot((one.prompt,), _cells(one.longest), 1)

    def _generate_lots(self, items: Sequence[Item], lengths: Sequence[int]) -> list[Lot]:
        """Group items by their row length, short ones first."""
        by_cells: dict[int, list[Item]] = {}
        for item, length in sorted(zip(items, lengths, strict=True), key=lambda pair: pair[0].tokens):
            by_cells.setdefault(_cells(length), []).append(item)
        return [
            Lot(tuple(group), cells, 1 if self._by_length else min(MAX_ROWS, self._engine.rows(cells)))
            for cells, group in sorted(by_cells.items())
        ]

    def _groups(self, items: Sequence[Item]) -> Iterable[Group]:
        if self._by_length:  # each alone: a longer neighbour or suffix would change the rotary table
            return [Group(chained=True, items=(item,)) for item in items]
        rows = min(MAX_ROWS, self._engine.rows(GRAIN))
        return groups(items, overhead=self._overhead, tokens=self._engine.tokens, rows=rows)

    def _described(self, graph: Graph, context_length: int | None, *, twin: bool, long_rope: bool) -> ModelInfo:
        import onnxruntime

        rope = {} if graph.original_context is None else {ROPE_FACTORS: chosen_by_size(graph.original_context)}
        if long_rope:
            rope[ROPE_FACTORS] = LONG_ROPE
        levels = "+".join(map(str, graph.accuracy_levels)) or "none"
        return ModelInfo(
            backend="onnxruntime",
            engine=f"onnxruntime {onnxruntime.__version__}",
            processor=processor_name(),
            vocabulary=graph.config.vocabulary,
            context_length=context_length or min(graph.config.context_length, DEFAULT_CONTEXT),
            tokenizer_digest=self._tokenizer.digest(graph.config.vocabulary),
            chat_template=self._tokenizer.chat_template,
            bos=self._tokenizer.bos,
            options={
                "threads": str(self._threads),
                "accuracy_level": levels,
                "accuracy_level_of": "the twin" if twin else "the graph",
                "tokens": str(self._engine.tokens * self._threads),
                "kv_type": graph.cache_type,
                "embedding": graph.embedding,
                **rope,
                **SESSION_OPTIONS,
            },
            eos=self._tokenizer.named_id("eos"),
            prompt_digest=folder_prompt_digest(graph.folder),
        )


def _require(*packages: str) -> None:
    missing = missing_packages(*packages)
    if missing:
        raise UnsupportedError(
            f"the onnxruntime backend needs {' and '.join(missing)}", next_step='pip install "edgeproof[onnx]"'
        )


def _cells(length: int) -> int:
    """Round a generation's length up to a multiple of 128, so that memories are rarely reallocated."""
    return length + -length % 128
