"""The llama.cpp backend: scores and generates on a GGUF file, many requests side by side, bit for bit reproducible.

This class computes in the process that makes it; `open_backend` runs it in a child. How requests are laid out is
planned in `prefixes`; why batches have the shape they have stands in `llama_streams`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from edgeproof.contracts.backend import GenerateRequest, Generation, ModelInfo, Score, ScoreRequest
from edgeproof.contracts.chat import render_chat
from edgeproof.runtime.continuing import Continuation
from edgeproof.runtime.gguf_values import refuse_non_finite
from edgeproof.runtime.llama_model import Model, may_repack
from edgeproof.runtime.llama_streams import MIN_ROWS, ROW_GRAIN, Streams
from edgeproof.runtime.llama_waves import Keep, load_trunk, run_wave
from edgeproof.runtime.logits import Scratch
from edgeproof.runtime.prefixes import Item, Job, jobs
from edgeproof.runtime.processor import physical_cores, processor_name
from edgeproof.runtime.prompt_digest import gguf_prompt_digest
from edgeproof.runtime.requests import check_generations, check_scores
from edgeproof.runtime.scoring import Scoring
from edgeproof.runtime.tokenizer_digest import read_tokenizer, tokenizer_digest
from edgeproof.runtime.windows import in_windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

MEMORY_BYTES = 2**30
"""Key-value memory that may be spent on streams beyond the first."""

LOGITS_BYTES = 2**27
"""The largest block of logits that one call may ask for."""

MAX_ROWS = 512
MAX_WAVE = 32

DEFAULT_CONTEXT = 8192
"""The default context length where the model would allow more."""


def _silence() -> None:
    """Tell nobody that work goes on."""


class LlamaCpp:
    """`Backend` on llama.cpp, in this process.

    Args:
        artifact: a GGUF file.
        lora: a GGUF LoRA adapter to be used beside it, unmerged.
        context_length: tokens that the longest request may have; default: what the model was trained with, at most
            8,192.
        threads: default: the physical cores that this process may use.
        beat: called as work goes on; may raise to stop it.


    Raises:
        ArtifactError: not a GGUF, truncated, of an unknown architecture; or an adapter of another base.

    """

    def __init__(
        self,
        artifact: Path,
        *,
        lora: Path | None = None,
        context_length: int | None = None,
        threads: int | None = None,
        beat: Callable[[], None] = _silence,
    ) -> None:
        tokenizer = read_tokenizer(artifact)
        for path in (artifact, *([] if lora is None else [lora])):
            refuse_non_finite(path, beat)
        self._beat = beat
        self._threads = threads or physical_cores()
        self._streams: Streams | None = None
        self._shape: tuple[int, int] = (0, 0)
        self._model = Model(artifact, lora, beat)
        size = self._model.vocabulary_size
        self._rows = max(32, min(MAX_ROWS, LOGITS_BYTES // (4 * size) // MIN_ROWS * MIN_ROWS))
        self._scratch = Scratch(size)
        engine, flags = self._model.engine()
        bos = self._model.bos if self._model.adds_bos else None
        self._info = ModelInfo(
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

    @property
    def info(self) -> ModelInfo:
        """What is loaded."""
        return self._info

    def close(self) -> None:
        """Free memory and weights."""
        if self._streams is not None:
            self._streams.close()
            self._streams = None
        self._model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def tokenize(self, text: str, *, special: bool, parse_special: bool = False) -> tuple[int, ...]:
        """Token ids of `text`; a BOS that `text` begins with is never doubled."""
        return self._model.tokenize(text, special=special, parse_special=parse_special)

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Text of `tokens`, special tokens left out; invalid UTF-8 becomes U+FFFD."""
        return self._model.detokenize(tokens)

    def render_chat(self, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool = True) -> str:
        """Render `messages` with the artifact's own template; tokenize it with `special=True, parse_special=True`."""
        return render_chat(
            self._info.chat_template,
            messages,
            bos_token=self._model.named_text("bos"),
            eos_token=self._model.named_text("eos"),
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
        for cells, group in self._by_cells(scoring.items, [len(item.tokens) for item in scoring.items]):
            for job in self._jobs(group, cells):
                streams, wave = self._open(cells, job)
                for first in range(0, len(job.items), wave):
                    run_wave(streams, job, job.items[first : first + wave], range(wave), scoring.take)
        return scoring.scores

    def _generate(self, requests: Sequence[GenerateRequest]) -> list[Generation]:
        going = [Continuation(request, self._model.piece, self._model.is_end) for request in requests]
        items = [Item(index, request.context, len(request.context) - 1) for index, request in enumerate(requests)]
        lengths = [len(request.context) + request.max_tokens for request in requests]
        for cells, group in self._by_cells(items, lengths):
            for job in self._jobs(group, cells):
                self._continue_all(cells, job, going)
        return [one.generation for one in going]

    def _continue_all(self, cells: int, job: Job, going: list[Continuation]) -> None:
        """Run a job's generations to their ends; finished ones make room for waiting ones, half a wave at a time."""
        streams, wave = self._open(cells, job)
        keep = Keep.EXACT if self._model.recurrent else Keep.TRUNCATED
        waiting = list(job.items)
        active: dict[int, Continuation] = {}
        while waiting or active:
            free = [stream for stream in range(wave) if stream not in active]
            if waiting and (2 * len(free) >= wave or not active):
                items, waiting = waiting[: len(free)], waiting[len(free) :]
                ended: set[int] = set()

                def on_row(item: Item, _position: int, row: NDArray[np.float32]) -> None:
                    if going[item.request].take(row):
                        ended.add(item.request)  # noqa: B023 (called before the next round)

                placed = run_wave(streams, job, items, free, on_row, keep=keep)
                active |= {stream: going[index] for index, stream in placed.items() if index not in ended}
            elif active:
                self._step(streams, wave, active)

    def _step(self, streams: Streams, wave: int, active: dict[int, Continuation]) -> None:
        """Give every active generation one more token."""
        self._close_ranks(streams, active)
        used = max(active) + 1
        count = min(wave, max(MIN_ROWS, used + -used % ROW_GRAIN))
        tokens = np.zeros((count, 1), np.int32)
        starts = [0] * count
        wanted = np.zeros((count, 1), np.bool_)
        for stream in range(count):
            if stream in active:
                tokens[stream, 0] = active[stream].last_token
                starts[stream] = active[stream].length - 1
                wanted[stream, 0] = True
            else:
                streams.clear(stream)
        streams.decode(0, starts, tokens, wanted)
        for stream in [stream for stream, one in active.items() if one.take(streams.logits(stream))]:
            del active[stream]

    @staticmethod
    def _close_ranks(streams: Streams, active: dict[int, Continuation]) -> None:
        """Move the outermost generations inward where that makes the batch smaller."""
        rows = max(MIN_ROWS, len(active) + -len(active) % ROW_GRAIN)
        holes = [stream for stream in range(rows) if stream not in active]
        for source in [stream for stream in active if stream >= rows]:
            target = holes.pop(0)
            streams.copy(source, target)
            active[target] = active.pop(source)

    def _open(self, cells: int, job: Job) -> tuple[Streams, int]:
        """Return streams of `cells` tokens and how many of them a wave may use; the last one holds the trunk."""
        wave = self._wave(cells)
        count = wave + 1 if wave > 1 else 1
        if self._streams is None or self._shape != (cells, count):
            if self._streams is not None:
                self._streams.close()
                self._streams = None
            self._streams = Streams(
                self._model, count=count, cells=cells, rows=self._rows, threads=self._threads, beat=self._beat
            )
            self._shape = (cells, count)
        load_trunk(self._streams, job)
        return self._streams, wave

    def _jobs(self, items: Sequence[Item], cells: int) -> Iterator[Job]:
        wave = self._wave(cells)
        return jobs(items, wave if wave > 1 else len(items))

    def _wave(self, cells: int) -> int:
        """How many requests of this size are computed side by side."""
        fit = MEMORY_BYTES // (cells * max(1, self._model.cell_bytes))
        wave = max(1, min(MAX_WAVE, fit, self._rows // MIN_ROWS))
        return wave - wave % ROW_GRAIN if wave >= ROW_GRAIN else wave

    def _by_cells(self, items: Sequence[Item], lengths: Sequence[int]) -> Iterator[tuple[int, list[Item]]]:
        """Group items by the size of stream that they need, small ones first."""
        groups: dict[int, list[Item]] = {}
        for item, length in zip(items, lengths, strict=True):
            groups.setdefault(_cells(length + MIN_ROWS), []).append(item)
        yield from sorted(groups.items())

    def _options(self, lora: Path | None) -> dict[str, str]:
        return {
            "threads": str(self._threads),
            "rows": str(self._rows),
            "flash_attention": "off",
            "kv_type": "f16",
            "kv_unified": "off",
            "repacked_weights": "on" if may_repack() else "off",
            "lora": "none" if lora is None else lora.name,
        }


def _cells(length: int) -> int:
    """Round up to the size of stream: 256, 512, 1024, then thousands. It depends on the request's own length only."""
    for size in (256, 512, 1024):
        if length <= size:
            return size
    return length + -length % 1024
