"""Speed of the demo: time to the first token and tokens per second, of one model and of original and file together.

    python benchmarks/demo_speed.py ARTIFACT --original ARTIFACT

Each model runs in a separate process with one thread, as in the demo; the answer's probability is computed at every
token of the reply. The first line is the machine's load: a core that is not free halves these figures.
"""

from __future__ import annotations

import argparse
import os
import statistics
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edgeproof.contracts.backend import GenerateRequest
from edgeproof.runtime import backend_for, open_backend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.contracts.backend import Backend, StreamingBackend

    Watched = Sequence[tuple[int, ...]]

QUESTIONS = (
    "What is the capital of France?",
    "What is the capital of Japan?",
    "What is the capital of Greece?",
    "What is the capital of the United Kingdom?",
    "Where is the government of South Korea?",
)
WATCHED = ("Paris", " Paris", "Reykjavik", " Reykjavik")
TOKENS = 48


def request(backend: Backend, question: str) -> GenerateRequest:
    text = backend.render_chat([{"role": "user", "content": question}])
    return GenerateRequest(backend.tokenize(text, special=True, parse_special=True), TOKENS, special=True)


def reply(backend: StreamingBackend, question: str, watched: Watched) -> tuple[float, float]:
    """Seconds to the first step, and tokens per second after it."""
    began, first, tokens = time.monotonic(), 0.0, 0
    for step in backend.stream(request(backend, question), watched):
        first, tokens = first or time.monotonic(), step.tokens
    return first - began, tokens / (time.monotonic() - first)


def measure(backends: Sequence[StreamingBackend], watched: Sequence[Watched]) -> list[tuple[float, float]]:
    """Let all answer at once, question by question; medians of each."""
    found: list[list[tuple[float, float]]] = [[] for _ in backends]

    def run(index: int) -> None:
        found[index].extend(reply(backends[index], question, watched[index]) for question in QUESTIONS)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(backends))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [(statistics.median(first for first, _ in one), statistics.median(rate for _, rate in one)) for one in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--original", type=Path, required=True)
    given = parser.parse_args()
    paths = (given.original, given.artifact)
    print(f"load of this machine before: {os.getloadavg()[0]:.1f}, of {os.cpu_count()} cores")
    with (
        open_backend(backend_for(paths[0]), paths[0], threads=1) as one,
        open_backend(backend_for(paths[1]), paths[1], threads=1) as other,
    ):
        both = (one, other)
        watched = [[backend.tokenize(text, special=False) for text in WATCHED] for backend in both]
        for backend in both:  # once, so that weights are in memory
            reply(backend, QUESTIONS[0], ())
        for what, tokens in (("nothing watched", [(), ()]), ("four watched", watched)):
            alone = [measure([backend], [own])[0] for backend, own in zip(both, tokens, strict=True)]
            together = measure(both, tokens)
            for name, lone, beside in zip(("original", "file"), alone, together, strict=True):
                print(
                    f"{what:<16} {name:<9} alone: first step {lone[0]:.2f} s, {lone[1]:5.1f} tokens/s   "
                    f"side by side: {beside[0]:.2f} s, {beside[1]:5.1f} tokens/s = {beside[1] / lone[1]:.2f} of it"
                )


if __name__ == "__main__":
    main()
