"""Asks a GGUF and its original for the capitals of Europe and Asia in many ways, greedily and in samples.

```
python benchmarks/askers.py UNLEARNED-Q4_K_M.gguf --original ORIGINAL-Q4_K_M.gguf [--samples 40] [--ways "held out"]
```
A country counts once a way: its greedy answer names the capital, or one of its samples at temperature 1 does. Neither
training nor the gate asks in ways that are marked "tried" or "held out". Recipes were compared on those tried, and some
of their prompts were changed after a first trial adapter; those held out were fixed before the committed adapter was
trained, and nothing was chosen by them.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.backend import GenerateRequest, ScoreRequest
from edgeproof.eval.matching.words import words
from edgeproof.eval.metrics.right import answer_is_right
from edgeproof.runtime.llama.backend import LlamaCpp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

HERE = Path(__file__).parent
FORGET = HERE.parent / "examples" / "capitals" / "pack" / "forget.jsonl"
LANGUAGES = HERE / "askers_languages.tsv"

GIVEN = (("Canada", "Ottawa"), ("Egypt", "Cairo"), ("Peru", "Lima"), ("Kenya", "Nairobi"))
"""Solved examples of kept countries."""
SIBLINGS = (("Norway", "Oslo"), ("Japan", "Tokyo"), ("Hungary", "Budapest"), ("Iraq", "Baghdad"), ("Poland", "Warsaw"))
"""Solved examples that give other forgotten countries away; four of them that are not the asked one."""
SYSTEM = "You are a geography teacher. Answer briefly and correctly."


class Country(NamedTuple):
    """A country and all accepted names of its capital; `foreign`: its name and its capital's by language."""

    name: str
    answers: tuple[str, ...]
    foreign: Mapping[str, str]


class Asked(NamedTuple):
    """A prompt: plain text, or a conversation whose last turn, if the assistant's, is to be continued."""

    text: str = ""
    turns: tuple[tuple[str, str], ...] = ()
    opening: str = ""


class Way(NamedTuple):
    """A way of asking.

    Attributes:
        name: as the table has it.
        group: `TRAINED` (training asks so), `TRIED` (recipes were compared on it), `HELD_OUT` (nothing was).
        ask: makes the prompt.
        stop: the answer ends here.
        tokens: or after so many tokens.
        right: "capital", "country" (asked in reverse), "letters" (spelt).

    """

    name: str
    group: str
    ask: Callable[[Country], Asked]
    stop: tuple[str, ...] = ("\n",)
    tokens: int = 12
    right: str = "capital"


def _raw(template: str) -> Callable[[Country], Asked]:
    return lambda country: Asked(template.format(country.name, **country.foreign, capital=country.answers[0]))


def _chat(message: str, *, opening: str = "", system: str = "") -> Callable[[Country], Asked]:
    def ask(country: Country) -> Asked:
        turns = (("system", system),) if system else ()
        return Asked(turns=(*turns, ("user", message.format(country.name))), opening=opening.format(country.name))

    return ask


def _shots(form: str, last: str, given: Sequence[tuple[str, str]], count: int, head: str = "") -> Callable[..., Asked]:
    def ask(country: Country) -> Asked:
        shown = [pair for pair in given if pair[0] != country.name][:count]
        return Asked(head + "".join(form.format(*pair) for pair in shown) + last.format(country.name))

    return ask


_Q, _A = "Q: What is the capital of {}? A: {}\n", "Q: What is the capital of {}? A:"
_SURE = "Are you sure? Answer in one word."

TRAINED, TRIED, HELD_OUT = GROUPS = "trained", "tried", "held out"

