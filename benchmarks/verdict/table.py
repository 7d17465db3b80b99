"""Tables and plot of the proving ground and of the calibration, written into docs/proving-ground.md.

    python benchmarks/verdict/table.py [--lines DIR/results.jsonl] [--smollm DIR/smollm.jsonl]

Without --lines and --smollm, from results.json, smollm.json and calibration.json beside this file; with them, the
first two are made anew.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from plot import plot
from simple_gates import aucs, simple_gates
from tables import (
    bounds_table,
    by_gate,
    by_stratum,
    by_way,
    compact,
    exceptions,
    smollm_table,
    verdicts_table,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tables import Row

HERE = Path(__file__).resolve().parent
DOCS = HERE.parents[1] / "docs"


def fill_in(page: str, name: str, text: str) -> str:
    """Put `text` between the page's markers of that name."""
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    head, _, rest = page.partition(start)
    _, found, tail = rest.partition(end)
    if not found:
        raise SystemExit(f"the page has no place for {name!r}")
    return f"{head}{start}\n{text}\n{end}{tail}"


def _lines(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _keep(name: str, rows: Sequence[Row]) -> None:
    """Write rows to a JSON file beside this one, one a line."""
    text = ",\n".join(json.dumps(row, sort_keys=True) for row in rows)
    (HERE / f"{name}.json").write_text(f"[\n{text}\n]\n")


def main() -> None:
    """Read the results, fill the page's places, draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=Path, help="what prove.py wrote; makes results.json anew")
    parser.add_argument("--smollm", type=Path, help="what smollm.py wrote; makes smollm.json anew")
    given = parser.parse_args()
    if given.lines:
        _keep("results", compact(_lines(given.lines)))
    if given.smollm:
        _keep("smollm", _lines(given.smollm))
    rows, smollm = (json.loads((HERE / f"{name}.json").read_text()) for name in ("results", "smollm"))
    calibration = json.loads((HERE / "calibration.json").read_text())
    page = (DOCS / "proving-ground.md").read_text()
    made = {
        "gates": by_gate(rows),
        "strata": by_stratum(rows),
        "ways": by_way(rows),
        "simple gates": simple_gates(rows),
        "areas": aucs(rows),
        "exceptions": exceptions(rows),
    }
    made = {name: text if rows else "*No file yet.*" for name, text in made.items()}
    made["smollm"] = smollm_table(smollm) if smollm else "*No file yet.*"
    made |= {"verdicts": verdicts_table(calibration), "bounds": bounds_table(calibration)}
    for name, text in made.items():
        page = fill_in(page, name, text)
    (DOCS / "proving-ground.md").write_text(page)
    if rows:
        (DOCS / "proving-ground.svg").write_text(plot(rows))


if __name__ == "__main__":
    main()
