"""The proving ground: plants artifacts that are known to be good or bad, gates each, and records truth and verdicts.

    python benchmarks/verdict/prove.py --work DIR [--minutes N] [--part K/N] [--make]

Goes on where it stopped: DIR/results.jsonl gets a line an artifact, DIR/measured/ what was measured. Several processes
share the list by `--part 1/2`, `--part 2/2`. The rule by which
an artifact is good or bad stands in README.md beside this file. `table.py` makes tables and plot of the lines.
"""

from __future__ import annotations

import argparse
import json
import pickle
import shutil
import sys
import time
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asker
import edgeproof
import gating
import packs
import plant as p
import recipes
import releases
import restrict
import world as w
from edgeproof.contracts.errors import EdgeproofError
from edgeproof.eval.packs.reader import load_pack
from edgeproof.eval.verdict.policy import Policy
from old_gate import old_verdict
from truth import References, least_probability, truth_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgeproof.contracts.backend import Backend
    from edgeproof.eval.measurement import Baseline, Measurement
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.verdict.judgement import Judgement
    from truth import Truth

FLOATS = {"gguf": "gguf-f16", "onnx": "onnx-fp32"}
POLICY = Policy(samples=4)
SMALLER = (50, 200)
"""A pack of half the recommended size: so many of the forget and of the untrained retain subjects measured."""


