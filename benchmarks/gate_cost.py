"""Cost of a gate by surface: asks, requests, tokens, and seconds of scores, greedy and sampled answers.

    python benchmarks/gate_cost.py ARTIFACT [--pack DIR] [--baseline FILE] [--probes 200] [--samples 4] [--threads N]
                                   [--together]

Each surface is measured by itself, then all of them together as the gate does, where beginnings that surfaces share are
computed once. With --probes all forget and holdout probes are asked, and as many retain probes as make up the number.
The carrier sentences are those of the baseline, or else of the pack alone. "Tokens" are those of distinct beginnings:
what a tree of shared prefixes leaves to compute. --together skips the surfaces one by one. Prints a
Markdown table, and the processor time of this process and the engine's, whatever else runs on the machine.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.progress import Silent
from edgeproof.eval.asking.carriers import all_carriers
from edgeproof.eval.baselines.file import load_baselines
from edgeproof.eval.measurement import Role, Sampling
from edgeproof.eval.measuring.measure import measure
from edgeproof.eval.packs.reader import load_pack
from edgeproof.runtime import backend_for, open_backend

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from edgeproof.contracts.backend import Backend, GenerateRequest, Generation, Score, ScoreRequest
    from edgeproof.eval.measurement import Carrier
    from edgeproof.eval.packs.pack import Pack

CAPITALS = Path(__file__).resolve().parents[1] / "examples" / "capitals"


class Cost(NamedTuple):
    """What a measurement asked of the engine, and the seconds of each part."""

    scores: int
    tokens: int
    score_s: float
    greedy: int
    greedy_s: float
    sampled: int
    sampled_s: float
    total_s: float


class Watched:
    """A backend that keeps count of what it is asked and how long that takes; all else is the backend's own."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.scored: list[tuple[int, ...]] = []
        self.numbers = {"greedy": 0, "sampled": 0}
        self.seconds = {"scores": 0.0, "greedy": 0.0, "sampled": 0.0}

    def __getattr__(self, name: str) -> object:
        return getattr(self._backend, name)

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Score]:
        """Score, and count."""
        self.scored += [request.context + request.continuation for request in requests]
        yield from self._timed("scores", self._backend.score(requests))

    def generate(self, requests: Sequence[GenerateRequest]) -> Iterator[Generation]:
        """Generate, and count."""
        kind = "sampled" if requests and requests[0].temperature > 0 else "greedy"
        self.numbers[kind] += len(requests)
        yield from self._timed(kind, self._backend.generate(requests))

    def _timed(self, kind: str, results: Iterable[object]) -> Iterator[object]:
        began = time.monotonic()
        yield from results
        self.seconds[kind] += time.monotonic() - began

    def cost(self, total: float) -> Cost:
        """Return what was counted."""
        return Cost(
            len(self.scored),
            distinct_beginnings(self.scored),
            self.seconds["scores"],
            self.numbers["greedy"],
            self.seconds["greedy"],
            self.numbers["sampled"],
            self.seconds["sampled"],
            total,
        )


def distinct_beginnings(texts: Iterable[tuple[int, ...]]) -> int:
    """Count the tokens whose logits or keys are needed: all distinct beginnings without a text's last token."""
    return len({text[:end] for text in texts for end in range(1, len(text))})


def shortened(pack: Pack, probes: int) -> Pack:
    """Keep forget and holdout probes, and as many retain probes as make up the number, evenly spread."""
    others = [probe for probe in pack.probes if probe.role != Role.RETAIN]
    kept = [probe for probe in pack.probes if probe.role == Role.RETAIN]
    room = min(max(0, probes - len(others)), len(kept))
    return replace(pack, probes=(*others, *(kept[place * len(kept) // room] for place in range(room))))


def ask(backend: Backend, pack: Pack, carriers: Sequence[Carrier], samples: int) -> Cost:
    """Measure `pack` as the gate does, and return what that cost."""
    watched = Watched(backend)
    began = time.monotonic()
    sampling = Sampling(samples, 1.0, 0) if samples else None
    measure(
        pack, watched, label="cost", artifact_sha256="0" * 64, carriers=carriers, sampling=sampling, progress=Silent()
    )
    return watched.cost(time.monotonic() - began)


def main() -> None:
    """Read the options, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--pack", type=Path, default=CAPITALS / "pack")
    parser.add_argument("--baseline", type=Path)
    parser.add_argument("--probes", type=int, default=200)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--together", action="store_true", help="only as the gate asks, all surfaces together")
    given = parser.parse_args()
    pack = shortened(load_pack(given.pack), given.probes)
    name = backend_for(given.artifact)
    carriers = load_baselines(given.baseline)[name].carriers if given.baseline else all_carriers(pack, {})
    began = time.monotonic()
    print(f"{given.artifact.name}, {len(pack.probes)} probes, {len(carriers)} carrier sentences\n")
    print("| surface | asks | scores | tokens | s | greedy answers | s | sampled | s | all, s |\n" + "|---" * 10 + "|")
    with open_backend(name, given.artifact, threads=given.threads) as backend:
        loading = time.monotonic() - began
        alone = 0.0
        for surface in () if given.together else pack.surfaces:
            cost = ask(backend, replace(pack, surfaces=(surface,)), carriers, given.samples)
            alone += cost.total_s
            print(_row(surface.name, sum(probe.role in surface.roles for probe in pack.probes), cost), flush=True)
        asks = sum(probe.role in surface.roles for surface in pack.surfaces for probe in pack.probes)
        together = ask(backend, pack, carriers, given.samples)
        print(_row("**together**", asks, together))
    rest = f", one by one {alone:.1f} s" if alone else ""
    print(f"\nloading {loading:.1f} s; together {together.total_s:.1f} s{rest}")
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(f"processor {sum(each.ru_utime + each.ru_stime for each in used):.0f} s, all of it")


def _row(name: str, asks: int, cost: Cost) -> str:
    fields = (
        f"{name} | {asks} | {cost.scores} | {cost.tokens} | {cost.score_s:.1f} | {cost.greedy} | {cost.greedy_s:.1f} "
        f"| {cost.sampled} | {cost.sampled_s:.1f} | {cost.total_s:.1f}"
    )
    return f"| {fields} |"


if __name__ == "__main__":
    main()
