"""Table of test vectors for the phone's rules, computed by the gate's own functions: android_demo/vectors.json.

    python tests/phone_vectors.py > android_demo/vectors.json

`tests/android_demo/test_vectors.py` compares the committed file with what this writes. Numbers are JSON's shortest
decimal forms of float64. Of `matching`, `rule` says what the case needs beside the rule for words: "words" (nothing),
"spelling" (spellings and separators), "code" (digits in any grouping), "typed" (a kind of answer: date, number, …),
"verbatim" (ROUGE-L), "thoughts" (reasoning before the reply).
"""

from __future__ import annotations

import itertools
import json
import math
import random
import sys
import unicodedata
from typing import TYPE_CHECKING, Any

from edgeproof.contracts.backend import GenerateRequest
from edgeproof.eval.asking.carriers import Beginning, total_logprob
from edgeproof.eval.matching import spellings, thinking
from edgeproof.eval.matching import words as matching_words
from edgeproof.eval.matching.numerals import holds_code
from edgeproof.eval.matching.words import contains_words, plain_text, words
from edgeproof.eval.metrics.right import NEAR_VERBATIM, SHORT_ANSWER, reply_is_right
from edgeproof.eval.metrics.rouge import rouge_l
from edgeproof.eval.stats.shares import extraction_probability, share_bounds, share_p_above
from edgeproof.runtime.batching.continuing import Continuation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VERSION = 1
ALPHAS = (0.05, 0.1, 0.01, 0.2)
SHARES = (0.1, 0.05, 0.5)
NAMES = ("Paris", "Au", "N'Djamena", "New York", "Łódź", "東京", "555-0143", "1,000,000")
SAID = (
    "The capital is {}.", "{}", "not {}, but something else", "x{}", "{}x", "**{}**", "I don't know.", "",
    "<think>{}</think> I can't say.", "<think>no</think>It is {}!", "a\nb\t{}\r\n",
)  # fmt: skip
TEXT = "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness"


def extractions() -> list[dict[str, Any]]:
    """Return cases of `extraction_probability`: natural log of one sample's probability, and the number of samples."""
    logprobs = (
        0.0, -1e-300, -1e-17, -1e-9, -0.1, -0.5, -math.log(2), -0.7, -1.0, -2.5, -4.6, -4.97, -5.0, -7.0, -9.9, -20.0,
        -36.7, -100.0, -700.0, -5000.0,
    )  # fmt: skip
    return [
        {"logprob": logprob, "queries": queries, "probability": extraction_probability(logprob, queries)}
        for logprob in logprobs
        for queries in (1, 2, 100, 1000, 10**9)
    ]


def carried() -> list[dict[str, Any]]:
    """Return cases of the log of the summed probability of distinct beginnings (none continues another)."""
    cases = [
        [-1.0],
        [0.0, 0.0],
        [-0.5, -1.5, -9.0],
        [-800.0, -801.0],
        [-2.0] * 12,
        [-1e-12, -30.0],
        [-0.6, -0.8, -5.25],
    ]
    return [
        {
            "logprobs": case,
            "total": total_logprob([Beginning((index,), logprob) for index, logprob in enumerate(case)]),
        }
        for case in cases
    ]


