"""The onnxruntime backend: scores and generates on a folder with an ONNX graph, laid out as onnxruntime-genai has it.

This class computes in the process that makes it; `open_backend` runs it in a child. How requests are laid out is
decided in `onnxruntime_layout`; why calls have the shape they have stands in `onnxruntime_session`.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Self

import numpy as np
from edgeproof.contracts.backend import GenerateRequest, Generation, ModelInfo, Score, ScoreRequest
from edgeproof.contracts.chat import render_chat
from edgeproof.contracts.errors import ArtifactError, UnsupportedError
from edgeproof.runtime.continuing import Continuation
from edgeproof.runtime.logits import Scratch
from edgeproof.runtime.onnxruntime_graph import Graph, read_graph
from edgeproof.runtime.onnxruntime_layout import Group, call_tokens, groups, shared
from edgeproof.runtime.onnxruntime_session import GRAIN, MIN_ROWS, SESSION_OPTIONS, Session
from edgeproof.runtime.onnxruntime_tokenizer import Tokenizer
from edgeproof.runtime.prefixes import Item
from edgeproof.runtime.processor import physical_cores, processor_name
from edgeproof.runtime.prompt_digest import folder_prompt_digest
from edgeproof.runtime.requests import check_generations, check_scores
from edgeproof.runtime.scoring import Scoring
from edgeproof.runtime.windows import in_windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from edgeproof.runtime.prefixes import OnRow
    from numpy.typing import NDArray

MAX_ROWS = 32
"""Generations that go on side by side."""

DEFAULT_CONTEXT = 8192
"""The default context length where the model would allow more."""

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
        threads: default: the physical cores that this process may use.
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
        self._session = Session(graph, threads=self._threads, beat=beat)
        self._scratch = Scratch(config.vocabulary)
        self._info = self._described(graph, context_length)

    @property
    def info(self) -> ModelInfo:
        """What is loaded."""
        return self._info

    def close(self) -> None:
        """Free memory and weights."""
        self._session.close()

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
        return in_windows(requests, self._score)

    def generate(self, requests: Sequence[GenerateRequest]) -> Iterator[Generation]:
        """Continue each request; all are checked before the first is computed."""
        check_generations(requests, self._info.context_length, self._info.vocabulary)
        return in_windows(requests, self._generate)

    def _score(self, requests: Sequence[ScoreRequest]) -> list[Score]:
        scoring = Scoring(requests, self._scratch)
        for group in self._groups(scoring.items):
            longest = max(len(item.tokens) for item in group.items)
            rows = 1 if group.chained else len(group.items)
            self._session.reserve(rows, longest)
            self._prompt(group, [0] * len(group.items) if group.chained else range(rows), scoring.take)
        return scoring.scores

    def _generate(self, requests: Sequence[GenerateRequest]) -> list[Generation]:
        going = [Continuation(request, self._tokenizer.piece, self._config.ends.__contains__) for request in requests]
        cells = [_cells(len(request.context) + request.max_tokens) for request in requests]
        order = sorted(range(len(requests)), key=lambda index: requests[index].context)
        for size in sorted(set(cells)):
            items = [
                Item(index, requests[index].context, len(requests[index].context) - 1)
                for index in order
                if cells[index] == size
            ]
            self._continue_all(size, items, going)
        return [one.generation for one in going]

    def _continue_all(self, cells: int, items: list[Item], going: list[Continuation]) -> None:
        """Run generations to their ends: active ones in the first rows, new ones behind them, half a wave at a time."""
        rows = max(MIN_ROWS, min(MAX_ROWS, self._session.rows(cells), len(items)))
        self._session.reserve(rows, cells)
        waiting, active = list(items), list[Continuation]()
        while waiting or active:
            free = (1 if self._by_length else rows) - len(active)
            if waiting and (2 * free >= rows or not active):
                chosen, waiting = waiting[:free], waiting[free:]
                active = self._begin(chosen, active, going)
            else:
                active = self._step(active)

    def _begin(self, items: list[Item], active: list[Continuation], going: list[Continuation]) -> list[Continuation]:
        """Compute the prompts of new generations in the rows behind the active ones; return all that go on."""
        ended: set[int] = set()
        placed = list(active)

        def on_row(item: Item, _position: int, row: NDArray[np.float32]) -> None:
            if going[item.request].take(row):
                ended.add(item.request)

        for group in self._groups(items):
            self._prompt(group, range(len(placed), len(placed) + len(group.items)), on_row)
            placed += [going[item.request] for item in group.items]
        return self._close_ranks(placed)

    def _step(self, active: list[Continuation]) -> list[Continuation]:
        """Give every active generation one more token; return those that go on."""
        count = max(MIN_ROWS, len(active))
        tokens = np.zeros((count, 1), np.int64)
        starts = [0] * count
        for row, one in enumerate(active):
            tokens[row, 0] = one.last_token
            starts[row] = one.length - 1
        logits = self._session.run(0, starts, tokens)
        for row, one in enumerate(active):
            one.take(logits[row, 0])
        return self._close_ranks(active)

    def _close_ranks(self, placed: list[Continuation]) -> list[Continuation]:
        """Move the last generations into the rows of those that have ended."""
        placed = list(placed)
        row = 0
        while row < len(placed):
            if placed[row].result is None:
                row += 1
                continue
            last = placed.pop()
            if row < len(placed):
                if last.result is None:
                    self._session.copy(len(placed), row, last.length)
                placed[row] = last
        return placed

    def _groups(self, items: Sequence[Item]) -> Iterator[Group]:
        if self._by_length:  # each alone: a longer neighbour or a longer end would change the rotary table
            return iter([Group(chained=True, items=(item,)) for item in items])
        rows = min(MAX_ROWS, self._session.rows(GRAIN))
        return groups(items, overhead=self._overhead, tokens=self._session.tokens, rows=rows)

    def _prompt(self, group: Group, rows: Sequence[int], on_row: OnRow) -> None:
        """Compute a group's items, each in its row of memory, and hand out the logits that are wanted."""
        if not group.chained:
            self._prompt_batch(group.items, rows[0], on_row)
            return
        before: Item | None = None
        for number, (item, row) in enumerate(zip(group.items, rows, strict=True)):
            start = 0 if before is None else shared(before, item)
            if start and rows[number - 1] != row:
                self._session.copy(rows[number - 1], row, start)
            self._prompt_one(item, row, start, on_row)
            before = item

    def _prompt_batch(self, items: Sequence[Item], first: int, on_row: OnRow) -> None:
        width = _even(max(len(item.tokens) for item in items))
        tokens = np.zeros((len(items), width), np.int64)
        for line, item in enumerate(items):
            tokens[line, : len(item.tokens)] = item.tokens
        logits = self._session.run(first, [0] * len(items), tokens)
        for line, item in enumerate(items):
            for position in range(item.shareable, len(item.tokens)):
                on_row(item, position, logits[line, position])

    def _prompt_one(self, item: Item, row: int, start: int, on_row: OnRow) -> None:
        """Compute an item from `start` on, in parts of an even number of tokens."""
        end = len(item.tokens)
        while start < end:
            stop = min(end, start + self._session.tokens)
            first = max(0, start - (stop - start) % GRAIN)  # one token anew, or one of padding behind a whole item
            tokens = np.zeros((1, _even(stop - first)), np.int64)
            tokens[0, : stop - first] = item.tokens[first:stop]
            logits = self._session.run(row, [first], tokens, length=end if self._by_length else 0)
            for position in range(max(start, item.shareable), stop):
                on_row(item, position, logits[0, position - first])
            start = stop

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
                "tokens": str(self._session.tokens),
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


def _even(length: int) -> int:
    return length + length % GRAIN


def _cells(length: int) -> int:
    """Round a generation's length up to a multiple of 128, so that memories are seldom laid out anew."""
    return length + -length % 128
