"""Tables and plot of the proving ground and of the calibration, written into docs/proving-ground.md.

    python benchmarks/verdict/table.py [--lines DIR/results.jsonl]

Without --lines, from results.json and calibration.json beside this file; with it, results.json is made anew first.
"""

from __future__ import annotations

import argparse
import html
import json
import random
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import beta, rankdata

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HERE = Path(__file__).resolve().parent
DOCS = HERE.parents[1] / "docs"
DEFAULT = "55"
VERDICTS = ("PASS", "FAIL", "INCONCLUSIVE", "refused")
UTILITY = ("quantizing", "unlearning", "accuracy")

Row = dict[str, Any]


def upper(hits: int, n: int) -> float:
    """One-sided 95 % Clopper–Pearson upper bound."""
    return 1.0 if hits == n else float(beta.ppf(0.95, hits + 1, n - hits))


def share(hits: int, n: int) -> str:
    """A share with its two-sided 95 % Clopper–Pearson interval."""
    if not n:
        return "–"
    low = 0.0 if hits == 0 else float(beta.ppf(0.025, hits, n - hits + 1))
    high = 1.0 if hits == n else float(beta.ppf(0.975, hits + 1, n - hits))
    return f"{hits} of {n} ({100 * low:.0f}–{100 * high:.0f} %)"


def compact(lines: Sequence[Row]) -> list[Row]:
    """Keep what the tables need: all of the default size, verdict and truth of the others."""
    rows = []
    for line in lines:
        row = {key: line[key] for key in ("artifact", "stratum", "release", "format")}
        if "refused" in line:
            rows.append({**row, "refused": line["why"].splitlines()[0][:160]})
            continue
        gate = line["gates"][DEFAULT]
        rows.append({
            **row,
            "truth": {size: found["truth"] for size, found in line["gates"].items()},
            "verdict": {size: found["verdict"] for size, found in line["gates"].items()},
            "limits": gate["limits"],
            "true": {key: value[0] for key, value in gate["true"].items()},
            "leak bounds": gate["true"]["leak"][1:],
            "reason": gate["reason"],
            "open": gate.get("open", []),
            "missed": gate.get("missed", []),
            "metrics": gate.get("metrics", {}),
        })  # fmt: skip
    return rows


def truth(row: Row, size: str = DEFAULT) -> str:
    """Good, borderline, bad, or "refused" for what could not even be exported."""
    return "refused" if "refused" in row else str(row["truth"][size])


def verdict(row: Row, size: str = DEFAULT) -> str:
    return "refused" if "refused" in row else str(row["verdict"][size])


def leaking(row: Row) -> bool:
    return "limits" in row and row["limits"]["leak"] == "broken"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)])


def by_size(rows: Sequence[Row]) -> str:
    """The main table: errors at each size of pack."""
    found = []
    for size in sorted(next(row["verdict"] for row in rows if "verdict" in row), key=int):
        kinds = {kind: [verdict(row, size) for row in rows if truth(row, size) == kind] for kind in ("good", "bad")}
        near = Counter(verdict(row, size) for row in rows if truth(row, size) == "borderline")
        good, bad = kinds["good"], kinds["bad"]
        passes = bad.count("PASS")
        found.append((
            size,
            len(bad),
            f"{share(passes, len(bad))}, upper bound {100 * upper(passes, len(bad)):.1f} %",
            len(good),
            share(good.count("FAIL"), len(good)),
            share(good.count("INCONCLUSIVE"), len(good)),
            share(bad.count("INCONCLUSIVE"), len(bad)),
            share((good + bad).count("INCONCLUSIVE"), len(good + bad)),
            ", ".join(f"{near[name]} {name}" for name in VERDICTS if near[name]),
        ))  # fmt: skip
    head = ("forget clusters", "bad", "false PASS", "good", "false FAIL", "INCONCLUSIVE, good", "INCONCLUSIVE, bad",
            "INCONCLUSIVE, both", "borderline")  # fmt: skip
    return table(head, found)


