"""Holds the forecast of `export-edge pack check` against what the gate then says, on the files of the proving ground.

    python benchmarks/verdict/forecasts.py --work DIR --out benchmarks/verdict/forecasts.json [--minutes N]
    python benchmarks/verdict/forecasts.py --table --out benchmarks/verdict/forecasts.json

DIR is the folder of `prove.py`, which has measured packs of the recommended size. A smaller pack is a random part of
one: its forecast and its verdicts see that part alone. Two forecasts are made:

- *before unlearning*, of the base alone; it is held against the verdicts on the files whose truth is "good";
- *with a baseline*, of a release's merged model; it is held against the verdicts on that release's own files, whatever
  their truth: its merge, and the merge in bf16.

Goes on where it stopped: what stands in the output is not made again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import pickle
import random
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gating
import packs
import plant as p
import prove
import releases
import restrict
import world as w
from edgeproof.eval.forecast.good_file import Assumed
from edgeproof.eval.forecast.guessing import guessing_logprobs, usual
from edgeproof.eval.forecast.rehearsal import Rehearsal
from edgeproof.eval.measurement import Role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgeproof.eval.measurement import Baseline
    from edgeproof.eval.packs.pack import Pack

FORMATS = ("gguf-q4_0", "gguf-q8_0"), ("gguf-q4_1", "gguf-q4")
SIZES = ((65, 300), (50, 200), (100, 500), (80, 400))
"""Forget and untrained retain subjects of a pack."""
DRAWS = 12
"""Synthetic files of a forecast."""
OWN = ("merged", "bf16")
"""Recipes whose files are those of a release's own merged model."""
UNRECORDED = "old-a"
"""The release without a baseline: its first replies do not fit the context (docs/proving-ground.md)."""
GROUPS = ((0.0, 0.1), (0.1, 0.5), (0.5, 0.9), (0.9, 1.01))
BEFORE, WITH = "before unlearning", "with a baseline"


def random_part(pack: Pack, forget: int, untrained: int) -> frozenset[str]:
    """Draw a part of a pack; probes of other kinds stay."""
    chance = random.Random(f"part 0 of {forget} and {untrained}")
    pools: dict[str, list[str]] = {"forget": [], "untrained": []}
    kept = set()
    for probe in pack.probes:
        if probe.role == Role.HOLDOUT or probe.trained:
            kept.add(probe.id)
        else:
            pools["forget" if probe.role == Role.FORGET else "untrained"].append(probe.id)
    kept.update(chance.sample(pools["forget"], forget), chance.sample(pools["untrained"], untrained))
    return frozenset(kept)


class Forecasts:
    """Forecasts and verdicts of one work folder; `truths` are those of its results, by artifact."""

    def __init__(self, work: Path) -> None:
        self.prover = prove.Prover(releases.Ground(work, w.Sizes()))
        lines = [json.loads(line) for line in (work / "results.jsonl").read_text().splitlines()]
        self.truths = {line["artifact"]: line.get("truth") for line in lines}
        self._baselines: dict[tuple[str, str, int], Baseline] = {}
        self.plants = [plant for plant in p.plants() if plant.pack == "plain" and plant.stratum != p.UNASKED]

    def all(self, done: set[str]) -> Iterator[dict[str, Any]]:
        """Yield a line for each forecast that is not done, in an order in which all kinds and sizes come early."""
        for (forget, untrained), formats, kind in itertools.product(SIZES, FORMATS, (BEFORE, WITH)):
            for name, number in itertools.product(formats, range(packs.PACKS)):
                key = f"{kind}, {name}, pack {number}, {forget}+{untrained}"
                kept = random_part(self.prover.pack(number, "plain"), forget, untrained)
                for release, files in self._files(kind, name, number).items():
                    if f"{key}, {release}" not in done:
                        baseline = self._baseline(files[0].release, name, number, kept)
                        yield self._line(
                            f"{key}, {release}", baseline, kind=kind, number=number, files=files, kept=kept
                        )

    def _files(self, kind: str, name: str, number: int) -> dict[str, list[p.Plant]]:
        """Return the files that a forecast is held against: those of each release, or all good ones."""
        own = [plant for plant in self.plants if packs.number_of(plant.name) == number and name in plant.formats]
        if kind == BEFORE:
            good = [plant for plant in own if self.truths.get(f"{plant.name}/{name}") == "good"]
            return {"good files": good} if good else {}
        found: dict[str, list[p.Plant]] = {}
        for plant in own:
            if plant.recipe[0] in OWN and plant.release != UNRECORDED:
                found.setdefault(plant.release, []).append(plant)
        return found

    def _baseline(self, release: str, name: str, number: int, kept: frozenset[str]) -> Baseline:
        key = release, name, number
        if key not in self._baselines:
            self._baselines[key] = self.prover.baseline(release, name, number, "plain")
        return restrict.baseline(self._baselines[key], kept)

    def _line(
        self,
        key: str,
        baseline: Baseline,
        *,
        kind: str,
        number: int,
        files: list[p.Plant],
        kept: frozenset[str],
    ) -> dict[str, Any]:
        (name,) = baseline.base_in_format
        guesses = guessing_logprobs(self.prover.pack(number, "plain"), baseline)
        assumed = Assumed.under(prove.POLICY, usual(guesses)) if kind == BEFORE else None
        forecast = Rehearsal(baseline, name, prove.POLICY, assumed, draws=DRAWS).present
        verdicts = {plant.name: self._verdict(plant, name, number, kept) for plant in files}
        return {
            "key": key,
            "kind": kind,
            "format": name,
            "forget": forecast.known,
            "untrained": forecast.untrained,
            "forecast": [forecast.passes, forecast.fails, forecast.draws],
            "open": dict(forecast.open),
            "verdicts": {plant: verdict for plant, verdict in verdicts.items() if verdict},
        }

    def _verdict(self, plant: p.Plant, name: str, number: int, kept: frozenset[str]) -> str:
        """Judge a file on a part of its pack, by the baseline of its release; empty where the gate refused it."""
        found = self.prover.measured / f"{plant.name}+{name}.pickle"
        measured = pickle.loads(found.read_bytes())[0]  # noqa: S301 (written by prove.py)
        if isinstance(measured, str):
            return ""
        baseline = self._baseline(plant.release, name, number, kept)
        judgement = gating.judged(restrict.measured(measured, kept), baseline, prove.POLICY, name)
        return str(judgement.verdict)


