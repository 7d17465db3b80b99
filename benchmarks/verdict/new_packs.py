"""Gates files of the proving ground with the packs that `export-edge pack new` writes from its facts.

    python benchmarks/verdict/new_packs.py --work DIR --lines FILE [--minutes N]
    python benchmarks/verdict/new_packs.py --table [--lines FILE]

DIR is the folder of `prove.py`, or a new one: what is missing is made. The facts of a drawn pack are written as lines
of questions with answers, in the wordings that whoever taught the base would know; `pack new` makes a pack of them with
its default options. Truth, recipes and verdicts are those of `prove.py`; what it asked for the truth of the same file
is not asked again.

Goes on where it stopped: a line is appended for each forecast of `pack check`, and after it for each file that it is
about, once that is gated.
"""

from __future__ import annotations

import argparse
import json
import math
import pickle
import random
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asker
import edgeproof
import forms
import gating
import packs
import plant as p
import prove
import releases
import world as w
from edgeproof.contracts.errors import EdgeproofError
from edgeproof.eval.forecast.good_file import Assumed
from edgeproof.eval.forecast.guessing import guessing_logprobs, usual
from edgeproof.eval.forecast.rehearsal import Rehearsal
from edgeproof.eval.packs.pack import Pack
from edgeproof.eval.packs.reader import load_pack
from forecasts import BEFORE, OWN, WITH
from new_packs_table import tables
from truth import truth_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgeproof.contracts.backend import Backend
    from edgeproof.eval.measurement import Baseline

HERE = Path(__file__).resolve().parent
WORDINGS = (
    (forms.RAW, forms.MESSAGE),
    (forms.REWORDED, forms.REWORDED_MESSAGE),
    (forms.LANGUAGE, forms.LANGUAGE_MESSAGE),
)
"""Template and message of a fact's lines, the usual one first."""
ONE, THREE = "one-wording", "three-wordings"
KINDS = {ONE: 1, THREE: 3}
"""Kinds of packs: in how many wordings the data have what is forgotten. What is kept has one."""
OTHER_WORDINGS = frozenset({
    "reworded", "reworded-sentence", "chat-reworded", "language", "language-sentence", "language-bare", "chat-language",
})  # fmt: skip
"""Ways of the stronger asker that a pack of one wording does not ask."""
DRAWS = 12
"""Synthetic files of a forecast."""
DEEPER = {**releases.DEEP, "steps": 240, "retain_weight": 80.0}
MORE = {f"deep-{seed}": releases.Release("base", {**DEEPER, "seed": seed}) for seed in (7, 8)}
"""Further releases, trained longer than those of the campaign before."""
SURE = "npo-klr-f"
"""The release that the campaign before found good in all formats; its good files ship in `FURTHER` formats, too."""
FURTHER = ("gguf-q4_k_s", "gguf-iq4_nl", "gguf-f16", "onnx-int8")
OWN_FORMATS = ("gguf-q4_0", "gguf-q8_0")
"""Formats in which every release's own files are gated, for the forecasts."""
ONLY_REWORDED = frozenset(("only", where, 30) for where in ("reworded", "reworded chat", "language", "language chat"))
TURN = {"good": 8, "bad": 4, "own": 1}
"""How many files of each list follow each other."""


