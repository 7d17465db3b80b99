"""Makes what docs/demo.md shows of six formats side by side: SmolLM2 as the quickstart unlearns it, on a short pack.

    python benchmarks/demo_formats.py --base quickstart-out/base/SmolLM2-135M-Instruct.gguf --work DIR

The pack is examples/capitals with 12 countries, four of its ways of asking and fewer kept facts, the policy draws no
samples: enough for a FAIL, too little for a PASS, and a tenth of the time. The last line is the command that shows it.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

import edgeproof

EXAMPLE = Path(__file__).parents[1] / "examples" / "capitals"
FORMATS = ("gguf-f16", "gguf-q8_0", "gguf-q4", "gguf-q4_0", "gguf-q4_1", "onnx-int4")
LEFT_OUT = ("reworded", "cities", "prefix", "opening", "turns")
LIMITS = {"forget": 12, "retain_trained": 12, "retain_untrained": 24, "holdout": 4}


def short_pack(target: Path) -> Path:
    """Copy the example's pack without `LEFT_OUT`, each set limited to `LIMITS`."""
    shutil.copytree(EXAMPLE / "pack", target, dirs_exist_ok=True)
    text = (target / "pack.toml").read_text()
    for name in LEFT_OUT:
        text = re.sub(rf'\[\[surface\]\]\nname = "{name}"\n(?:[^\n]+\n)+\n', "", text)
    text = re.sub(r"^limit = .*\n", "", text, flags=re.MULTILINE)
    for name, limit in LIMITS.items():
        text = text.replace(f'file = "{name}.jsonl"', f'file = "{name}.jsonl"\nlimit = {limit}')
    (target / "pack.toml").write_text(text.replace('name = "capitals"', 'name = "capitals-12"'))
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    given = parser.parse_args()
    work, adapter = given.work, EXAMPLE / "adapter"
    pack, baseline, policy = short_pack(work / "pack"), work / "baseline.json", work / "policy.toml"
    policy.write_text("[samples]\ncount = 0\n")
    made = edgeproof.export(base=given.base, adapter=adapter, format=FORMATS, out=work / "artifacts", force=True)
    edgeproof.record_baseline(
        base=given.base, adapter=adapter, format=FORMATS, probes=pack, policy=policy, out=baseline, force=True
    )
    paths = [one.path for one in made.artifacts]
    for path in paths:
        report = work / "report" / (path.name if path.is_dir() else path.stem)
        found = edgeproof.gate(path, probes=pack, baseline=baseline, policy=policy, report=report, force=True)
        print(f"{found.format:<10} {found.verdict}: {found.summary}")
    names = " ".join(map(str, paths))
    print(
        f"export-edge demo {names} --probes {pack} --baseline {baseline} --policy {policy} --report {work / 'report'}"
    )


if __name__ == "__main__":
    main()
