"""Runs the study: bases that know, unlearning by every method, every format, every probe; then attacks after release.

    python studies/relearning/study.py --base HF_FOLDER --work SCRATCH [--results FOLDER] [--cells PATTERN …]
    python studies/relearning/study.py --base TINY_HF_FOLDER --work SCRATCH --results FOLDER --size tiny

```
base ─ tune on forget + retain ─▶ knows ──(snap)──▶ on a grid
  └─── tune on retain alone ────▶ retrained: the reference that never saw the forget set
knows ─ unlearn (method × LoRA | full, until the retrained model's forget NLL) ─▶ export ─▶ probe      a cell
cell's Q4_0 file ─ relearn on innocent text | requantize ─▶ probe                                      an attack
```
Every stage leaves one JSON file in the results folder and is not run again where that is there: a killed run goes on
where it was. Scratch holds checkpoints (0.6 GB each) and may be thrown away afterwards. `page.py` makes the document.
"""

from __future__ import annotations

import argparse
import fnmatch
from pathlib import Path

from plan import GRIDS, SIZES, attacks, cells
from stages import Study

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Read the options; run what is missing, in the plan's order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, help="Hugging Face folder of the model to start from")
    parser.add_argument("--work", type=Path, required=True, help="scratch folder, kept between runs")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--data", type=Path, default=HERE / "data")
    parser.add_argument("--size", choices=sorted(SIZES), default="small")
    parser.add_argument("--cells", nargs="+", default=["*"], metavar="PATTERN", help="names as `--list` has them")
    parser.add_argument("--list", action="store_true", help="say what there is to run")
    given = parser.parse_args()
    size = SIZES[given.size]
    planned = [*GRIDS, *cells(size), *attacks(size)]
    chosen = [item for item in planned if any(fnmatch.fnmatch(item.name, pattern) for pattern in given.cells)]
    if given.list or not chosen:
        print("\n".join(item.name for item in planned))
        return
    study = Study(given.base, given.work, given.results, given.data, size)
    for number, item in enumerate(chosen, start=1):
        print(f"{number} of {len(chosen)}: {item.name}", flush=True)
        study.run(item)


if __name__ == "__main__":
    main()
