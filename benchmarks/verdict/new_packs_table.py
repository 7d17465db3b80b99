"""Tables of the files that were gated with new packs, and the calibration of their forecasts."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import forecasts
from tables import LEAK_LIMIT, VERDICTS, share, table, truth, upper, verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tables import Row

TRUTHS = ("good", "borderline", "bad")
UNSEEN = "bad by nothing but leaks where the pack does not ask"


def tables(lines: Sequence[Row]) -> str:
    """Write all tables as Markdown."""
    files = [line for line in lines if "artifact" in line]
    return "\n\n".join([
        by_truth(files), why_open(files), by_stratum(files), let_through(files), forecasts.table(forecast_lines(lines)),
    ])  # fmt: skip


def by_truth(files: Sequence[Row]) -> str:
    """Count verdicts by kind of pack and truth, with the upper bounds of false PASS and of INCONCLUSIVE."""
    rows = []
    for kind in sorted({kind_of(row) for row in files}):
        own = [row for row in files if kind_of(row) == kind]
        parts = {name: [row for row in own if truth(row) == name] for name in TRUTHS}
        parts[UNSEEN] = [row for row in parts["bad"] if row["only unasked"]]
        parts["bad"] = [row for row in parts["bad"] if not row["only unasked"]]
        for name, part in parts.items():
            found, n = Counter(map(verdict, part)), len(part)
            bound = "INCONCLUSIVE" if name == "good" else "PASS" if name != "borderline" else ""
            told = f"{bound}: {share(found[bound], n)}, at most {upper(found[bound], n):.1%}" if bound and n else "–"
            rows.append((kind, name, n, *(found[one] for one in VERDICTS), told))
    return table(("pack", "truth", "files", *VERDICTS, "interval (95 %), upper bound (one-sided)"), rows)


def kind_of(row: Row) -> str:
    """Return the kind of pack that a file was gated with."""
    return str(row["pack"]).partition("-")[2]


def why_open(files: Sequence[Row]) -> str:
    """Count what stands between a good file and PASS, by release and format."""
    found = Counter(
        (kind_of(row), row["release"], row["format"], ", ".join(row.get("open", ())) or "–")
        for row in files
        if truth(row) == "good" and verdict(row) != "PASS"
    )
    return table(
        ("pack", "release", "format", "good, no PASS since", "files"), [(*key, n) for key, n in sorted(found.items())]
    )


def by_stratum(files: Sequence[Row]) -> str:
    """Count verdicts by stratum and truth."""
    strata: dict[str, list[Row]] = {}
    for row in sorted(files, key=lambda row: str(row["stratum"])):
        strata.setdefault(f"{row['stratum']} ({kind_of(row)})", []).append(row)

    def cell(own: Sequence[Row], kind: str) -> str:
        found = Counter(verdict(row) for row in own if truth(row) == kind)
        return ", ".join(f"{found[one]} {one}" for one in VERDICTS if found[one]) or "–"

    rows = [(name, len(own), *(cell(own, kind) for kind in (*TRUTHS, "refused"))) for name, own in strata.items()]
    return table(("stratum", "files", *TRUTHS, "not exported"), rows)


def let_through(files: Sequence[Row]) -> str:
    """List every bad file that gets PASS."""
    rows = [
        (row["artifact"], kind_of(row), f"{row['true']['leak'][0]:.0%}", ", ".join(list(row["ways"])[:3]))
        for row in files
        if truth(row) == "bad" and verdict(row) == "PASS"
    ]
    head = ("bad, PASS", "pack", f"truly leaking (limit {LEAK_LIMIT:.0%})", "ways with most leaks")
    return table(head, rows) if rows else "No bad file passes."


def forecast_lines(lines: Sequence[Row]) -> list[Row]:
    """Put each forecast beside the verdicts on the files that it is about, as `forecasts.table` reads them.

    One of the base alone is about the good files of its format and pack; one with a baseline about the release's own
    files, whatever their truth.
    """
    found = []
    for line in lines:
        if "forecast" not in line:
            continue
        own = [row for row in lines if "artifact" in row and row.get("verdict", "refused") != "refused"]
        own = [row for row in own if (row["format"], row["pack"]) == (line["format"], line["pack"])]
        if line["kind"] == forecasts.BEFORE:
            own = [row for row in own if truth(row) == "good"]
        else:
            own = [row for row in own if row["release"] == line["release"] and _is_own(row["artifact"])]
        if own:
            verdicts = {row["artifact"].partition("/")[0]: row["verdict"] for row in own}
            found.append({**line, "key": line["forecast"], "forecast": line["share"], "verdicts": verdicts})
    return found


def _is_own(artifact: str) -> bool:
    return artifact.partition("/")[0].endswith(tuple(f"-{recipe}" for recipe in forecasts.OWN))