def table(lines: list[dict[str, Any]]) -> str:
    """Write the calibration of both kinds of forecasts as Markdown: by forecast share, by size, and by format."""
    rows = [
        "| forecast | packs and formats | its share of PASS | verdicts | PASS | FAIL | INCONCLUSIVE | Brier score |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for kind in (BEFORE, WITH):
        own = [line for line in lines if line["kind"] == kind]
        for low, high in GROUPS:
            rows.append(_row(f"{kind}, {low:.0%} to {min(high, 1):.0%}", [x for x in own if low <= _share(x) < high]))
        for forget, untrained in sorted(SIZES):
            sized = [line for line in own if line["untrained"] == untrained]
            rows.append(_row(f"{kind}, {forget} + {untrained} clusters", sized))
        rows += [
            _row(f"{kind}, {name}", [line for line in own if line["format"] == name])
            for name in itertools.chain(*FORMATS)
        ]
        rows.append(_row(f"**{kind}, all**", own))
    models = {plant for line in lines for plant in line["verdicts"]}
    files = {(plant, line["format"]) for line in lines for plant in line["verdicts"]}
    return "\n".join([*filter(None, rows), "", f"{len(files)} files of {len(models)} models."])


def _row(what: str, lines: list[dict[str, Any]]) -> str:
    """Write a row; empty without lines. The Brier score is that of the files' PASS, that of their mean in brackets."""
    outcomes = [(verdict == "PASS", _share(line)) for line in lines for verdict in line["verdicts"].values()]
    if not outcomes:
        return ""
    counts = _counts(lines)
    brier = _mean([(passed - share) ** 2 for passed, share in outcomes])
    mean = _mean([float(passed) for passed, _ in outcomes])
    forecast = _mean([share for _, share in outcomes])
    return (
        f"| {what} | {len(lines)} | {forecast:.0%} | {len(outcomes)} | {counts['PASS']} ({mean:.0%}) | "
        f"{counts['FAIL']} | {counts['INCONCLUSIVE']} | {brier:.3f} ({mean * (1 - mean):.3f}) |"
    )


def _counts(lines: list[dict[str, Any]]) -> dict[str, int]:
    verdicts = [verdict for line in lines for verdict in line["verdicts"].values()]
    return {name: verdicts.count(name) for name in ("PASS", "FAIL", "INCONCLUSIVE")}


def _share(line: dict[str, Any]) -> float:
    return float(line["forecast"][0] / line["forecast"][2])


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def main() -> None:
    """Make what is missing, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="the folder of prove.py")
    parser.add_argument("--out", type=Path, required=True, help="a JSON file")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no further forecast after so many")
    parser.add_argument("--table", action="store_true", help="print the table of what is there")
    given = parser.parse_args()
    lines: list[dict[str, Any]] = json.loads(given.out.read_text()) if given.out.exists() else []
    if given.table:
        print(table(lines))
        return
    if given.work is None:
        parser.error("--work DIR, or --table")
    warnings.simplefilter("ignore")
    began = time.monotonic()
    for line in Forecasts(given.work).all({line["key"] for line in lines}):
        lines.append(line)
        given.out.write_text("[\n" + ",\n".join(json.dumps(one) for one in lines) + "\n]\n")
        print(line["key"], line["forecast"], line["open"], line["verdicts"], flush=True)
        if time.monotonic() - began > 60 * given.minutes:
            break


if __name__ == "__main__":
    main()