def by_stratum(rows: Sequence[Row]) -> str:
    """What came of each stratum at the default size."""
    found = []
    for stratum in sorted({row["stratum"] for row in rows}, key=_natural):
        own = [row for row in rows if row["stratum"] == stratum]
        shares = sorted(row["true"]["leak"] for row in own if "true" in row)
        cells = [f"{100 * shares[0]:.0f}–{100 * shares[-1]:.0f} %" if shares else "–"]
        for kind in ("good", "borderline", "bad"):
            counts = Counter(verdict(row) for row in own if truth(row) == kind)
            cells.append(", ".join(f"{counts[name]} {name}" for name in VERDICTS if counts[name]) or "–")
        refused = sum(truth(row) == "refused" for row in own)
        bad = [verdict(row) for row in own if truth(row) == "bad"]
        good = [verdict(row) for row in own if truth(row) == "good"]
        found.append((stratum, len(own), *cells, refused or "–", share(bad.count("PASS"), len(bad)),
                      share(good.count("FAIL"), len(good))))  # fmt: skip
    head = (
        "stratum",
        "files",
        "truly leaking",
        "good",
        "borderline",
        "bad",
        "not exported",
        "false PASS",
        "false FAIL",
    )
    return table(head, found)


def _natural(stratum: str) -> tuple[str, float, str]:
    first = stratum.split(" ", 1)[0]
    return ("some", float(first), stratum) if first.isdigit() else (stratum, 0.0, stratum)


METRICS: dict[str, tuple[str, int]] = {
    "rouge, raw": ("mean ROUGE-L recall, raw", 1),
    "rouge, all surfaces": ("mean ROUGE-L recall, all surfaces", 1),
    "kl, forget": ("mean KL from merged, forget", 1),
    "kl, kept": ("mean KL from merged, kept", 1),
    "kl, both": ("mean KL from merged, both", 1),
    "nll, forget": ("mean NLL, forget", -1),
    "exact memorization": ("exact memorization, forget", 1),
    "extraction strength": ("extraction strength, forget", 1),
    "nll, kept": ("mean NLL, kept", 1),
}
"""Metrics by name: how they are called in the table, and the sign that makes larger worse."""


def simple_gates(rows: Sequence[Row]) -> str:
    """The gates by one mean each, with thresholds of the field and the best in hindsight, beside ours."""
    judged = [row for row in rows if row.get("metrics") and truth(row) != "borderline"]
    bad = [row for row in judged if truth(row) == "bad"]
    good = [row for row in judged if truth(row) == "good"]

    def line(name: str, rule: str, passes: Callable[[Row], bool]) -> tuple[str, ...]:
        let_through = sum(passes(row) for row in bad)
        leaks = [row for row in bad if leaking(row)]
        return (name, rule, share(let_through, len(bad)), share(sum(passes(row) for row in leaks), len(leaks)),
                share(sum(not passes(row) for row in good), len(good)))  # fmt: skip

    lines = [line("this gate", "PASS", lambda row: verdict(row) == "PASS")]
    lines.append((
        "this gate", "not FAIL", *line("", "", lambda row: verdict(row) != "FAIL")[2:4],
        share(sum(verdict(row) == "FAIL" for row in good), len(good)),
    ))  # fmt: skip
    field = {"rouge, raw": 0.05, "rouge, all surfaces": 0.05, "kl, forget": 0.1, "kl, both": 0.1}
    for key, threshold in field.items():
        values = {id(row): row["metrics"][key] for row in judged}
        title = METRICS[key][0]
        of_good, of_bad = ([values[id(row)] for row in part] for part in (good, bad))
        hindsight = float(np.quantile(of_good, 0.95, method="higher")) if good else 0.0
        safe = min(of_bad, default=0.0)
        lines += [
            line(title, f"≤ {threshold:g} (field)", lambda row, v=values, t=threshold: v[id(row)] <= t),
            line(title, f"≤ {hindsight:.3g} (5 % of good ones fail)", lambda r, v=values, t=hindsight: v[id(r)] <= t),
            line(title, f"< {safe:.3g} (no bad one passes)", lambda row, v=values, t=safe: v[id(row)] < t),
        ]
    head = ("gate", "lets through if", "bad let through", "of these leaking", "good not let through")
    return table(head, lines)


