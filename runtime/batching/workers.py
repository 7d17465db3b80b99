"""Workers: threads that compute the requests of one call from one queue, each with its own memory.

The threads within one engine call synchronize at a barrier after every operation, thousands of times per second. If
another process takes one of the cores, every barrier waits until the scheduler returns it. Workers do not synchronize:
each makes single-threaded calls, and a lost core costs only its own share. The weights are shared; native calls and
numpy's long operations release the GIL.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from edgeproof.runtime.batching.prefixes import Item
from edgeproof.runtime.batching.scoring import Scoring
from edgeproof.runtime.batching.windows import in_windows
from edgeproof.runtime.batching.work_queue import WorkQueue
from edgeproof.runtime.batching.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from edgeproof.contracts.backend import GenerateRequest, Generation, Score, ScoreRequest
    from edgeproof.runtime.batching.continuing import Continuation
    from edgeproof.runtime.batching.work_queue import Lot


THREAD_NAME = "edgeproof worker"

AnyWorker = TypeVar("AnyWorker", bound=Worker)


class _StoppedError(Exception):
    """Another worker failed: stop at the next beat."""


class Workers(Generic[AnyWorker]):
    """The workers of a model, and the calls that they compute together.

    Args:
        count: number of workers.
        make: creates a worker; its argument must be called after each engine call, and may raise.
        beat: called during the work, by any thread; may raise to stop the call.

    """

    def __init__(self, count: int, make: Callable[[Callable[[], None]], AnyWorker], beat: Callable[[], None]) -> None:
        self._beat = beat
        self._failure: BaseException | None = None
        self.all = [make(self._on_beat) for _ in range(count)]

    def score(
        self, requests: Sequence[ScoreRequest], lots: Callable[[Sequence[Item], Sequence[int]], Iterable[Lot]]
    ) -> Iterator[Score]:
        """Yield the score of each request in order. `lots` arranges items of these lengths."""

        def compute(window: Sequence[ScoreRequest]) -> list[Score]:
            scoring = Scoring(window)
            queue = WorkQueue(lots(scoring.items, [len(item.tokens) for item in scoring.items]), len(self.all))
            self.run(lambda worker: worker.score(queue, scoring))
            return scoring.scores

        return in_windows(requests, compute)

    def generate(
        self,
        requests: Sequence[GenerateRequest],
        lots: Callable[[Sequence[Item], Sequence[int]], Iterable[Lot]],
        start: Callable[[GenerateRequest], Continuation],
    ) -> Iterator[Generation]:
        """Yield the generation of each request in order. `lots` arranges items that grow to these lengths."""

        def compute(window: Sequence[GenerateRequest]) -> list[Generation]:
            going = [start(request) for request in window]
            items = [Item(at, request.context, len(request.context) - 1) for at, request in enumerate(window)]
            queue = WorkQueue(lots(items, [len(one.context) + one.max_tokens for one in window]), len(self.all))
            self.run(lambda worker: worker.generate(queue, going))
            return [one.generation for one in going]

        return in_windows(requests, compute)

    def run(self, work: Callable[[AnyWorker], None]) -> None:
        """Run `work` on every worker, one in this thread; if one fails, stop the others and raise its error."""
        self._failure = None
        threads = [
            threading.Thread(target=self._try, args=(work, worker), name=THREAD_NAME, daemon=True)
            for worker in self.all[1:]
        ]

        def work_with_others(worker: AnyWorker) -> None:
            for thread in threads:
                thread.start()
            work(worker)
            for thread in threads:
                thread.join()

        self._try(work_with_others, self.all[0])
        for thread in threads:  # also if this thread's work failed or was interrupted
            if thread.ident is not None:
                thread.join()
        if self._failure is not None:
            raise self._failure

    def alone(self) -> AnyWorker:
        """Return the worker for computations in this thread only."""
        self._failure = None
        return self.all[0]

    def close(self) -> None:
        """Free the workers' memories."""
        for worker in self.all:
            worker.close()

    def _try(self, work: Callable[[AnyWorker], None], worker: AnyWorker) -> None:
        try:
            work(worker)
        except _StoppedError:
            pass
        except BaseException as error:  # noqa: BLE001 (raised again by `run`)
            self._failure = self._failure or error

    def _on_beat(self) -> None:
        if self._failure is not None:
            raise _StoppedError
        self._beat()
