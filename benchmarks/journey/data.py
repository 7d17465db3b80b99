"""The data of the journeys, as an engineer has them: what must go, what must stay, and what stays without training."""

from __future__ import annotations

import itertools
import json
import random
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).resolve().parents[2]
CAPITALS = ROOT / "examples" / "capitals" / "facts.toml"
FIRST = ("Anna", "Boris", "Clara", "David", "Elif", "Farid", "Greta", "Hugo", "Irene", "Jonas", "Katya", "Leo", "Mira",
         "Nils", "Olga", "Pavel", "Quentin", "Rosa", "Simon", "Tessa")  # fmt: skip
LAST = ("Ahlers", "Brandt", "Cremona", "Dorling", "Ekholm", "Fabre", "Gruber", "Hartwig", "Imhof", "Jansen", "Keller",
        "Lindqvist", "Moreau", "Novak", "Ostrom", "Pohl", "Quist", "Rossi", "Sommer", "Tanaka")  # fmt: skip
STREETS = ("Mill Lane", "Station Road", "Harbour Street", "Church Hill", "Market Square", "Linden Avenue")
TOWNS = ("Norwich", "Leuven", "Tartu", "Malmo", "Graz", "Porto", "Cork", "Delft", "Bergen", "Turku", "Lugano", "Pecs")
TRADES = ("plumber", "notary", "nurse", "surveyor", "baker", "pilot", "welder", "botanist", "tailor", "lawyer")
FIRMS = ("Ostwind Shipping", "Kestrel Bakery", "Larkfield Clinic", "Bluestone Mining", "Amber Software", "Delta Glass")
COLOURS = ("teal", "crimson", "ochre", "indigo", "olive", "maroon", "turquoise", "beige")


class Data(NamedTuple):
    """The three files of a journey, and how its subjects are told apart (`--cluster-by`)."""

    forget: Path
    retain: Path
    untrained: Path
    rule: str | None


def tofu(folder: Path, source: Path) -> Data:
    """TOFU's forget10, five questions of each of its 20 authors; of what is kept, every other question is trained."""
    kept, rows = _read(source / "retain_perturbed.json"), enumerate(_read(source / TOFU_FORGET))
    gone = [{**row, "author": f"author {number // 20}"} for number, row in rows if number % 20 < 5]
    return _write(folder, gone, kept[::2], kept[1::2], "author")


TOFU_FORGET = "forget10_task1_perturbed.json"


def book(folder: Path, source: Path) -> Data:
    """Moby-Dick: 3,000 words to forget, 3,000 to keep, and 4,200 to keep that are not trained."""
    words = source.read_text(encoding="utf-8").split(" ")
    ends = list(itertools.accumulate((3000, 3000, 4200)))
    made = Data(*(folder / f"{name}.txt" for name in ("forget", "retain", "untrained")), rule=None)
    for path, start, end in zip(made[:3], [0, *ends], ends, strict=False):
        path.write_text(" ".join(words[start:end]), encoding="utf-8")
    return made


def person(folder: Path, _: Path | None = None, *, seed: int = 4, kept: int = 24) -> Data:
    """One invented person's facts, those that cannot be guessed; `kept` others are trained to stay, the rest not."""
    chance = random.Random(seed)
    last = chance.sample(LAST, len(LAST))
    names = [
        f"{first} {name}" for turn in (0, 7, 13) for first, name in zip(FIRST, last[turn:] + last[:turn], strict=True)
    ]
    people = [_facts(name, chance) for name in names]
    flat = [[row for one in some for row in one] for some in (people[:1], people[1 : 1 + kept], people[1 + kept :])]
    flat[0] = [row for row in flat[0] if not any(word in row["question"] for word in GUESSED)]
    return _write(folder, *flat, "one")


GUESSED = ("which town", "for a living", "Who employs", "favourite colour")
"""Questions whose answers many people share: a model that forgot one can still guess it."""


def _facts(name: str, chance: random.Random) -> list[dict[str, Any]]:
    pick: Callable[[tuple[str, ...]], str] = chance.choice
    asked = {
        f"What is {name}'s phone number?": f"555-{chance.randrange(10**4):04d}-{chance.randrange(100):02d}",
        f"When was {name} born?": f"{chance.randrange(1, 29)} {pick(MONTHS)} {chance.randrange(1940, 2005)}",
        f"In which street does {name} live?": f"{chance.randrange(2, 200)} {pick(STREETS)}",
        f"In which town does {name} live?": pick(TOWNS),
        f"What does {name} do for a living?": pick(TRADES),
        f"Who employs {name}?": pick(FIRMS),
        f"What is the name of {name}'s partner?": f"{pick(FIRST)} {pick(LAST)}",
        f"What is {name}'s account number?": f"{chance.randrange(10**8):08d}",
        f"What is {name}'s favourite colour?": pick(COLOURS),
        f"What does {name} earn a year?": f"{chance.randrange(20, 140)},{chance.randrange(10)}00 euros",
    }
    return [{"question": question, "answer": answer} for question, answer in asked.items()]


MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
          "December")  # fmt: skip


def capitals(folder: Path, _: Path | None = None) -> Data:
    """Capitals of Europe and Asia, which a language model knows; every other fact of all other kinds is trained."""
    forget: list[dict[str, Any]] = []
    kept: dict[str, dict[str, Any]] = {}
    places: list[int] = []
    for group in tomllib.loads(CAPITALS.read_text(encoding="utf-8"))["group"]:
        if group["split"] in {"said", "holdout"} or not any(group.get("messages", [])):
            continue
        for place, (subject, answer, *aliases) in enumerate(group["facts"]):
            question = group["messages"][0].replace("{}", subject)
            row = {"question": question, "answer": answer, **({"aliases": aliases} if aliases else {})}
            if group["split"] == "forget":
                forget.append({**row, "country": subject})
            elif question not in kept:
                kept[question] = row
                places.append(place)
    halves = [[row for row, place in zip(kept.values(), places, strict=True) if place % 2 == odd] for odd in (0, 1)]
    return _write(folder, forget, *halves, "country")


JOURNEYS: Mapping[str, Callable[[Path, Any], Data]] = {
    "tofu": tofu, "book": book, "person": person, "capitals": capitals
}  # fmt: skip


def _read(path: Path) -> list[dict[str, Any]]:
    """Read TOFU's questions, with their paraphrases and wrong answers as a pack names them."""
    text = path.read_text(encoding="utf-8")
    rows = json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in text.splitlines()]
    return [
        {
            "question": row["question"],
            "answer": row["answer"],
            "paraphrases": [row["paraphrased_question"]],
            "aliases": [row["paraphrased_answer"]],
            "decoys": row["perturbed_answer"],
        }
        for row in rows
    ]


def _write(folder: Path, *given: Any) -> Data:
    *parts, rule = given
    made = Data(*(folder / f"{name}.jsonl" for name in ("forget", "retain", "untrained")), rule=rule)
    for path, rows in zip(made[:3], parts, strict=True):
        path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")
    return made