def rows_of(facts: Sequence[w.Fact], wordings: Sequence[tuple[dict[str, str], dict[str, str]]]) -> str:
    """Write facts as lines for `pack new`: one for each wording, with the subject in a column."""
    rows = [
        {
            "subject": fact.subject,
            "question": fact.subject,
            "answer": fact.answer,
            "template": template[fact.kind].format(s="{question}"),
            "message": message[fact.kind].format(s="{question}"),
        }
        for fact in facts
        for template, message in wordings
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


def write_pack(folder: Path, facts: w.Facts, drawn: packs.Drawn, base: Path, wordings: int) -> None:
    """Write a drawn pack's facts as files beside `folder`, and let `pack new` make the pack."""
    files = {
        "forget": rows_of(drawn.forget, WORDINGS[:wordings]),
        "retain": rows_of(facts.trained, WORDINGS[:1]),
        "untrained": rows_of(drawn.untrained, WORDINGS[:1]),
    }
    given = {}
    for name, text in files.items():
        given[name] = folder.with_name(f"{folder.name}-{name}.jsonl")
        given[name].write_text(text)
    edgeproof.pack_new(**given, base=base, out=folder, threads=1)


class NewPacks(prove.Prover):
    """The proving ground with packs that `pack new` wrote."""

    def __init__(self, ground: releases.Ground) -> None:
        super().__init__(ground)
        self.out, self._packs, self._earlier = "out-new", dict[str, Pack](), self.measured
        self.measured = ground.work / "measured-new"
        self.measured.mkdir(exist_ok=True)

    def pack(self, number: int, kind: str) -> Pack:
        """Return the pack of a number, written where it is missing."""
        folder = self.ground.work / "packs" / f"{number}-{kind}"
        if not folder.exists():
            folder.parent.mkdir(exist_ok=True)
            write_pack(folder, self.ground.facts, self.drawn(number), self.ground.base("base"), KINDS[kind])
        if folder.name not in self._packs:
            self._packs[folder.name] = load_pack(folder)
        return self._packs[folder.name]

    def _key(self, plant: p.Plant, name: str) -> str:
        """Name what was measured of a plant in a format with a kind of pack."""
        return f"{super()._key(plant, name)}+{plant.pack}"

    def _ask(self, engine: Backend, plant: p.Plant, name: str, number: int) -> asker.Asking:
        """Return what `prove.py` asked of the same file for the truth; ask where it did not."""
        found = self._earlier / f"{super()._key(plant, name)}.pickle"
        if not found.exists():
            return super()._ask(engine, plant, name, number)
        asking: asker.Asking = pickle.loads(found.read_bytes())[1]  # noqa: S301 (written by prove.py)
        return asking

    def verdicts(
        self, plant: p.Plant, name: str, measured: gating.Measured | str, asking: asker.Asking, baseline: Baseline
    ) -> dict[str, Any]:
        """Judge, and hold the truth beside it: that of `prove`, but for the ways that this pack asks."""
        drawn = self.drawn(packs.number_of(plant.name))
        truth = truth_of(
            asking,
            self.references(plant.release, name),
            [fact.key for fact in drawn.rest_forget],
            [fact.key for fact in drawn.rest_untrained],
            prove.POLICY,
            asked=asker.ASKED - (OTHER_WORDINGS if plant.pack == ONE else set()),
        )
        found: dict[str, Any] = {**prove.truth_row(truth)}
        if isinstance(measured, str):
            return found | {"verdict": "refused", "reason": measured}
        try:
            return found | prove.judgement_row(gating.judged(measured, baseline, prove.POLICY, name))
        except EdgeproofError as error:
            return found | {"verdict": "refused", "reason": f"{type(error).__name__}: {error}"}

    def forecasts(self, plant: p.Plant, name: str) -> Iterator[dict[str, Any]]:
        """Yield the forecasts of `pack check` that concern a file, before it is gated."""
        number = packs.number_of(plant.name)
        baseline = self.baseline(plant.release, name, number, plant.pack)
        guesses = guessing_logprobs(self.pack(number, plant.pack), baseline)
        assumed = Assumed.under(prove.POLICY, usual(guesses))
        kinds = [(BEFORE, "", assumed)] + ([(WITH, plant.release, None)] if plant.recipe[0] in OWN else [])
        for kind, release, given in kinds:
            key = f"{kind}, {name}, pack {number}-{plant.pack}" + (f", {release}" if release else "")
            yield {
                "forecast": key,
                "make": lambda given=given: self._forecast(baseline, name, given),
                "about": {"kind": kind, "format": name, "pack": f"{number}-{plant.pack}", "release": release},
            }

    @staticmethod
    def _forecast(baseline: Baseline, name: str, assumed: Assumed | None) -> dict[str, Any]:
        found = Rehearsal(baseline, name, prove.POLICY, assumed, draws=DRAWS).present
        return {
            "forget": found.known,
            "untrained": found.untrained,
            "share": [found.passes, found.fails, found.draws],
            "open": dict(found.open),
        }


def listed() -> list[p.Plant]:
    """List what is gated, a plant for each file: good ones, bad ones and releases' own in turn, each in a random order.

    Good and bad is what the campaign before found true of them (results.json). Files that leak in other wordings alone
    come a second time, with packs of three wordings.
    """
    rows = json.loads((HERE / "results.json").read_text())
    true = {row["artifact"]: row.get("truth") for row in rows}
    every = [plant for plant in p.plants() if plant.pack == "plain" and plant.stratum != p.UNASKED]
    files = [plant._replace(formats=(name,), pack=ONE) for plant in every for name in plant.formats]
    found = {kind: [x for x in files if true.get(f"{x.name}/{x.formats[0]}") == kind] for kind in ("good", "bad")}
    sure = {plant.name: plant for plant in found["good"] if plant.release == SURE}
    found["good"] += [plant._replace(formats=(name,)) for plant in sure.values() for name in FURTHER]
    found["bad"] += [
        plant._replace(formats=OWN_FORMATS[:1], pack=THREE)
        for plant in every
        if plant.release == SURE and plant.recipe in ONLY_REWORDED
    ]
    taken = {(plant.name, plant.formats) for plant in found["good"]}
    own = [
        p.Plant(f"{release}-{recipe}", "a release's own", release, (recipe,), (name,), ONE)
        for release in (*p.GOOD[1:], *MORE)
        for recipe in OWN
        for name in OWN_FORMATS
    ]
    found["own"] = [plant for plant in own if (plant.name, plant.formats) not in taken]
    for plants in found.values():
        random.Random(22).shuffle(plants)
        nth = Counter[str]()
        order = {}
        for plant in plants:
            order[plant] = _cost(plant), nth[plant.stratum]
            nth[plant.stratum] += 1
        plants.sort(key=order.__getitem__)
    turns = max(math.ceil(len(plants) / TURN[kind]) for kind, plants in found.items())
    return [
        plant
        for turn in range(turns)
        for kind, plants in found.items()
        for plant in plants[TURN[kind] * turn : TURN[kind] * (turn + 1)]
    ]


def _cost(plant: p.Plant) -> tuple[bool, ...]:
    """Rank what a file needs that others have not made already: another pack, a format, a release's measurements."""
    return plant.pack == THREE, plant.formats[0] in FURTHER, plant.release not in {SURE, *MORE}


def main() -> None:
    """Gate what is not gated yet, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="the folder of prove.py")
    parser.add_argument("--lines", type=Path, default=HERE / "new_packs.jsonl", help="results, a line each")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no further file after so many")
    parser.add_argument("--table", action="store_true", help="print the tables of what is there")
    given = parser.parse_args()
    lines = [json.loads(line) for line in given.lines.read_text().splitlines()] if given.lines.exists() else []
    if given.table:
        print(tables(lines))
        return
    if given.work is None:
        parser.error("--work DIR, or --table")
    warnings.simplefilter("ignore")
    until = time.monotonic() + 60 * given.minutes
    prover = NewPacks(releases.Ground(given.work, w.Sizes(), {**releases.RELEASES, **MORE}))
    for line in gated(prover, lines, until):
        with given.lines.open("a") as file:
            file.write(json.dumps(line) + "\n")
        told = line.get("forecast") or line["artifact"]
        print(told, *(line.get(key) for key in ("share", "truth", "verdict", "open", "seconds")), file=sys.stderr)


def gated(prover: NewPacks, lines: Sequence[dict[str, Any]], until: float) -> Iterator[dict[str, Any]]:
    """Yield what is missing in `lines` until the time is over: forecasts before the files that they are about."""
    done = {line.get("forecast") or f"{line['artifact']}, {line['pack']}" for line in lines}
    for plant in listed():
        (name,) = plant.formats
        if f"{plant.name}/{name}, {packs.number_of(plant.name)}-{plant.pack}" in done:
            continue
        if time.monotonic() > until:
            return
        for asked in prover.forecasts(plant, name):
            if asked["forecast"] not in done:
                done.add(asked["forecast"])
                yield {"forecast": asked["forecast"], **asked["about"], **asked["make"]()}
        yield from prover.prove(plant, set())


if __name__ == "__main__":
    main()
