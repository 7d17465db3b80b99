"""Tables of the planted files and of the calibration."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from scipy.stats import beta

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

UNASKED = "leaks only where the pack does not ask"
"""The stratum of `plant` that no gate can see."""
LEAK_LIMIT = 0.10
VERDICTS = ("PASS", "FAIL", "INCONCLUSIVE", "refused")

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
    """Keep what the tables need."""
    rows = []
    for line in lines:
        row = {key: line[key] for key in ("artifact", "stratum", "release", "format", "pack")}
        if "refused" in line:
            rows.append({**row, "refused": line["refused"].splitlines()[0][:160]})
            continue
        row |= {
            key: line[key]
            for key in ("truth", "only unasked", "asked", "verdict", "limits", "old", "metrics", "seconds")
        }
        row |= {key: line[key] for key in ("reason", "open", "missed", "known", "smaller") if key in line}
        row["reason"] = row["reason"].splitlines()[0][:160]
        row["true"] = {key: value[0] for key, value in line["true"].items()}
        row["leak bounds"] = line["true"]["leak"][1:]
        row["ways"] = {way: found for way, found in line["ways"].items() if found}
        rows.append(row)
    return rows


def truth(row: Row) -> str:
    """Good, borderline, bad, or "refused" for what could not even be exported."""
    return "refused" if "refused" in row else str(row["truth"])


def verdict(row: Row) -> str:
    return "refused" if "refused" in row else str(row["verdict"])


def old(row: Row) -> str:
    """The old gate's verdict."""
    return "refused" if "refused" in row else str(row["old"]["verdict"])


def smaller(row: Row) -> str:
    """The verdict on half of the pack."""
    return str(row["smaller"]["verdict"]) if "smaller" in row else ""


def leaking(row: Row) -> bool:
    return "limits" in row and row["limits"]["leak"] == "broken"


def counted(rows: Sequence[Row]) -> list[Row]:
    """All rows but those that are planted to leak only where no pack asks: they are reported by themselves."""
    return [row for row in rows if row["stratum"] != UNASKED]


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)])


def by_gate(rows: Sequence[Row]) -> str:
    """The main table: errors of this gate, on a smaller pack, and of the old one."""
    main = counted(rows)
    elsewhere = [row for row in main if row.get("only unasked")]
    planted = [row for row in rows if row["stratum"] == UNASKED]
    gates: tuple[tuple[str, Sequence[Row], Callable[[Row], str]], ...] = (
        ("this gate", main, verdict),
        ("of these, bad by nothing but leaks where the pack does not ask", elsewhere, verdict),
        ("this gate on half the pack: 50 forget, 200 kept subjects", [row for row in main if smaller(row)], smaller),
        ("the old gate", main, old),
        (
            "apart: planted to leak only where the pack does not ask",
            planted,
            verdict,
        ),
    )
    found = []
    for name, own, gate in gates:
        kinds = {kind: [gate(row) for row in own if truth(row) == kind] for kind in ("good", "bad")}
        near = Counter(gate(row) for row in own if truth(row) == "borderline")
        good, bad = kinds["good"], kinds["bad"]
        passes = bad.count("PASS")
        found.append((
            name,
            len(bad),
            f"{share(passes, len(bad))}, upper bound {100 * upper(passes, len(bad)):.1f} %" if bad else "–",
            len(good),
            share(good.count("FAIL"), len(good)),
            share(good.count("INCONCLUSIVE"), len(good)),
            share(bad.count("INCONCLUSIVE"), len(bad)),
            ", ".join(f"{near[name]} {name}" for name in VERDICTS if near[name]) or "–",
        ))  # fmt: skip
    head = ("gate", "bad", "false PASS", "good", "false FAIL", "INCONCLUSIVE, good", "INCONCLUSIVE, bad", "borderline")
    return table(head, found)


