"""Tables of the gates that look at one mean each, beside the verdicts on the same files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata
from tables import counted, leaking, old, share, table, truth, verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tables import Row

METRICS: dict[str, tuple[str, int]] = {
    "rouge, raw": ("mean ROUGE-L recall, raw", 1),
    "rouge, all surfaces": ("mean ROUGE-L recall, all surfaces", 1),
    "nll, forget": ("mean NLL, forget", -1),
    "exact memorization": ("exact memorization, forget", 1),
    "extraction strength": ("extraction strength, forget", 1),
    "nll, kept": ("mean NLL, kept", 1),
}
"""Metrics by name: how they are called in the table, and the sign that makes larger worse."""


def simple_gates(rows: Sequence[Row]) -> str:
    """The gates by one mean each, with thresholds of the field and the best in hindsight, beside ours."""
    judged = [row for row in counted(rows) if row.get("metrics") and truth(row) != "borderline"]
    bad = [row for row in judged if truth(row) == "bad"]
    good = [row for row in judged if truth(row) == "good"]

    def line(name: str, rule: str, passes: Callable[[Row], bool]) -> tuple[str, ...]:
        let_through = sum(passes(row) for row in bad)
        leaks = [row for row in bad if leaking(row)]
        return (name, rule, share(let_through, len(bad)), share(sum(passes(row) for row in leaks), len(leaks)),
                share(sum(not passes(row) for row in good), len(good)))  # fmt: skip

    lines = [line("this gate", "PASS", lambda row: verdict(row) == "PASS")]
    lines.append(line("the old gate", "PASS", lambda row: old(row) == "PASS"))
    lines.append((
        "this gate", "not FAIL", *line("", "", lambda row: verdict(row) != "FAIL")[2:4],
        share(sum(verdict(row) == "FAIL" for row in good), len(good)),
    ))  # fmt: skip
    field = {"rouge, raw": 0.05, "rouge, all surfaces": 0.05}
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
    judged = [row for row in counted(rows) if row.get("metrics")]
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
