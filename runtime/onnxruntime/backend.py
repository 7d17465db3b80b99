"""The onnxruntime backend: scores and generates on a folder with an ONNX graph, laid out as onnxruntime-genai has it.

This class computes in the process that makes it; `open_backend` runs it in a child. How requests are laid out is
decided in `onnxruntime_layout`; why calls have the shape they have stands in `onnxruntime_session`.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Self

from edgeproof.contracts.backend import GenerateRequest, Generation, ModelInfo, Score, ScoreRequest, Step
from edgeproof.contracts.chat import render_chat
from edgeproof.contracts.errors import ArtifactError, UnsupportedError
from edgeproof.runtime.batching.continuing import Continuation
from edgeproof.runtime.batching.logits import Scratch
from edgeproof.runtime.batching.requests import check_generations, check_scores, check_stream
from edgeproof.runtime.batching.watching import Watching
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
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from edgeproof.runtime.batching.prefixes import Item

MAX_ROWS = 32
"""Generations that go on side by side."""

DEFAULT_CONTEXT = 8192
"""The default context length where the model would allow more."""

CHAIN_PART = 16
"""Items of a chain that a worker takes at a time."""

ACCURACY_LEVELS = (0, 4)


def _silence() -> None:
    """Tell nobody that work goes on."""


class OnnxRuntime:
    """`Backend` on onnxruntime, in this process, on the CPU.

    Args:
        artifact: the folder.
        lora: must be None: an adapter beside the graph is not applied here.
        context_length: tokens that the longest request may have; default: what the model was trained with, at most
            8,192.
        threads: workers of one thread each; default: the physical cores that this process may use.
        accuracy_level: how 4-bit products compute: 4 rounds activations to 8 bits, 0 does not; default: as the graph
            ships. The folder is never written to.
        beat: called as work goes on; may raise to stop it.

    Raises:
        ArtifactError: the folder is no complete model that onnxruntime can run.
        UnsupportedError: a package is not installed, or an adapter or an accuracy level that it cannot have is given.

    """

    def __init__(
        self,
        artifact: Path,
        *,
        lora: Path | None = None,
        context_length: int | None = None,
        threads: int | None = None,
        accuracy_level: int | None = None,
        beat: Callable[[], None] = _silence,
    ) -> None:
        _require("onnx", "onnxruntime", "tokenizers")
        if lora is not None:
            raise UnsupportedError(
                "the onnxruntime backend applies no adapter beside the graph",
                next_step="export with the adapter merged",
            )
        graph = read_graph(artifact, accuracy_level=accuracy_level)
        config = self._config = graph.config
        self._tokenizer = Tokenizer(artifact)
        if self._tokenizer.size > config.vocabulary:
            raise ArtifactError(
                f"{artifact}: the tokenizer has {self._tokenizer.size:,} tokens, "
                f"the graph {config.vocabulary:,} logits",
                next_step="put the tokenizer back that belongs to this graph",
            )
        self._threads = threads or physical_cores()
        self._by_length = graph.by_length
        self._overhead = call_tokens(graph.accuracy_levels)
        self._engine = Engine(graph, workers=self._threads)
        self._workers = Workers(self._threads, self._worker, beat)
        self._info = self._described(graph, context_length)

    @property
    def info(self) -> ModelInfo:
        """What is loaded."""
        return self._info

    def close(self) -> None:
        """Free memory and weights."""
        self._workers.close()
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def tokenize(self, text: str, *, special: bool, parse_special: bool = False) -> tuple[int, ...]:
        """Token ids of `text`; a BOS that `text` begins with is never doubled."""
        return self._tokenizer.tokenize(text, special=special, parse_special=parse_special)

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Text of `tokens`, special tokens left out; invalid UTF-8 becomes U+FFFD."""
        return self._tokenizer.detokenize(tokens)

    def render_chat(self, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool = True) -> str:
        """Render `messages` with the artifact's own template; tokenize it with `special=True, parse_special=True`."""
        return render_chat(
            self._info.chat_template,
            messages,
            bos_token=self._tokenizer.named_text("bos"),
            eos_token=self._tokenizer.named_text("eos"),
            add_generation_prompt=add_generation_prompt,
        )

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Score]:
        """Score each request; all are checked before the first is computed."""
        check_scores(requests, self._info.context_length, self._info.vocabulary)
        return self._workers.score(requests, self._score_lots)

    def generate(self, requests: Sequence[GenerateRequest]) -> Iterator[Generation]:
        """Continue each request; all are checked before the first is computed."""
        check_generations(requests, self._info.context_length, self._info.vocabulary)
        return self._workers.generate(requests, self._generate_lots, self._start)

    def stream(self, request: GenerateRequest, watched: Sequence[tuple[int, ...]] = ()) -> Iterator[Step]:
        """Continue one request token by token, and score `watched` at each of its places."""
        check_stream(request, watched, self._info.context_length, self._info.vocabulary)
        ends, scratch = self._config.ends, Scratch(self._config.vocabulary)
        one = Watching(request, watched, self._tokenizer.piece, ends.__contains__, scratch)
        return self._workers.alone().stream(Lot((one.prompt,), _cells(one.longest), 1), one)

    def _start(self, request: GenerateRequest) -> Continuation:
        return Continuation(request, self._tokenizer.piece, self._config.ends.__contains__)

    def _worker(self, beat: Callable[[], None]) -> OnnxWorker:
        return OnnxWorker(
            Session(self._engine, beat),
            vocabulary=self._config.vocabulary,
            layout=self._groups,
            by_length=self._by_length,
        )

    def _score_lots(self, items: Sequence[Item], _lengths: Sequence[int]) -> list[Lot]:
        """Lay out chains, of which several workers may take parts, and batches; the largest first."""
        lots = [
            Lot(group.items, _cells(max(len(item.tokens) for item in group.items)), wave, chained=group.chained)
            for group in self._groups(items)
            for wave in [CHAIN_PART if group.chained else len(group.items)]
        ]
        return sorted(lots, key=lambda lot: -len(lot.items) * lot.cells)

    def _generate_lots(self, items: Sequence[Item], lengths: Sequence[int]) -> list[Lot]:
        """Group items by the length of row that they need, short ones first."""
        by_cells: dict[int, list[Item]] = {}
        for item, length in sorted(zip(items, lengths, strict=True), key=lambda pair: pair[0].tokens):
            by_cells.setdefault(_cells(length), []).append(item)
        return [
            Lot(tuple(group), cells, 1 if self._by_length else min(MAX_ROWS, self._engine.rows(cells)))
            for cells, group in sorted(by_cells.items())
        ]

    def _groups(self, items: Sequence[Item]) -> Iterable[Group]:
        if self._by_length:  # each alone: a longer neighbour or a longer end would change the rotary table
            return [Group(chained=True, items=(item,)) for item in items]
        rows = min(MAX_ROWS, self._engine.rows(GRAIN))
        return groups(items, overhead=self._overhead, tokens=self._engine.tokens, rows=rows)

    def _described(self, graph: Graph, context_length: int | None) -> ModelInfo:
        import onnxruntime

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
                "accuracy_level_of": "the twin" if isinstance(graph.source, bytes) else "the graph",
                "tokens": str(self._engine.tokens * self._threads),
                "kv_type": graph.cache_type,
                **SESSION_OPTIONS,
            },
            eos=self._tokenizer.named_id("eos"),
            prompt_digest=folder_prompt_digest(graph.folder),
        )


def _require(*packages: str) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UnsupportedError(
            f"the onnxruntime backend needs {' and '.join(missing)}", next_step='pip install "edgeproof[onnx]"'
        )


def _cells(length: int) -> int:
    """Round a generation's length up to a multiple of 128, so that memories are seldom laid out anew."""
    return length + -length % 128