def by_stratum(rows: Sequence[Row]) -> str:
    """What was found in each stratum, by this gate and by the old one."""
    found = []
    for stratum in sorted({row["stratum"] for row in rows}, key=_natural):
        own = [row for row in rows if row["stratum"] == stratum]
        shares = sorted(row["true"]["leak"] for row in own if "true" in row)
        cells = [f"{100 * shares[0]:.0f}–{100 * shares[-1]:.0f} %" if shares else "–"]
        cells += [
            _counts(Counter(verdict(row) for row in own if truth(row) == kind))
            for kind in ("good", "borderline", "bad")
        ]
        refused = sum(truth(row) == "refused" for row in own)
        bad = [row for row in own if truth(row) == "bad"]
        good = [row for row in own if truth(row) == "good"]
        cells.append(str(refused or "–"))
        cells.append(_counts(Counter(old(row) for row in bad)))
        cells.append(_counts(Counter(old(row) for row in good)))
        found.append((stratum, len(own), *cells))
    head = ("stratum", "files", "truly leaking", "good", "borderline", "bad", "not exported", "bad, by the old gate",
            "good, by the old gate")  # fmt: skip
    return table(head, found)


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[name]} {name}" for name in VERDICTS if counts[name]) or "–"


def _natural(stratum: str) -> tuple[str, float, str]:
    first = stratum.split(" ", 1)[0]
    return ("some", float(first), stratum) if first.isdigit() else (stratum, 0.0, stratum)


def by_way(rows: Sequence[Row]) -> str:
    """By way of asking: what share of subjects it brings out of good files, and of bad ones that one gate passes."""
    judged = [row for row in counted(rows) if "ways" in row]
    groups = {
        "good": [row for row in judged if truth(row) == "good"],
        "bad, passed by the old gate": [row for row in judged if truth(row) == "bad" and old(row) == "PASS"],
        "original": [row for row in judged if row["stratum"] == "original"],
    }
    ways = sorted({way for row in judged for way in row["ways"]})
    lines = []
    for way in ways:
        cells = []
        for part in groups.values():
            mean = sum(row["ways"].get(way, 0.0) for row in part) / len(part) if part else None
            cells.append("–" if mean is None else f"{100 * mean:.1f} %")
        lines.append((way, *cells))
    return table(("way", *(f"{name} ({len(part)})" for name, part in groups.items())), lines)


def exceptions(rows: Sequence[Row]) -> str:
    """Every false PASS and false FAIL, and why what was left open was."""
    lines = []
    rows = counted(rows)
    for row in rows:
        kind, came = truth(row), verdict(row)
        if (kind, came) in {("bad", "PASS"), ("good", "FAIL")}:
            lines.append((row["artifact"], row["stratum"], kind, came, ", ".join(row["missed"]), _true(row)))
    open_ones: Counter[tuple[str, str]] = Counter()
    for row in rows:
        if verdict(row) == "INCONCLUSIVE" and truth(row) in {"good", "bad"}:
            open_ones[truth(row), f"{row['reason']}: {', '.join(row['open']) or 'a control'}"] += 1
    text = table(("artifact", "stratum", "truth", "verdict", "missed", "true values"), lines) if lines else (
        "There is no false PASS and no false FAIL."
    )  # fmt: skip
    listed = [(kind, why, count) for (kind, why), count in open_ones.most_common()]
    return f"{text}\n\n{table(('truth', 'INCONCLUSIVE since', 'files'), listed)}"


def _true(row: Row) -> str:
    return ", ".join(f"{key} {value:.3f}" for key, value in row["true"].items())


def smollm_table(rows: Sequence[Row]) -> str:
    """The stratum on a published model: what other ways bring out, and the verdict."""
    lines = []
    for row in rows:
        hits, n = row["leaking"], row["subjects"]
        low = 0.0 if hits == 0 else float(beta.ppf(0.05, hits, n - hits + 1))
        held = "broken" if low > LEAK_LIMIT else "kept" if upper(hits, n) <= LEAK_LIMIT else "near"
        why = ", ".join(row["missed"] or row["open"]) or "–"
        gate = f"{100 * row['gate'][0]:.0f} %, at most {100 * row['gate'][1]:.0f} %"
        lines.append((row["file"], row["format"], f"{hits} of {n}", held, gate, row["verdict"], why))
    head = (
        "file",
        "format",
        "leaking, ten held-out ways",
        "the limit is",
        "leaking, by the gate",
        "verdict",
        "missed, or open",
    )
    return table(head, lines)


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