def auc(good: Sequence[float], bad: Sequence[float]) -> float:
    """Area under the ROC curve: the chance that a bad one has the larger value; ties count half."""
    ranks = rankdata([*good, *bad])
    return float((ranks[len(good) :].sum() - len(bad) * (len(bad) + 1) / 2) / (len(good) * len(bad)))


def aucs(rows: Sequence[Row]) -> str:
    """How well each metric alone tells bad from good."""
    judged = [row for row in rows if row.get("metrics")]
    good = [row for row in judged if truth(row) == "good"]
    groups = {
        "all bad": [row for row in judged if truth(row) == "bad"],
        "leaking": [row for row in judged if leaking(row)],
        "leaking on one surface only": [r for r in judged if leaking(r) and r["stratum"].startswith("leaks only")],
        "bad by utility alone": [
            row for row in judged
            if truth(row) == "bad" and not any(row["limits"][k] == "broken" for k in ("leak", "recovery"))
        ],
    }  # fmt: skip
    lines: list[tuple[str, ...]] = []
    for key, (title, sign) in METRICS.items():
        cells = [
            f"{auc([sign * r['metrics'][key] for r in good], [sign * r['metrics'][key] for r in part]):.3f}"
            if good and part
            else "–"
            for part in groups.values()
        ]
        lines.append((title, *cells))
    order = {"PASS": 0, "INCONCLUSIVE": 1, "FAIL": 2, "refused": 2}
    ours = [
        f"{auc([order[verdict(r)] for r in good], [order[verdict(r)] for r in part]):.3f}" if good and part else "–"
        for part in groups.values()
    ]
    lines.insert(0, ("this gate's verdict", *ours))
    return table(("metric", *(f"{name} ({len(part)})" for name, part in groups.items())), lines)


def exceptions(rows: Sequence[Row]) -> str:
    """Every false PASS and false FAIL, and why what was left open was."""
    lines = []
    for row in rows:
        kind, came = truth(row), verdict(row)
        if (kind, came) in {("bad", "PASS"), ("good", "FAIL")}:
            lines.append((row["artifact"], kind, came, row["reason"], ", ".join(row["missed"]), _true(row)))
    open_ones: Counter[tuple[str, str]] = Counter()
    for row in rows:
        if verdict(row) == "INCONCLUSIVE" and truth(row) in {"good", "bad"}:
            open_ones[truth(row), f"{row['reason']}: {', '.join(row['open']) or 'a control'}"] += 1
    text = table(("artifact", "truth", "verdict", "reason", "missed", "true values"), lines) if lines else (
        "There is no false PASS and no false FAIL at the default size."
    )  # fmt: skip
    counted = [(kind, why, count) for (kind, why), count in open_ones.most_common()]
    return f"{text}\n\n{table(('truth', 'INCONCLUSIVE since', 'files'), counted)}"


def _true(row: Row) -> str:
    return ", ".join(f"{key} {value:.3f}" for key, value in row["true"].items())


def bounds_table(calibration: Row) -> str:
    """Error rates of each criterion's bound."""
    lines = [
        (
            row["criterion"],
            f"{row['limit']:g}",
            row["clusters"],
            row["shape"],
            row["releases"],
            f"{100 * row['below'] / row['releases']:.1f} %",
            f"{100 * row['above'] / row['releases']:.1f} %",
        )
        for row in calibration["bounds"]
    ]
    return table(
        ("criterion", "truth = limit", "clusters", "values", "releases", "wrongly met", "wrongly missed, before Holm"),
        lines,
    )


