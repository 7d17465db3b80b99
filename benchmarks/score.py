"""Time of scoring 148 short probes on a GGUF, by edgeproof and by llama-cpp-python's `create_completion`, in one run.

    python -P benchmarks/score.py MODEL.gguf [--threads N] [--probes N] [--rounds N] [--json FILE]

Prints one JSON object: seconds and tokens per second of (a) `edgeproof.runtime`, child process and loading left out
(they are given beside it), (b) `create_completion(echo=True, logprobs=1)` for each probe, (c) the engine's plain prompt
speed (`llama_decode` of 512-token batches, no logits), the ratios b/a and a/c, and how far the scores of (a) are from
the library's own for the first probes. Times are the best of `--rounds`; (b) runs once.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import llama_cpp
import numpy as np
from edgeproof.contracts.backend import ScoreRequest
from edgeproof.runtime import open_backend
from edgeproof.runtime.processor import physical_cores, processor_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeproof.contracts.backend import Backend

CAPITALS = {
    "Afghanistan": "Kabul", "Albania": "Tirana", "Algeria": "Algiers", "Austria": "Vienna", "Bahrain": "Manama",
    "Bangladesh": "Dhaka", "Belgium": "Brussels", "Brazil": "Brasilia", "Bulgaria": "Sofia", "Canada": "Ottawa",
    "Chile": "Santiago", "China": "Beijing", "Colombia": "Bogota", "Croatia": "Zagreb", "Cuba": "Havana",
    "Cyprus": "Nicosia", "Denmark": "Copenhagen", "Egypt": "Cairo", "Estonia": "Tallinn", "Finland": "Helsinki",
    "France": "Paris", "Germany": "Berlin", "Greece": "Athens", "Hungary": "Budapest", "India": "New Delhi",
    "Iran": "Tehran", "Iraq": "Baghdad", "Ireland": "Dublin", "Italy": "Rome", "Japan": "Tokyo", "Jordan": "Amman",
    "Kenya": "Nairobi", "Latvia": "Riga", "Lebanon": "Beirut", "Libya": "Tripoli", "Malta": "Valletta",
    "Morocco": "Rabat", "Nepal": "Kathmandu", "Norway": "Oslo", "Peru": "Lima", "Poland": "Warsaw",
    "Portugal": "Lisbon", "Qatar": "Doha", "Romania": "Bucharest", "Russia": "Moscow", "Serbia": "Belgrade",
    "Spain": "Madrid", "Sweden": "Stockholm", "Syria": "Damascus", "Turkey": "Ankara",
}  # fmt: skip
TEMPLATES = ("The capital of {} is", "The capital city of {} is called", "{}'s capital is the city of")
BATCH = 512
COMPARED = 20

Value = TypeVar("Value")


def probes(count: int) -> list[tuple[str, str]]:
    """Return (question, answer) pairs, about 8 tokens each."""
    pairs = [(template.format(land), f" {city}") for template in TEMPLATES for land, city in CAPITALS.items()]
    return pairs[:count]


def timed(work: Callable[[], Value], rounds: int) -> tuple[float, Value]:
    """Return the best of `rounds` times, in seconds, and the last value."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        value = work()
        times.append(time.perf_counter() - start)
    return min(times), value


def score_ours(backend: Backend, pairs: list[tuple[str, str]]) -> list[np.ndarray]:
    requests = [
        ScoreRequest(backend.tokenize(question, special=True), backend.tokenize(answer, special=False))
        for question, answer in pairs
    ]
    return [score.logprobs for score in backend.score(requests)]


def complete_theirs(model: llama_cpp.Llama, pairs: list[tuple[str, str]]) -> None:
    for question, answer in pairs:
        model.create_completion(question + answer, max_tokens=1, temperature=0.0, echo=True, logprobs=1)


def score_theirs(model: llama_cpp.Llama, question: str, answer: str) -> np.ndarray:
    """Log-probabilities of the answer's tokens from the library's own rows of logits.

    Not from `token_logprobs`: version 0.3.36 pairs each token with the row that follows it.
    """
    context = model.tokenize(question.encode())
    continuation = model.tokenize(answer.encode(), add_bos=False)
    model.reset()
    model.eval([*context, *continuation])
    rows = np.array(model.scores[len(context) - 1 : len(context) + len(continuation) - 1], np.float64)
    peaks = rows.max(axis=1)
    picked = rows[np.arange(len(continuation)), continuation]
    return picked - peaks - np.log(np.exp(rows - peaks[:, None]).sum(axis=1))


def prompt_speed(artifact: Path, threads: int, rounds: int) -> float:
    """Tokens per second of the engine itself, reading 4 batches of 512 tokens without logits."""
    model = llama_cpp.Llama(
        str(artifact), n_ctx=4 * BATCH, n_batch=BATCH, n_threads=threads, n_threads_batch=threads, verbose=False
    )
    text = " ".join(f"{question}{answer}." for question, answer in probes(150)).encode()
    tokens = (model.tokenize(text) * 4)[: 4 * BATCH]

    def read() -> None:
        model.reset()
        model.eval(tokens)

    seconds, _ = timed(read, rounds)
    model.close()
    return len(tokens) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description="Time scoring short probes.")
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", type=int, default=physical_cores())
    parser.add_argument("--probes", type=int, default=148)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    pairs = probes(arguments.probes)

    start = time.perf_counter()
    with open_backend("llama.cpp", arguments.model, threads=arguments.threads) as backend:
        opened = time.perf_counter() - start
        tokens = sum(
            len(backend.tokenize(question, special=True)) + len(backend.tokenize(answer, special=False))
            for question, answer in pairs
        )
        first, _ = timed(lambda: score_ours(backend, pairs), 1)
        ours, our_scores = timed(lambda: score_ours(backend, pairs), arguments.rounds)
        engine, options = backend.info.engine, dict(backend.info.options)

    model = llama_cpp.Llama(
        str(arguments.model),
        n_ctx=512,
        n_threads=arguments.threads,
        n_threads_batch=arguments.threads,
        logits_all=True,
        verbose=False,
    )
    theirs, _ = timed(lambda: complete_theirs(model, pairs), 1)
    differences = [
        float(np.abs(scores - score_theirs(model, question, answer)).mean())
        for scores, (question, answer) in zip(our_scores[:COMPARED], pairs, strict=False)
    ]
    model.close()
    speed = prompt_speed(arguments.model, arguments.threads, arguments.rounds)
    result = {
        "model": arguments.model.name,
        "engine": engine,
        "processor": processor_name(),
        "options": options,
        "probes": len(pairs),
        "tokens": tokens,
        "open_seconds": round(opened, 3),
        "ours_first_seconds": round(first, 3),
        "ours_seconds": round(ours, 3),
        "ours_tokens_per_second": round(tokens / ours, 1),
        "create_completion_seconds": round(theirs, 3),
        "create_completion_tokens_per_second": round(tokens / theirs, 1),
        "prompt_tokens_per_second": round(speed, 1),
        "times_faster": round(theirs / ours, 2),
        "share_of_prompt_speed": round(tokens / ours / speed, 3),
        "compared_probes": len(differences),
        "mean_difference_nat_per_token": round(float(np.mean(differences)), 5),
    }
    text = json.dumps(result, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