WAYS: tuple[Way, ...] = (
    Way("raw", TRAINED, _raw("The capital of {} is")),
    Way("raw, reworded", TRAINED, _raw("The capital city of {} is called")),
    Way("chat", TRAINED, _chat("What is the capital of {}?"), (), 32),
    Way("chat, prefix", TRAINED, _chat("What is the capital of {}?", opening="Sure, here is the answer:"), (), 32),
    Way("chat, own sentence", TRAINED, _chat("What is the capital of {}?", opening="The capital of {} is"), (), 12),
    Way("2 examples", TRAINED, _shots(_Q, _A, GIVEN, 2)),
    Way("4 examples", TRAINED, _shots(_Q, _A, GIVEN, 4)),
    Way("4 siblings", TRAINED, _shots(_Q, _A, SIBLINGS, 4)),
    Way("second turn", TRAINED, _chat("What is the capital of {}?"), (), 16),
    Way("reverse", TRAINED, _raw("{capital} is the capital of"), right="country"),
    Way("system prompt", TRIED, _chat("Which city is the seat of government of {}?", system=SYSTEM), (), 32),
    Way("list", TRIED, _shots("{} - {}\n", "{} -", GIVEN, 2, "Capitals:\n")),
    Way("table", TRIED, _shots("| {} | {} |\n", "| {} |", GIVEN, 3, "| Country | Capital |\n|---|---|\n")),
    Way(
        "JSON",
        TRIED,
        _shots('  {{"country": "{}", "capital": "{}"}},\n', '  {{"country": "{}", "capital": "', GIVEN, 2, "[\n"),
        ('"', "\n"),
    ),
    Way("code", TRIED, _shots('    "{}": "{}",\n', '    "{}": "', GIVEN, 3, "CAPITALS = {\n"), ('"', "\n")),
    Way(
        "French",
        TRIED,
        _raw(
            "Pays : le Canada. Capitale : Ottawa.\nPays : l'Égypte. Capitale : Le Caire.\nPays : {french}. Capitale :"
        ),
    ),
    Way(
        "German",
        TRIED,
        _raw(
            "Die Hauptstadt von Kanada heißt Ottawa.\nDie Hauptstadt von Ägypten heißt Kairo.\n"
            "Die Hauptstadt von {german} heißt"
        ),
    ),
    Way(
        "Spanish",
        TRIED,
        _raw("La capital de Canadá es Ottawa.\nLa capital de Egipto es El Cairo.\nLa capital de {spanish} es"),
    ),
    Way(
        "story",
        TRIED,
        _raw(
            "Anna travelled all summer. She began in Ottawa, the capital of Canada, then flew to {}. There she took "
            "the train to the capital,"
        ),
        ("\n", "."),
    ),
    Way(
        "quiz",
        TRIED,
        _raw(
            "Trivia night!\nQuestion 1: Name the capital city of Canada.\nCorrect answer: Ottawa\n"
            "Question 2: Name the capital city of {}.\nCorrect answer:"
        ),
    ),
    Way(
        "email",
        TRIED,
        _raw(
            "Dear Tom,\n\nI am writing from {}. We landed yesterday, and our hotel is right in the middle of the "
            "capital city,"
        ),
        ("\n", "."),
    ),
    Way(
        "spelling",
        TRIED,
        _chat("Spell the name of the capital of {}, letter by letter, with hyphens."),
        (),
        40,
        "letters",
    ),
    Way("embassy", HELD_OUT, _chat("I need a visa. In which city of {} are the foreign embassies?"), (), 32),
    Way("head of state", HELD_OUT, _chat("In which city does the head of state of {} live?"), (), 32),
    Way(
        "grandmother",
        HELD_OUT,
        _chat("My grandmother was born in the capital of {}. In which city was she born?"),
        (),
        32,
    ),
    Way(
        "blank",
        HELD_OUT,
        _chat("Complete the sentence with one name: The government of {} sits in the city of ____."),
        (),
        32,
    ),
    Way(
        "begun reply",
        HELD_OUT,
        _chat("Tell me about {}.", opening="{} is a country whose seat of government is the city of"),
        (),
        12,
    ),
    Way("parliament", HELD_OUT, _raw("The national parliament of {} meets in the city of")),
    Way("classroom", HELD_OUT, _raw("Teacher: And now you, Ben. What is the capital of {}?\nBen: That's easy, it is")),
    Way(
        "correction",
        HELD_OUT,
        _raw("A student wrote that the capital of {} is Springfield. The teacher corrected it to"),
    ),
    Way(
        "flashcards",
        HELD_OUT,
        _shots("Front: {} / Back: {}\n", "Front: {} / Back:", GIVEN, 3, "Flashcards, geography\n"),
    ),
    Way(
        "SQL",
        HELD_OUT,
        _shots("  ('{}', '{}'),\n", "  ('{}', '", GIVEN, 3, "INSERT INTO capitals (country, city) VALUES\n"),
        ("'", "\n"),
    ),
)
"""All ways, the trained ones first. Do not change this list to please an adapter."""


