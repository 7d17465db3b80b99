"""A real language model small enough to check by hand: an interpolated Markov chain with exact probabilities."""

from __future__ import annotations

import collections
import hashlib
import math
import re
from typing import TYPE_CHECKING, Self

import numpy as np
import pytest
from edgeproof.contracts.backend import GenerateRequest, Generation, ModelInfo, Score, ScoreRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

MARKERS = ("<bos>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
BOS, END = 0, 4
ORDERS = (0.05, 0.05, 0.1, 0.2, 0.6)
"""Weights of the uniform, unigram, bigram, trigram and 4-gram estimates."""


class Markov:
    """A `Backend` over words: p(token | last three tokens), interpolated from counts, so any p can be recomputed."""

    def __init__(self, corpus: Sequence[str], *, bos: bool = True, template: bool = True, context: int = 256) -> None:
        pieces = {piece for text in corpus for piece in self._pieces(text, parse_special=False)}
        characters = {c for text in corpus for c in text} | set(map(chr, range(32, 127)))
        self.vocabulary = [*MARKERS, *sorted(pieces | characters | {"\n", " "})]
        self.ids = {piece: index for index, piece in enumerate(self.vocabulary)}
        self.add_bos = bos
        self.counts: list[dict[tuple[int, ...], collections.Counter[int]]] = [
            collections.defaultdict(collections.Counter) for _ in range(4)
        ]
        for text in corpus:
            tokens = [BOS, *self.tokenize(text, special=False, parse_special=True), END]
            for position in range(1, len(tokens)):
                for order in range(4):
                    if position >= order:
                        context_tokens = tuple(tokens[position - order : position])
                        self.counts[order][context_tokens][tokens[position]] += 1
        self.calls: list[tuple[str, int]] = []
        self.info = ModelInfo(
            backend="markov",
            engine="1",
            processor="python",
            vocabulary=len(self.vocabulary),
            context_length=context,
            tokenizer_digest=hashlib.sha256("\0".join(self.vocabulary).encode()).hexdigest(),
            chat_template="<|user|>…" if template else None,
            bos=BOS if bos else None,
            options={"threads": "1"},
            prompt_digest=hashlib.sha256(repr((MARKERS, bos, template)).encode()).hexdigest(),
        )

    @staticmethod
    def _pieces(text: str, *, parse_special: bool) -> list[str]:
        marker = "|".join(map(re.escape, MARKERS)) + "|" if parse_special else ""
        return re.findall(marker + r" ?\w+|\s|[^\w\s]", text)

    def tokenize(self, text: str, *, special: bool, parse_special: bool = False) -> tuple[int, ...]:
        tokens = [BOS] if special and self.add_bos else []
        for piece in self._pieces(text, parse_special=parse_special):
            if piece in self.ids and (parse_special or piece not in MARKERS):
                tokens.append(self.ids[piece])
            else:
                tokens.extend(self.ids[c] for c in piece)
        return tuple(tokens)

    def detokenize(self, tokens: Sequence[int]) -> str:
        return "".join(self.vocabulary[token] for token in tokens if token >= len(MARKERS))

    def render_chat(self, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool = True) -> str:
        turns = [f"<|{m['role']}|>{m['content']}" + "<|end|>" * (m["role"] == "assistant") for m in messages]
        return "<bos>" * self.add_bos + "".join(turns) + "<|assistant|>" * add_generation_prompt

    def distribution(self, context: Sequence[int]) -> np.ndarray:
        size = len(self.vocabulary)
        p = np.full(size, 1 / size)
        mixed = ORDERS[0] * p
        for order in range(4):
            counter = self.counts[order].get(tuple(context[len(context) - order :]))
            if counter and len(context) >= order:
                p = np.zeros(size)
                for token, count in counter.items():
                    p[token] = count / counter.total()
            mixed = mixed + ORDERS[order + 1] * p
        return mixed

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Score]:
        self.calls.append(("score", len(requests)))
        for request in requests:
            rows: list[tuple[float, bool, int, float, float]] = []
            tokens = list(request.context)
            for token in request.continuation:
                p = self.distribution(tokens)
                log_p = np.log(p)
                mean = float(p @ log_p)
                std = math.sqrt(max(0.0, float(p @ (log_p - mean) ** 2)))
                rows.append((log_p[token], int(p.argmax()) == token, int((p > p[token]).sum()), mean, std))
                tokens.append(token)
            logprobs, greedy, ranks, means, stds = zip(*rows, strict=True)
            yield Score(
                np.array(logprobs, np.float32),
                np.array(greedy, np.bool_),
                np.array(ranks, np.int32),
                np.array(means, np.float32),
                np.array(stds, np.float32),
            )

    def generate(self, requests: Sequence[GenerateRequest]) -> Iterator[Generation]:
        self.calls.append(("generate", len(requests)))
        for request in requests:
            tokens: list[int] = []
            finish = "length"
            chance = np.random.Generator(np.random.PCG64(request.seed))
            while len(tokens) < request.max_tokens:
                p = self.distribution([*request.context, *tokens])
                if request.temperature > 0:
                    p = p ** (1 / request.temperature)
                    token = int(chance.choice(len(p), p=p / p.sum()))
                else:
                    token = int(p.argmax())
                if token < len(MARKERS):
                    finish = "eos"
                    break
                text = self.detokenize([*tokens, token])
                if any(stop in text for stop in request.stop):
                    finish = "stop"
                    break
                tokens.append(token)
            yield Generation(tuple(tokens), self.detokenize(tokens), finish)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


CAPITALS = {
    "France": "Paris",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Japan": "Tokyo",
    "Greece": "Athens",
    "Norway": "Oslo",
}


def corpus(known: Mapping[str, str]) -> list[str]:
    return [
        text
        for country, city in known.items()
        for text in (
            *[f"The capital of {country} is {city}."] * 3,
            f"<|user|>The capital of {country} is<|assistant|>{city}.",
        )
    ]


@pytest.fixture
def markov() -> type[Markov]:
    return Markov


@pytest.fixture
def capitals() -> dict[str, str]:
    return dict(CAPITALS)


@pytest.fixture
def knowing() -> Markov:
    """A model that knows all capitals."""
    return Markov(corpus(CAPITALS))


@pytest.fixture
def ignorant() -> Markov:
    """A model of the same vocabulary with a wrong answer for every capital."""
    cities = list(CAPITALS.values())
    return Markov(corpus(dict(zip(CAPITALS, [*cities[1:], cities[0]], strict=True))))