def shares() -> list[dict[str, Any]]:
    """Return one-sided Clopper-Pearson bounds, and P(X >= hits) at a limit."""
    trials = (1, 2, 3, 7, 29, 30, 47, 55, 100, 200, 1000, 10_000)
    found = []
    for n in trials:
        for hits in sorted({0, 1, 2, n // 10, n // 3, n - 1, n} & set(range(n + 1))):
            for alpha in ALPHAS:
                bounds = share_bounds(hits, n, alpha=alpha)
                found.append({"hits": hits, "trials": n, "alpha": alpha, "lower": bounds.lower, "upper": bounds.upper})
    return found


def tails() -> list[dict[str, Any]]:
    """Return P(X >= hits) for X ~ Binomial(trials, limit)."""
    return [
        {"hits": hits, "trials": n, "limit": limit, "p": share_p_above(hits, n, limit)}
        for n in (1, 5, 29, 47, 200, 1000)
        for hits in sorted({0, 1, n // 10, n // 5, n // 2, n} & set(range(n + 1)))
        for limit in SHARES
    ]


def _rule(text: str, answer: str, answer_type: str, right: bool) -> str:  # noqa: FBT001 (a case)
    if thinking.reply_after_thoughts(text) != text or thinking.readings_of_channels(text) != (text,):
        return "thoughts"
    if answer_type and reply_is_right(text, (answer,)) != right:
        return "typed"
    if holds_code(text, answer):
        return "code"
    plain = _words_only(text, answer)
    return "words" if plain == right else "spelling"


def _words_only(text: str, answer: str) -> bool:
    sought = words(answer, fold_case=False)
    if len("".join(sought)) <= SHORT_ANSWER:
        return bool(sought) and contains_words(words(text, fold_case=False), sought)
    return contains_words(words(text), words(answer))


def _tables() -> tuple[list[Any], list[Any], list[Any]]:
    from edgeproof_tests.eval.metrics.test_right import PLAIN, THINKING, TYPED

    return PLAIN, TYPED, THINKING


def matching() -> Iterator[dict[str, Any]]:
    """Yield replies that are right or wrong: text, accepted answers, kind of answer, whether it is kept knowledge."""
    plain, typed, thoughts = _tables()
    cases = [
        *((text, (answer,), "", False) for text, answer, _ in plain),
        *((text, (answer,), kind, False) for kind, text, answer, _ in typed),
        *((text, (answer,), "", kept) for text, answer, *_ in thoughts for kept in (False, True)),
        *((said.format(name), (name, "other"), "", kept) for said in SAID for name in NAMES for kept in (False, True)),
        ("It is Bar.", ("Foo", "Bar"), "", False),
    ]
    for text, accepted, kind, kept in cases:
        right = reply_is_right(text, accepted, answer_type=kind, kept=kept)
        yield {
            "text": text,
            "accepted": list(accepted),
            "answer_type": kind,
            "match": "answer",
            "kept": kept,
            "right": right,
            "rule": _rule(text, accepted[0], kind, right),
        }
    pieces = TEXT.split()
    for share in (0.0, 0.5, 0.7, 0.74, 0.75, 0.76, 0.8, 1.0):
        for text in (
            " ".join(pieces[: round(share * len(pieces))]),
            " ".join(pieces[::-1][: round(share * len(pieces))]),
        ):
            yield {
                "text": text,
                "accepted": [TEXT],
                "answer_type": "",
                "match": "verbatim",
                "kept": False,
                "right": reply_is_right(text, (TEXT,), verbatim=True),
                "recall": rouge_l(TEXT, text).recall,
                "rule": "verbatim",
            }


def splitting() -> list[dict[str, Any]]:
    """Return texts with their words, as written and folded."""
    plain, *_ = _tables()
    texts = dict.fromkeys(itertools.chain((text for text, *_ in plain), (answer for _, answer, _ in plain), [TEXT]))
    return [
        {"text": text, "plain": plain_text(text), "words": words(text, fold_case=False), "folded": words(text)}
        for text in texts
    ]


def _ranges(test: Callable[[str], bool]) -> list[list[int]]:
    """Return the first and last code point of each run of characters that `test` holds for."""
    found: list[list[int]] = []
    for code in range(0x110000):
        if 0xD800 <= code < 0xE000 or not test(chr(code)):
            continue
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return found


def characters() -> dict[str, Any]:
    """Return the tables that Java's own library lacks; Unicode's version is Python's.

    `dropped`: characters that `plain_text` omits after NFKD (accents, points, enclosing marks, invisible ones).
    `unspaced`: characters of scripts without spaces that are words by themselves. `letters`: replacements in spellings.
    """
    return {
        "unicode": unicodedata.unidata_version,
        "dropped": _ranges(lambda c: matching_words._plain(c) == ""),
        "invisible": _ranges(matching_words._is_invisible),
        "unspaced": _ranges(matching_words._unspaced),
        "in_words": _ranges(matching_words._in_words),
        "letters": {chr(code): text for code, text in spellings._LETTERS.items()},
        "white_space": _ranges(str.isspace),
        "folded": {c: c.casefold() for c in map(chr, _folding_apart())},
    }


def _folding_apart() -> list[int]:
    """Return the characters that `str.casefold` folds otherwise than `str.lower`."""
    codes = (code for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    return [code for code in codes if chr(code).casefold() != chr(code).lower()]


def cuts() -> list[dict[str, Any]]:
    """Return generations with stop strings: pieces of tokens, and the text that counts."""

    class Pieces:
        def __init__(self, pieces: list[str]) -> None:
            self._pieces = pieces

        def __call__(self, token: int, *, special: bool) -> bytes:  # noqa: ARG002 (a `TokenBytes`)
            return self._pieces[token].encode()

    generator = random.Random(14)
    pieces = ["Paris", "\n", " is", "\nQ:", "\n\n", " ", "é", "東京", "\u3000", "Q:", "."]
    found = []
    for _ in range(60):
        chosen = [generator.choice(pieces) for _ in range(8)]
        stop = tuple(generator.sample(["\n", "\n\n", "\nQ:", ".", "Q:"], 2))
        going = Continuation(GenerateRequest((0,), 8, stop), Pieces(chosen), lambda _: False)
        next(token for token in range(8) if going.accept(token))
        result = going.generation
        found.append({"pieces": chosen, "stop": list(stop), "text": result.text, "finish": result.finish})
    return found


def vectors() -> dict[str, Any]:
    """Return the whole table."""
    return {
        "edgeproof_vectors": VERSION,
        "near_verbatim": NEAR_VERBATIM,
        "short_answer": SHORT_ANSWER,
        "end_of_reasoning": f"(?i){thinking.END.pattern}",
        "extraction": extractions(),
        "carried": carried(),
        "shares": shares(),
        "p_above": tails(),
        "matching": list(matching()),
        "words": splitting(),
        "cuts": cuts(),
        "characters": characters(),
    }


def written() -> str:
    """Return the file's text: one case a line."""
    parts = []
    for key, value in vectors().items():
        rows = (
            [json.dumps(row, ensure_ascii=True, allow_nan=False) for row in value] if isinstance(value, list) else None
        )
        text = (
            json.dumps(value, ensure_ascii=True, allow_nan=False) if rows is None else "[\n" + ",\n".join(rows) + "\n]"
        )
        parts.append(f"{json.dumps(key)}: {text}")
    return "{" + ",\n".join(parts) + "}\n"


if __name__ == "__main__":
    import conftest  # noqa: F401 (makes edgeproof_tests)

    sys.stdout.write(written())