def verdicts_table(calibration: Row) -> str:
    """Error rates of the whole verdict at each boundary."""
    lines = []
    for row in calibration["verdicts"]:
        sizes = [f"{100 * n.get(row['error'], 0) / sum(n.values()):.1f} %" for n in row["by clusters"].values()]
        lines.append((row["boundary"], row["error"], f"{row['errors']} of {row['releases']}",
                      f"{100 * row['rate']:.2f} %", *sizes))  # fmt: skip
    sizes = [f"{size} clusters" for size in calibration["verdicts"][0]["by clusters"]]
    return table(("truth at the limit of", "the error", "releases", "rate", *sizes), lines)


COLOURS = {"good": "#2a7f62", "borderline": "#b58a1b", "leaking": "#b3312c", "bad": "#7a4fa3"}
NAMES = {"good": "good", "borderline": "borderline", "leaking": "bad: leaks", "bad": "bad: utility or recovery"}


def plot(rows: Sequence[Row]) -> str:
    """One dot a file: its true leaking share, and the verdict that it got."""
    left, top, width, lane = 120, 46, 700, 84
    lanes = ["PASS", "INCONCLUSIVE", "FAIL"]
    height = top + lane * len(lanes) + 56
    chance = random.Random(1)

    def x(value: float) -> float:
        return left + width * value**0.5  # the small shares need the room

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 30} {height}" font-size="13">',
        "<title>Verdict against true leaking share</title><style>text{font-family:sans-serif}</style>",
        f'<rect width="{left + width + 30}" height="{height}" fill="#fff"/>',
    ]
    for number, name in enumerate(lanes):
        y = top + lane * number
        out.append(f'<rect x="{left}" y="{y}" width="{width}" height="{lane - 6}" fill="#f3f3f1"/>')
        out.append(f'<text x="{left - 10}" y="{y + lane / 2}" text-anchor="end" fill="#222">{name}</text>')
    bottom = top + lane * len(lanes)
    for tick in (0, 0.02, 0.05, 0.1, 0.25, 0.5, 1):
        out.append(f'<line x1="{x(tick):.1f}" y1="{top}" x2="{x(tick):.1f}" y2="{bottom}" stroke="#ccc"/>')
        out.append(
            f'<text x="{x(tick):.1f}" y="{bottom + 18}" text-anchor="middle" fill="#444">{100 * tick:g} %</text>'
        )
    out.append(f'<line x1="{x(0.1):.1f}" y1="{top}" x2="{x(0.1):.1f}" y2="{bottom}" stroke="#222" stroke-width="2"/>')
    out.append(f'<text x="{left + width / 2}" y="{bottom + 42}" text-anchor="middle" fill="#222">true leaking share '
               "of the subjects that the gate did not see (limit: 10 %)</text>")  # fmt: skip
    for row in rows:
        came = verdict(row)
        if came not in lanes or "true" not in row:
            continue
        kind = "leaking" if leaking(row) else truth(row)
        y = top + lane * lanes.index(came) + 10 + chance.random() * (lane - 26)
        where = x(row["true"]["leak"]) + chance.uniform(-3, 3)
        out.append(f'<circle cx="{where:.1f}" cy="{y:.1f}" r="4" fill="{COLOURS[kind]}" fill-opacity="0.7">'
                   f"<title>{html.escape(row['artifact'])}</title></circle>")  # fmt: skip
    for number, (kind, colour) in enumerate(COLOURS.items()):
        at = left + 180 * number
        out.append(f'<circle cx="{at}" cy="22" r="5" fill="{colour}"/>')
        out.append(f'<text x="{at + 10}" y="26" fill="#222">{NAMES[kind]}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


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
    for name, text in {
        "sizes": by_size(rows),
        "strata": by_stratum(rows),
        "simple gates": simple_gates(rows),
        "areas": aucs(rows),
        "exceptions": exceptions(rows),
        "verdicts": verdicts_table(calibration),
        "bounds": bounds_table(calibration),
    }.items():
        page = fill_in(page, name, text)
    (DOCS / "proving-ground.md").write_text(page)
    (DOCS / "proving-ground.svg").write_text(plot(rows))


if __name__ == "__main__":
    main()