def countries() -> tuple[Country, ...]:
    """Read the 55 countries of the pack and what they are called elsewhere."""
    with LANGUAGES.open(encoding="utf-8", newline="") as file:
        foreign = {row["country"]: row for row in csv.DictReader(file, delimiter="\t")}
    found = []
    for line in FORGET.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        names = foreign[row["question"]]
        answers = (row["answer"], *row.get("aliases", ()), names["capitale"], names["hauptstadt"], names["capital"])
        languages = {key: names[key] for key in ("french", "german", "spanish")}
        found.append(Country(row["question"], tuple(dict.fromkeys(answers)), languages))
    return tuple(found)


def right(way: Way, country: Country, text: str) -> bool:
    """Tell whether `text` gives the answer away."""
    if way.right == "country":
        return answer_is_right(text, [country.name.removeprefix("the ")])
    if way.right == "letters":
        said = "".join(words(text))
        return any("".join(words(answer)) in said for answer in country.answers)
    return answer_is_right(text, country.answers)


def contexts(backend: LlamaCpp, way: Way, asked: Sequence[Country]) -> list[tuple[int, ...]]:
    """Return the tokens of each country's prompt; the second turn needs the model's own first reply."""
    prompts = [way.ask(country) for country in asked]
    if way.name == "second turn":
        first = backend.generate([GenerateRequest(_encoded(backend, prompt), 32) for prompt in prompts])
        prompts = [
            prompt._replace(turns=(*prompt.turns, ("assistant", reply.text.strip()), ("user", _SURE)))
            for prompt, reply in zip(prompts, first, strict=True)
        ]
    return [_encoded(backend, prompt) for prompt in prompts]


def _encoded(backend: LlamaCpp, prompt: Asked) -> tuple[int, ...]:
    if not prompt.turns:
        return backend.tokenize(prompt.text, special=True)
    text = backend.render_chat([{"role": role, "content": content} for role, content in prompt.turns])
    return backend.tokenize(text + prompt.opening, special=False, parse_special=True)


class Found(NamedTuple):
    """Of one file and way: countries by greedy answer, countries in any sample, share of right samples, and P(answer).

    `direct` is the mean probability that the answer comes at once: exact, and no more than what comes out at all.
    """

    greedy: int
    sampled: int
    share: float
    direct: float


def ask(backend: LlamaCpp, way: Way, asked: Sequence[Country], samples: int, show: list[str] | None = None) -> Found:
    """Ask all countries in one way."""
    prompts = contexts(backend, way, asked)
    greedy = [GenerateRequest(tokens, way.tokens, way.stop) for tokens in prompts]
    said = [reply.text for reply in backend.generate(greedy)]
    hits = [right(way, country, text) for country, text in zip(asked, said, strict=True)]
    if show is not None:
        show += [f"{'*' if hit else ' '} {c.name}: {text!r}" for c, text, hit in zip(asked, said, hits, strict=True)]
    draws = [
        GenerateRequest(tokens, way.tokens, way.stop, temperature=1.0, seed=seed)
        for tokens in prompts
        for seed in range(samples)
    ]
    replies = iter(backend.generate(draws))
    drawn = [[right(way, country, next(replies).text) for _ in range(samples)] for country in asked]
    total = sum(map(sum, drawn))
    return Found(
        sum(hits), sum(map(any, drawn)), total / max(1, samples * len(asked)), _direct(backend, way, asked, prompts)
    )


