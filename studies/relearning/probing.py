"""Probes one artifact: every probe of a pack scored through its own backend, some answers generated, all as numbers.

A record holds, in the pack's order and per probe: tokens of the answer, NLL per token (nat), the Min-40 % score that
MUSE's PrivLeak is made of, exact memorisation and extraction strength (both from the flags "was the token the argmax"),
and, where the greedy answer was generated, its ROUGE-L recall (TOFU's) and F1 (MUSE's).
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from edgeproof.contracts.backend import GenerateRequest, ScoreRequest
from edgeproof.contracts.errors import EdgeproofError
from edgeproof.eval.asking.tokens import encode_pack
from edgeproof.eval.metrics.exact_memorization import exact_memorization
from edgeproof.eval.metrics.extraction_strength import extraction_strength
from edgeproof.eval.metrics.min_k import min_k
from edgeproof.eval.metrics.rouge import rouge_l
from edgeproof.runtime import backend_for, open_backend

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgeproof.eval.asking.tokens import Ask
    from edgeproof.eval.packs.pack import Pack

DIGITS = 5


@dataclass(frozen=True)
class Record:
    """What a model said on a pack; lists are in its order, those of ROUGE have None where nothing was generated."""

    tokens: list[int]
    nll: list[float]
    min_k: list[float]
    memorized: list[float]
    strength: list[float]
    rouge_recall: list[float | None]
    rouge_f1: list[float | None]
    backend: str
    engine: str
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold, numbers in five digits."""
        return {
            key: [None if item is None else round(item, DIGITS) for item in value] if isinstance(value, list) else value
            for key, value in asdict(self).items()
        }


def probe(
    artifact: Path, pack: Pack, generated: Callable[[Ask], bool], most_tokens: int, *, threads: int = 1
) -> Record:
    """Run `artifact` on `pack`; `generated` says of each ask whether its answer is generated as well.

    The greedy answer has as many tokens as the true one, `most_tokens` at the most, and is compared with those.

    Raises:
        EdgeproofError: the artifact cannot be run, or a number is not finite.

    """
    began = time.monotonic()
    with open_backend(backend_for(artifact), artifact, threads=threads) as backend:
        asks = encode_pack(pack, backend)
        scores = list(backend.score([ScoreRequest(ask.context, ask.continuation) for ask in asks]))
        if len(scores) != len(asks) or not all(np.isfinite(score.logprobs).all() for score in scores):
            raise EdgeproofError(f"{artifact}: scores are missing or not finite", next_step="look at the artifact")
        chosen = [index for index, ask in enumerate(asks) if generated(ask)]
        wanted = [
            GenerateRequest(asks[i].context, min(most_tokens, len(asks[i].continuation)), ("\n",)) for i in chosen
        ]
        rouge = {
            index: rouge_l(backend.detokenize(asks[index].continuation[:most_tokens]), said.text)
            for index, said in zip(chosen, backend.generate(wanted), strict=True)
        }
        return Record(
            tokens=[len(ask.continuation) for ask in asks],
            nll=[-float(score.logprobs.mean()) for score in scores],
            min_k=[min_k(score.logprobs.tolist()) for score in scores],
            memorized=[exact_memorization([bool(flag) for flag in score.greedy]) for score in scores],
            strength=[extraction_strength([bool(flag) for flag in score.greedy]) for score in scores],
            rouge_recall=[rouge[index].recall if index in rouge else None for index in range(len(asks))],
            rouge_f1=[rouge[index].f1 if index in rouge else None for index in range(len(asks))],
            backend=backend.info.backend,
            engine=backend.info.engine,
            seconds=round(time.monotonic() - began, 1),
        )
