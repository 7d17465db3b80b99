"""The proving ground: plants artifacts that are known to be good or bad, gates each, and writes down what came out.

    python benchmarks/verdict/prove.py --work DIR [--minutes N]

Goes on where it stopped: DIR/results.jsonl gets a line an artifact, DIR/measured/ what was measured of it. The rule by
which an artifact is good or bad stands in README.md beside this file. `table.py` makes tables and plot of the lines.
"""

from __future__ import annotations

import argparse
import json
import pickle
import shutil
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ground as g
import numpy as np
import plant as p
import recipes
import releases
import world as w
from edgeproof.contracts.errors import EdgeproofError
from edgeproof.contracts.progress import Silent
from edgeproof.eval.ignorance import ignorance_levels
from edgeproof.eval.judge import judge
from edgeproof.eval.pack import load_pack
from edgeproof.eval.policy import Policy
from edgeproof.eval.precise import judge_both
from edgeproof.eval.records import Role
from edgeproof.export.pipeline import export
from edgeproof.runtime import backend_for, open_backend
from truth import truth_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgeproof.eval.judgement import Judgement
    from edgeproof.eval.probes import Pack
    from edgeproof.eval.records import Measurement, ProbeScore
    from edgeproof.export.pipeline import Exported
    from truth import Truth

SIZES = (30, g.DEFAULT_SIZE, 100)
FLOATS = {"gguf": "gguf-f16", "onnx": "onnx-fp32"}
POLICY = Policy()