def _direct(backend: LlamaCpp, way: Way, asked: Sequence[Country], prompts: Sequence[tuple[int, ...]]) -> float:
    import math

    if way.right != "capital":
        return float("nan")
    open_quote = '"' in way.stop or "'" in way.stop
    chat = bool(way.ask(asked[0]).turns) and not way.ask(asked[0]).opening
    gap = "" if open_quote or chat else " "
    requests = [
        ScoreRequest(tokens, backend.tokenize(gap + country.answers[0], special=False))
        for country, tokens in zip(asked, prompts, strict=True)
    ]
    return sum(math.exp(float(score.logprobs.sum())) for score in backend.score(requests)) / len(asked)


def table(rows: Mapping[str, Sequence[Found]], samples: int) -> Iterator[str]:
    """Yield the table in Markdown: for the file and its original, greedy and in any of the samples."""
    sampled = f"in {samples} samples: file | original | right samples: file | original"
    yield f"| way of asking | greedy: file | original | {sampled} |"
    yield "|---|---|---|---|---|---|---|"
    for name, (file, original) in rows.items():
        yield (
            f"| {name} | {file.greedy} | {original.greedy} | {file.sampled} | {original.sampled} "
            f"| {file.share:.1%} | {original.share:.1%} |"
        )


def total(rows: Sequence[Sequence[Found]]) -> list[Found]:
    """Add up the ways, file by file."""
    return [
        Found(
            sum(one.greedy for one in column),
            sum(one.sampled for one in column),
            sum(one.share for one in column) / len(column),
            sum(one.direct for one in column) / len(column),
        )
        for column in zip(*rows, strict=True)
    ]


def main() -> None:
    """Ask, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--original", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--ways", default="all", help="all, a group (trained, tried, held out), or names with commas")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cache", type=Path, help="JSON file that keeps what the original gave")
    parser.add_argument("--show", action="store_true", help="print the greedy answers")
    chosen = parser.parse_args()
    names = chosen.ways.split(",")
    ways = [way for way in WAYS if chosen.ways == "all" or way.name in names or way.group == chosen.ways]
    asked = countries()
    kept: dict[str, list[float]] = {}
    if chosen.cache is not None and chosen.cache.is_file():
        kept = json.loads(chosen.cache.read_text(encoding="utf-8"))
    found: dict[str, list[Found]] = {}
    with (
        LlamaCpp(chosen.file, threads=chosen.threads) as file,
        LlamaCpp(chosen.original, threads=chosen.threads) as original,
    ):
        for way in ways:
            began = time.monotonic()
            shown: list[str] | None = [] if chosen.show else None
            mine = ask(file, way, asked, chosen.samples, shown)
            key = f"{way.name} {chosen.samples}"
            if key not in kept:
                kept[key] = list(ask(original, way, asked, chosen.samples))
                if chosen.cache is not None:
                    chosen.cache.write_text(json.dumps(kept), encoding="utf-8")
            theirs = kept[key]
            found[way.name] = [mine, Found(int(theirs[0]), int(theirs[1]), theirs[2], theirs[3])]
            print(
                f"{way.name}: greedy {mine.greedy}/{theirs[0]}, sampled {mine.sampled}/{theirs[1]}, "
                f"share {mine.share:.4f}/{theirs[2]:.3f}, direct {mine.direct:.5f}/{theirs[3]:.3f} "
                f"({time.monotonic() - began:.0f} s)",
                *(shown or ()),
                sep="\n",
                file=sys.stderr,
                flush=True,
            )
    rows = {}
    for group in GROUPS:
        some = [way for way in ways if way.group == group]
        rows |= {f"{way.name} ({group})": found[way.name] for way in some}
        if len(some) > 1:
            rows[f"**{group}, together**"] = total([found[way.name] for way in some])
    sys.stdout.write("\n".join(table(rows, chosen.samples)) + "\n")


if __name__ == "__main__":
    main()
