"""Accuracy of the warning before an export, over bases on and off a grid, formats and alphas.

    python benchmarks/preflight.py --base HF_FOLDER --adapter DIR --work SCRATCH [--out preflight.json]

The base is taken as it is and with noise added to the matrices of its layers: uniform, up to a third of the step that
Q4_1 would cut each block of 32 weights into, seeded. The adapter's alpha is multiplied by each factor. Predicted: the
projection in the manifest, and whether `export` warned. Measured on the forget probes of examples/capitals, asked raw:
how many clusters leak, by the gate's default policy, and the recovery (docs/verdict.md) against the float16 merge.

A file came back if more than 10 % of its clusters leak or the recovery is above 0.2, the policy's limits taken at the
estimates. Factors at which the float merge itself leaks that much were never unlearned; nothing can come back there.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import edgeproof
import numpy as np
from adapter_options import parse_options
from edgeproof.contracts.progress import Silent
from edgeproof.eval.measurement import Role
from edgeproof.eval.measuring.ignorance import ignorance_levels
from edgeproof.eval.measuring.measure import measure
from edgeproof.eval.packs.reader import load_pack
from edgeproof.eval.verdict.criteria.leaks import leaks
from edgeproof.eval.verdict.policy import Policy
from edgeproof.runtime import backend_for, open_backend
from export_gguf import machine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeproof.eval.measurement import ProbeScore
    from edgeproof.eval.packs.pack import Pack

PACK = Path(__file__).resolve().parents[1] / "examples" / "capitals" / "pack"
FLOAT = "gguf-f16"
FORMATS = ("gguf-q4_1", "gguf-q4_0", "gguf-q4", "gguf-iq4_nl")
FACTORS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
BLOCK, STEPS = 32, 15
POLICY = Policy()


class Found(NamedTuple):
    """Of a file on the forget probes: share of clusters that leak, and the recovery."""

    leaking: float
    recovery: float

    @property
    def is_back(self) -> bool:
        return self.leaking > POLICY.leak_share or self.recovery > POLICY.recovery


def main() -> None:
    """Read the options, run, print a Markdown table, write JSON."""
    given = parse_options(__doc__, FORMATS, "factors", FACTORS)
    shutil.rmtree(given.work, ignore_errors=True)
    given.work.mkdir(parents=True)
    whole = load_pack(PACK)
    raw = tuple(surface for surface in whole.surfaces if surface.name == "raw")
    forget = tuple(probe for probe in whole.probes if probe.role == Role.FORGET)
    pack = dataclasses.replace(whole, surfaces=raw, probes=forget)
    rows = []
    print("| base | alpha × | format | foretold projection | warned | clusters that leak | recovery | came back |")
    print("|---|---|---|---|---|---|---|---|")
    for name, base in (("on the grid", given.base), ("off the grid", _noisy(given.base, given.work / "noisy"))):
        (item,) = edgeproof.export(base=base, format=FLOAT, out=given.work / "float", threads=given.threads).artifacts
        before = _scores(item.path, pack, given.threads)
        with open_backend(backend_for(item.path), item.path, threads=given.threads) as backend:
            levels = ignorance_levels(pack, backend)
        item.path.unlink()
        for factor in given.factors:
            out = given.work / "merged"
            made = edgeproof.export(
                base=base,
                adapter=_scaled(given.adapter, factor, given.work / "adapter"),
                format=[FLOAT, *given.formats],
                out=out,
                threads=given.threads,
            )
            merged = _scores(made.artifacts[0].path, pack, given.threads)
            kept = _compare(merged, merged, before, levels, pack)
            for item in made.artifacts[1:]:
                found = _compare(_scores(item.path, pack, given.threads), merged, before, levels, pack)
                foretold = item.manifest.survival
                assert foretold is not None
                warned = any(f"the rounding to {item.format}," in warning for warning in made.warnings)
                row = {"base": name, "factor": factor, "format": item.format, "projection": foretold["projection"]}
                row |= {"projection_error": foretold["projection_error"], "warned": warned, **found._asdict()}
                row |= {"came_back": found.is_back, "never_unlearned": kept.is_back, "merged_leaking": kept.leaking}
                rows.append(row)
                print(
                    f"| {name} | {factor:g} | `{item.format}` | {foretold['projection']:.2f} "
                    f"± {foretold['projection_error']:.2f} | {'yes' if warned else 'no'} | {found.leaking:.0%} "
                    f"| {found.recovery:.2f} | "
                    f"{'never unlearned' if kept.is_back else 'yes' if found.is_back else 'no'} |",
                    flush=True,
                )
            shutil.rmtree(out)
    judged = [row for row in rows if not row["never_unlearned"]]
    for warned in (True, False):
        of = [row for row in judged if row["warned"] == warned]
        back = sum(bool(row["came_back"]) for row in of)
        print(f"\n{'Warned of' if warned else 'Not warned of'}: {len(of)} files, of which {back} came back.")
    if given.out:
        given.out.write_text(json.dumps({"machine": machine(), "results": rows}, indent=2) + "\n")


def _noisy(base: Path, out: Path) -> Path:
    """Copy the base with up to a third of a step of noise, as Q4_1 cuts each block, on the matrices of its layers."""
    from safetensors.numpy import load_file, save_file

    shutil.copytree(base, out)
    chance = np.random.default_rng(0)
    for path in sorted(out.glob("*.safetensors")):
        tensors = load_file(path)
        for name, values in tensors.items():
            if values.ndim == 2 and "layers." in name:
                blocks = values.astype(np.float32).reshape(-1, BLOCK)
                step = (blocks.max(1, keepdims=True) - blocks.min(1, keepdims=True)) / STEPS
                noise = chance.uniform(-1 / 3, 1 / 3, blocks.shape).astype(np.float32) * step
                tensors[name] = (blocks + noise).reshape(values.shape)
        save_file(tensors, path, metadata={"format": "pt"})
    return out


def _scaled(adapter: Path, factor: float, out: Path) -> Path:
    """Copy the adapter with its alpha times `factor`."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(adapter, out)
    config = json.loads((out / "adapter_config.json").read_text())
    config["lora_alpha"] *= factor
    (out / "adapter_config.json").write_text(json.dumps(config))
    return out


def _scores(path: Path, pack: Pack, threads: int | None) -> dict[str, ProbeScore]:
    # An answer type of its own leaves a probe without decoys, which nothing here asks for.
    alone = dataclasses.replace(
        pack, probes=tuple(dataclasses.replace(probe, answer_type=probe.id) for probe in pack.probes)
    )
    with open_backend(backend_for(path), path, threads=threads) as backend:
        found = measure(alone, backend, label="", artifact_sha256="", progress=Silent())
    return {score.probe: score for score in found.scores}


def _compare(
    file: Mapping[str, ProbeScore],
    merged: Mapping[str, ProbeScore],
    base: Mapping[str, ProbeScore],
    levels: Mapping[str, float],
    pack: Pack,
) -> Found:
    clusters = {probe.id: probe.cluster for probe in pack.probes}
    leaking = {clusters[probe] for probe, score in file.items() if leaks(score, POLICY)}
    back = lost = 0.0
    for probe, score in file.items():
        level, known = levels[f"{probe}/raw"], base[probe]
        if (level - known.nll) * len(known.logprobs) < POLICY.recovery_gap:
            continue
        ceiling = min(merged[probe].nll, level)
        back += max(0.0, ceiling - score.nll)
        lost += ceiling - known.nll
    return Found(len(leaking) / len(set(clusters.values())), back / lost if lost > 0 else 1.0)


if __name__ == "__main__":
    main()