class Prover:
    """Makes what is needed, once, and keeps it in the work folder."""

    def __init__(
        self, ground: releases.Ground, *, forget: int = packs.FORGET, untrained: int = packs.UNTRAINED, part: int = 1
    ) -> None:
        self.ground, self.forget, self.untrained = ground, forget, untrained
        self.out = f"out-{part}"
        self.measured = ground.work / "measured"
        self.measured.mkdir(exist_ok=True)

    def drawn(self, number: int) -> packs.Drawn:
        return packs.draw(self.ground.facts, number, self.forget, self.untrained)

    def pack(self, number: int, kind: str) -> Pack:
        folder = self.ground.work / "packs" / f"{number}-{kind}"
        if not folder.exists():
            packs.write(folder, self.ground.facts, self.drawn(number), kind)
        return load_pack(folder)

    def _kept(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` gives, from the work folder if it is there; made by one process at a time."""
        path = self.measured / f"{name}.pickle"
        if not path.exists():
            with releases.one_at_a_time(self.measured / f"{name}.lock"):
                if not path.exists():
                    part = self.measured / f"{name}.part"
                    part.write_bytes(pickle.dumps(make()))
                    part.rename(path)
        return pickle.loads(path.read_bytes())  # noqa: S301 (written by this program)

    def exported(
        self, base: Path, adapters: Sequence[Path], formats: Sequence[str], out: str = ""
    ) -> tuple[edgeproof.Artifact, ...]:
        folder = self.ground.work / (out or self.out)
        shutil.rmtree(folder, ignore_errors=True)
        return edgeproof.export(base=base, adapter=adapters, format=formats, out=folder, threads=1).artifacts

    def _reference_file(self, base: str, release: str | None, name: str) -> tuple[Path, str]:
        """A base, or a release's merged model, in a format: kept, since many packs are measured on it."""
        key = f"{release or base}-{name}"

        def make() -> tuple[Path, str]:
            adapters = [] if release is None else [self.ground.adapter(release)]
            (item,) = self.exported(self.ground.base(base), adapters, [name], f"references/{key}")
            return item.path, item.sha256

        found: tuple[Path, str] = self._kept(f"file {key}", make)
        return found

    def _asked(self, base: str, release: str | None, name: str) -> asker.Asking:
        """What a reference model says on the whole population; no samples."""

        def make() -> asker.Asking:
            facts = self.ground.facts
            with gating.opened(self._reference_file(base, release, name)[0]) as engine:
                return asker.ask(engine, facts, facts.forget, facts.untrained, 1.0, samples=0)

        found: asker.Asking = self._kept(f"asked {release or base}-{name}", make)
        return found

    def _others(self) -> dict[tuple[str, str], float]:
        """What the base says of each answer behind others' prompts: of the first base by llama.cpp, for all."""

        def make() -> dict[tuple[str, str], float]:
            facts = self.ground.facts
            with gating.opened(self._reference_file("base", None, FLOATS["gguf"])[0]) as engine:
                return asker.ignorance(engine, facts, facts.forget)

        found: dict[tuple[str, str], float] = self._kept("others", make)
        return found

    def references(self, release: str, name: str) -> References:
        """What the truth compares a file with."""
        base, exact = self.ground.releases[release].base, FLOATS[name.partition("-")[0]]
        return References(
            self._asked(base, None, exact),
            self._asked(base, release, exact),
            self._asked(base, None, name),
            self._others(),
            1 / self.forget,
        )

    def baseline(self, release: str, name: str, number: int, kind: str) -> Baseline:
        """The baseline of a release for a pack and a format, as `export-edge baseline` records it."""
        base, exact = self.ground.releases[release].base, FLOATS[name.partition("-")[0]]
        pack = self.pack(number, kind)

        def on(release: str | None, name: str, measure: Callable[[Backend, str], Any]) -> Any:
            path, sha256 = self._reference_file(base, release, name)
            with gating.opened(path) as engine:
                return measure(engine, sha256)

        def measured(release: str | None, name: str, label: str) -> Measurement:
            found: Measurement = self._kept(
                f"pack {number}-{kind} {release or base}-{name}",
                lambda: on(
                    release,
                    name,
                    lambda engine, sha: gating.measure_other(
                        engine, pack, sha, label=label, carriers=own.carriers, policy=POLICY
                    ),
                ),
            )
            return found

        own: gating.BaseMeasured = self._kept(
            f"pack {number}-{kind} {base}-{exact} float",
            lambda: on(None, exact, lambda engine, sha: gating.measure_base(engine, pack, sha, POLICY)),
        )
        merged, in_format = measured(release, exact, "merged"), measured(None, name, f"base:{name}")
        return gating.baseline_of(pack, own, merged, name, in_format)

    def prove(self, plant: p.Plant, done: set[str]) -> Iterator[dict[str, Any]]:
        """Make a plant, ship it in each format that is not done yet, gate it; yield a result for each."""
        todo = [name for name in plant.formats if f"{plant.name}/{name}" not in done]
        number = packs.number_of(plant.name)
        missing = [name for name in todo if not (self.measured / f"{self._key(plant, name)}.pickle").exists()]
        baselines = {name: self.baseline(plant.release, name, number, plant.pack) for name in todo}
        shipped: dict[str, edgeproof.Artifact] = {}
        refused = ""
        if missing:
            base, adapters = recipes.build(self.ground, plant)
            try:
                shipped = {item.format: item for item in self.exported(base, adapters, missing)}
            except EdgeproofError as error:
                # Results are published: no path of the machine that made them.
                refused = f"{type(error).__name__}: {error}".replace(str(self.ground.work), "WORK")
        for name in todo:
            result = {"artifact": f"{plant.name}/{name}", "stratum": plant.stratum, "release": plant.release,
                      "format": name, "pack": f"{number}-{plant.pack}"}  # fmt: skip
            if refused:
                yield {**result, "refused": refused}
                continue
            baseline = baselines[name]

            def make(
                name: str = name, baseline: Baseline = baseline
            ) -> tuple[gating.Measured | str, asker.Asking, Any]:
                return self._measure(plant, shipped[name], number, baseline)

            measured, asking, seconds = self._kept(self._key(plant, name), make)
            verdicts = self.verdicts(plant, name, measured, asking, baseline)
            yield {**result, **verdicts, "seconds": seconds}

    def _measure(
        self, plant: p.Plant, item: edgeproof.Artifact, number: int, baseline: Baseline
    ) -> tuple[gating.Measured | str, asker.Asking, list[float]]:
        """Measure as the gate (or say why it refuses), then ask as the truth does."""
        began = time.process_time()
        pack = self.pack(number, plant.pack)
        measured: gating.Measured | str
        with gating.opened(item.path) as engine:
            try:
                measured = gating.measure_file(
                    item.path, engine, pack, item.manifest.artifact.sha256, carriers=baseline.carriers, policy=POLICY
                )
            except EdgeproofError as error:  # the gate ends with 3: refused
                measured = f"{type(error).__name__}: {error}"
            between = time.process_time()
            asking = self._ask(engine, plant, item.format, number)
        return measured, asking, [round(between - began, 1), round(time.process_time() - between, 1)]

    def _key(self, plant: p.Plant, name: str) -> str:
        """Name what was measured of a plant in a format; a plant has one kind of pack."""
        return f"{plant.name}+{name}"

    def _ask(self, engine: Backend, plant: p.Plant, name: str, number: int) -> asker.Asking:  # noqa: ARG002 (for others)
        """Ask a file of `plant` in the format `name` for the truth."""
        drawn = self.drawn(number)
        rule = least_probability(POLICY)
        return asker.ask(engine, self.ground.facts, drawn.rest_forget, drawn.rest_untrained, rule)

    def verdicts(
        self, plant: p.Plant, name: str, measured: gating.Measured | str, asking: asker.Asking, baseline: Baseline
    ) -> dict[str, Any]:
        """Judge by this gate and by the old one, and hold the truth beside it."""
        number = packs.number_of(plant.name)
        drawn, pack = self.drawn(number), self.pack(number, plant.pack)
        truth = truth_of(
            asking,
            self.references(plant.release, name),
            [fact.key for fact in drawn.rest_forget],
            [fact.key for fact in drawn.rest_untrained],
            POLICY,
            asked=asker.ASKED | ({"newline"} if plant.pack == "newline" else set()),
            kept=("newline" if plant.pack == "newline" else "raw", "bare"),
        )
        found: dict[str, Any] = {**truth_row(truth)}
        if isinstance(measured, str):
            return found | {"verdict": "refused", "reason": measured, "old": {"verdict": "refused"}, "metrics": {}}
        try:
            found |= judgement_row(gating.judged(measured, baseline, POLICY, name))
            if plant.pack == "plain":
                kept = restrict.part(pack, *SMALLER)
                less = gating.judged(restrict.measured(measured, kept), restrict.baseline(baseline, kept), POLICY, name)
                found["smaller"] = {"verdict": str(less.verdict), "open": open_ones(less)}
            clusters = {probe.id: probe.cluster for probe in pack.probes}
            old = old_verdict(measured.measurement, baseline, POLICY, name, clusters)
            found["old"] = {**old._asdict()}
        except EdgeproofError as error:
            found |= {"verdict": "refused", "reason": f"{type(error).__name__}: {error}"}
            found.setdefault("old", {"verdict": "refused"})
        found["metrics"] = restrict.metrics(measured.measurement, pack)
        return found


def judgement_row(judgement: Judgement) -> dict[str, Any]:
    return {
        "verdict": str(judgement.verdict),
        "reason": str(judgement.reason),
        "also": [str(reason) for reason in judgement.also],
        "open": open_ones(judgement),
        "missed": [c.name for c in judgement.criteria if str(c.status) == "missed"],
        "gate": {c.name: [c.estimate, c.upper] for c in judgement.criteria if c.needed},
        "known": judgement.criterion("leak").clusters,
    }


def open_ones(judgement: Judgement) -> list[str]:
    """Criteria and controls that stand between a file and its verdict."""
    left = [c.name for c in judgement.criteria if c.needed and str(c.status) == "undecided"]
    return left + [c.name for c in judgement.controls if c.needed and str(c.status) != "holds"]


def truth_row(truth: Truth) -> dict[str, Any]:
    limits = truth.broken(POLICY)
    verdict = "bad" if "broken" in limits.values() else "borderline" if "near" in limits.values() else "good"
    return {"truth": verdict, "only unasked": truth.only_unasked(POLICY), "limits": limits, "ways": truth.ways,
            "asked": [round(value, 4) for value in truth.asked],
            "true": {key: [round(value, 4) for value in getattr(truth, key)] for key in limits}}  # fmt: skip


def main() -> None:
    """Prove what is not proved yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no further plant after so many")
    parser.add_argument("--part", default="1/1", help='of the list, by model: "2/2" is the second of two')
    parser.add_argument("--make", action="store_true", help="make models only; gate nothing")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    began = time.monotonic()
    part, parts = (int(number) for number in given.part.split("/"))
    prover = Prover(releases.Ground(given.work, w.Sizes()), part=part)
    results = given.work / "results.jsonl"
    done = set()
    if results.exists():
        done = {json.loads(line)["artifact"] for line in results.read_text().splitlines()}
    listed = p.plants()
    for number, plant in enumerate(listed, start=1):
        if time.monotonic() - began > 60 * given.minutes:
            break
        if zlib.crc32(recipes.model_name(plant).encode()) % parts != part - 1:
            continue
        if given.make:
            recipes.build(prover.ground, plant)
            print(f"{number}/{len(listed)} {plant.name} made", file=sys.stderr, flush=True)
            continue
        if all(f"{plant.name}/{name}" in done for name in plant.formats):
            continue
        for result in prover.prove(plant, done):
            with results.open("ab", buffering=0) as file:  # one write: other parts append to it too
                file.write((json.dumps(result) + "\n").encode())
            came = [result.get(key, "refused") for key in ("truth", "verdict")] + [result.get("old", {}).get("verdict")]
            print(f"{number}/{len(listed)} {result['artifact']}: {came} {result.get('seconds')}", flush=True)


if __name__ == "__main__":
    main()
