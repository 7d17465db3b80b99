"""Tables and plot of the proving ground and of the calibration, written into docs/proving-ground.md.

    python benchmarks/verdict/table.py [--lines DIR/results.jsonl]

Without --lines, from results.json and calibration.json beside this file; with it, results.json is made anew first.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from plot import plot
from simple_gates import aucs, simple_gates
from tables import bounds_table, by_gate, by_stratum, by_way, compact, exceptions, verdicts_table

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


def main() -> None:
    """Read the results, fill the page's places, draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=Path, help="what prove.py wrote; makes results.json anew")
    given = parser.parse_args()
    results = HERE / "results.json"
    if given.lines:
        rows = compact([json.loads(line) for line in given.lines.read_text().splitlines()])
        results.write_text("[\n" + ",\n".join(json.dumps(row, sort_keys=True) for row in rows) + "\n]\n")
    rows = json.loads(results.read_text())
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
    made |= {"verdicts": verdicts_table(calibration), "bounds": bounds_table(calibration)}
    for name, text in made.items():
        page = fill_in(page, name, text)
    (DOCS / "proving-ground.md").write_text(page)
    if rows:
        (DOCS / "proving-ground.svg").write_text(plot(rows))


if __name__ == "__main__":
    main()