class Prover:
    """Makes what is needed, once, and keeps it in the work folder."""

    def __init__(self, ground: releases.Ground, sizes: Sequence[int] = SIZES, untrained: int = g.UNTRAINED) -> None:
        self.ground, self.sizes, self.untrained = ground, sizes, untrained
        self.default = g.DEFAULT_SIZE if g.DEFAULT_SIZE in sizes else sizes[0]
        self.measured = ground.work / "measured"
        self.measured.mkdir(exist_ok=True)
        self._references: dict[tuple[str, str], tuple[g.Reference, g.Sampled]] = {}
        folder = ground.work / "population"
        if not folder.exists():
            w.write_pack(folder, "population", ground.facts.forget, ground.facts.untrained, ground.facts)
        self.pack: Pack = load_pack(folder)

    def _kept(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` gives, from the work folder if it is there."""
        path = self.measured / f"{name}.pickle"
        if not path.exists():
            found = make()
            part = path.with_suffix(".part")
            part.write_bytes(pickle.dumps(found))
            part.rename(path)
            return found
        return pickle.loads(path.read_bytes())  # noqa: S301 (written by this program)

    def _exported(self, base: Path, adapters: Sequence[Path], formats: Sequence[str]) -> tuple[Exported, ...]:
        out = self.ground.work / "out"
        shutil.rmtree(out, ignore_errors=True)
        return export(base, adapters, formats, out, threads=1, progress=Silent())

    def _measure(self, item: Exported, label: str) -> Measurement:
        return g.measure_file(item.path, self.pack, item.manifest.artifact.sha256, label=label).measurement

    def _base(self, base: str, kind: str) -> Measurement:
        """A base at float precision."""

        def make() -> Measurement:
            (item,) = self._exported(self.ground.base(base), [], [FLOATS[kind]])
            return self._measure(item, "base")

        return self._kept(f"{base}-{kind}", make)

    def _others(self) -> dict[str, float]:
        """What the base says of each answer behind other prompts: once for all, as it is dear.

        The bases on a grid differ from it by a rounding, and the other engine's float model by less.
        """

        def make() -> dict[str, float]:
            (item,) = self._exported(self.ground.base("base"), [], [FLOATS["gguf"]])
            with open_backend(backend_for(item.path), item.path, threads=1) as engine:
                levels = ignorance_levels(self.pack, engine)
            return g.other_prompts(levels, self._base("base", "gguf"), len(self.ground.facts.forget))

        return self._kept("others", make)

    def _in_format(self, base: str, format_name: str) -> Measurement:
        def make() -> Measurement:
            (item,) = self._exported(self.ground.base(base), [], [format_name])
            return self._measure(item, f"base:{format_name}")

        return self._kept(f"{base}-in-{format_name}", make)

    def reference(self, release: str, format_name: str) -> tuple[g.Reference, g.Sampled]:
        """The release's baseline on the population, in a format, and its merged model's sampled answers."""
        kind, base = format_name.partition("-")[0], self.ground.releases[release].base
        if (release, format_name) not in self._references:

            def make() -> tuple[Measurement, g.Sampled]:
                (item,) = self._exported(self.ground.base(base), [self.ground.adapter(release)], [FLOATS[kind]])
                return self._measure(item, "merged"), g.sample_answers(item.path, self.pack)

            merged, sampled = self._kept(f"{release}-merged-{kind}", make)
            in_format = {format_name: self._in_format(base, format_name)}
            reference = g.Reference(self.pack, self._base(base, kind), merged, in_format, self._others())
            self._references[release, format_name] = reference, sampled
        return self._references[release, format_name]

    def prove(self, plant: p.Plant, done: set[str]) -> Iterator[dict[str, Any]]:
        """Make a plant, ship it in each format that is not done yet, gate it; yield a result for each."""
        todo = [name for name in plant.formats if f"{plant.name}/{name}" not in done]
        missing = [name for name in todo if not (self.measured / f"{plant.name}+{name}.pickle").exists()]
        references = {name: self.reference(plant.release, name) for name in todo}
        shipped: dict[str, Exported] = {}
        refused = ""
        if missing:
            base, adapters = recipes.build(self.ground, plant)
            try:
                shipped = {item.format: item for item in self._exported(base, adapters, missing)}
            except EdgeproofError as error:
                # Results are published: no path of the machine that made them.
                refused = f"{type(error).__name__}: {error}".replace(str(self.ground.work), "WORK")
        for name in todo:
            result = {"artifact": f"{plant.name}/{name}", "stratum": plant.stratum, "release": plant.release,
                      "format": name}  # fmt: skip
            if refused:
                yield {**result, "refused": "export", "why": refused}
                continue
            reference, sampled = references[name]
            began = time.perf_counter()

            def make(name: str = name, sampled: g.Sampled = sampled) -> g.Measured:
                item = shipped[name]
                sha256 = item.manifest.artifact.sha256
                drawn = g.draw(self.pack, max(self.sizes), f"{plant.name}/{name}", untrained=self.untrained)
                return g.measure_file(item.path, self.pack, sha256, label="artifact", seen=drawn.seen, sampled=sampled)

            measured: g.Measured = self._kept(f"{plant.name}+{name}", make)
            seconds = round(time.perf_counter() - began, 1)
            yield {**result, **self.verdicts(result["artifact"], name, measured, reference), "seconds": seconds}

    def verdicts(self, artifact: str, name: str, measured: g.Measured, reference: g.Reference) -> dict[str, Any]:
        """Draw a pack of each size, judge, and hold the truth of the rest beside it."""
        found: dict[str, Any] = {"gates": {}}
        for size in self.sizes:
            drawn = g.draw(self.pack, size, artifact, untrained=self.untrained)
            truth = truth_of(measured.measurement, reference, name, drawn.rest, POLICY)
            try:
                judgement = judged(measured, reference, drawn.seen, name, size)
            except EdgeproofError as error:
                found["gates"][str(size)] = {
                    "verdict": "refused", "reason": f"{type(error).__name__}: {error}", **truth_row(truth)
                }  # fmt: skip
                continue
            row = {"verdict": str(judgement.verdict), "reason": str(judgement.reason),
                   "also": [str(reason) for reason in judgement.also],
                   "open": [c.name for c in judgement.criteria if c.needed and str(c.status) == "undecided"],
                   "missed": [c.name for c in judgement.criteria if str(c.status) == "missed"],
                   "leak": [judgement.criterion("leak").estimate, judgement.criterion("leak").upper]}  # fmt: skip
            found["gates"][str(size)] = {**row, **truth_row(truth)}
            if size == self.default:
                found["gates"][str(size)]["metrics"] = metrics(measured, reference, drawn.seen)
        return found


def judged(measured: g.Measured, reference: g.Reference, seen: frozenset[str], name: str, size: int) -> Judgement:
    """Judge a pack of the probes `seen`, as `cli.gate` does."""
    baseline = g.baseline_of(reference, seen, name, size)
    own = g.restrict(measured.measurement, seen, baseline.pack_digest)
    if measured.precise is not None:
        precise = g.restrict(measured.precise, seen, baseline.pack_digest)
        return judge_both(own, precise, baseline, POLICY, format=name)
    return judge(own, baseline, POLICY, format=name)


def truth_row(truth: Truth) -> dict[str, Any]:
    limits = truth.broken(POLICY)
    verdict = "bad" if "broken" in limits.values() else "borderline" if "near" in limits.values() else "good"
    return {"truth": verdict, "limits": limits,
            "true": {key: [round(value, 4) for value in getattr(truth, key)] for key in limits}}  # fmt: skip


def metrics(measured: g.Measured, reference: g.Reference, seen: frozenset[str]) -> dict[str, float]:
    """What simpler gates would look at, on the same probes."""
    roles = {probe.id: probe for probe in reference.pack.probes}
    scores = [score for score in measured.measurement.scores if score.probe in seen]
    merged = {(s.probe, s.surface): s for s in reference.merged.scores}

    def mean(values: list[float]) -> float:
        return round(float(np.mean(values)), 5)

    def forget(only: str = "") -> list[ProbeScore]:
        return [s for s in scores if roles[s.probe].role == Role.FORGET and only in {"", s.surface}]

    kept = [s for s in scores if roles[s.probe].role == Role.RETAIN and not roles[s.probe].trained]
    divergence = {
        role: [v for key, v in measured.divergence.items() if key in seen and roles[key].role == role]
        for role in (Role.FORGET, Role.RETAIN)
    }
    everything = [*divergence[Role.FORGET], *divergence[Role.RETAIN]]
    return {
        "rouge, raw": mean([s.rouge_l for s in forget("raw")]),
        "rouge, all surfaces": mean([s.rouge_l for s in forget()]),
        "kl, forget": mean(divergence[Role.FORGET]),
        "kl, kept": mean(divergence[Role.RETAIN]),
        "kl, both": mean(everything),
        "nll, forget": mean([s.nll for s in forget()]),
        "nll against merged, forget": mean([s.nll - merged[s.probe, s.surface].nll for s in forget()]),
        "exact memorization": mean([s.exact_memorization for s in forget()]),
        "extraction strength": mean([s.extraction_strength for s in forget()]),
        "rouge, kept": mean([s.rouge_l for s in kept]),
        "nll, kept": mean([s.nll for s in kept]),
    }


def main() -> None:
    """Prove what is not proved yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no further plant after so many")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    began = time.monotonic()
    prover = Prover(releases.Ground(given.work, w.Sizes()))
    results = given.work / "results.jsonl"
    done = set()
    if results.exists():
        done = {json.loads(line)["artifact"] for line in results.read_text().splitlines()}
    for release in releases.RELEASES:
        prover.ground.adapter(release)
    listed = p.plants()
    for number, plant in enumerate(listed, start=1):
        if time.monotonic() - began > 60 * given.minutes:
            break
        if all(f"{plant.name}/{name}" in done for name in plant.formats):
            continue
        for result in prover.prove(plant, done):
            with results.open("a") as file:
                file.write(json.dumps(result) + "\n")
            gate = result.get("gates", {}).get(str(g.DEFAULT_SIZE), {})
            came = f"{gate.get('truth', '')} {gate.get('verdict', 'refused')} {result.get('seconds', '')}"
            print(f"{number}/{len(listed)} {result['artifact']}: {came}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
