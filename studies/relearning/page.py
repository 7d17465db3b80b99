"""Makes docs/relearning.md and its figures from the committed records: one command, nothing is run again.

python studies/relearning/page.py [--results FOLDER] [--docs FOLDER] [--numbers FILE]

Cells that start on a grid or from bf16, and the two whose change is added there, are read from the folder `starts`
beside that of the results where there is one: a chain of its own, from the tuning on, made on another processor.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import Interval, Results, difference, interval, known, number
from book_tables import STEPS_HEAD, Tables
from edgeproof.eval.measurement import Role
from edgeproof.eval.packs.probes import Match
from edgeproof.eval.packs.reader import load_pack
from figures import Row, dots
from plan import FORMATS, GRIDS, METHODS, NAMES, SIZES, Cell, attacks, cells

if TYPE_CHECKING:
    from analysis import Back

HERE = Path(__file__).resolve().parent
KINDS = {True: "full", False: "LoRA"}


class Page:
    """The records of one data set, and what is said of them."""

    def __init__(self, results: Results, data: str, size: str) -> None:
        self.all = results
        self.data = data
        self.size = SIZES[size]
        self.facts: dict[str, Any] = {}
        self.figures: dict[str, str] = {}

    def done(self, cell: Cell) -> dict[str, Any] | None:
        """Return a cell's record, None where it was not run or could not be unlearned."""
        record = self.all.records.get(cell.name)
        return None if record is None or "failed" in record else record

    def merged(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return what the float artifact said."""
        artifacts = record["artifacts"]
        return artifacts["gguf-f16"] if "gguf-f16" in artifacts else artifacts["gguf-f32"]  # type: ignore[no-any-return]

    def back(self, cell: Cell, form: str) -> Back | None:
        """Return what came back in a cell's file."""
        record = self.done(cell)
        if record is None or form not in record["artifacts"]:
            return None
        return self.all.back(record["artifacts"][form], self.merged(record), f"base.{cell.data}.{cell.start}")

    def cell_rows(self, chosen: list[Cell]) -> list[list[str]]:
        """Say of each cell and format what came out."""
        rows = []
        for cell in chosen:
            record = self.done(cell)
            if record is None:
                continue
            for form, artifact in record["artifacts"].items():
                found = self.back(cell, form)
                bound = interval([found]) if found is not None and form not in {"gguf-f16", "gguf-f32"} else None
                same = self.all.records[f"base.{cell.data}.{cell.start}"]["artifacts"].get(form)
                retain = self.all.mean(artifact, "nll", Role.RETAIN)
                codes = artifact["codes"]
                fact = {
                    "forget_nll": self.all.mean(artifact, "nll", Role.FORGET),
                    "retain_nll": retain,
                    "holdout_nll": self.all.mean(artifact, "nll", Role.HOLDOUT),
                    "retain_nll_minus_base": retain - self.all.mean(same, "nll", Role.RETAIN) if same else None,
                    "extraction_strength": self.all.mean(artifact, "strength", Role.FORGET),
                    "exact_memorization": self.all.mean(artifact, "memorized", Role.FORGET),
                    "rouge_forget": known(self.all.mean(artifact, "rouge_recall", Role.FORGET)),
                    "rouge_retain": known(self.all.mean(artifact, "rouge_recall", Role.RETAIN)),
                    "privleak": self.all.privleak(artifact, cell.data),
                    "recovery": bound.to_json() if bound else None,
                    "codes_moved": codes["moved_4bit"] if codes and codes["codes_4bit"] else None,
                }
                self.facts.setdefault(cell.name, {})[form] = fact
                rows.append(
                    [
                        shown(cell), NAMES[form],
                        f"{fact['forget_nll']:.2f}",
                        bound.show() if bound else "–",
                        f"{fact['extraction_strength']:.2f}",
                        number(fact["rouge_forget"]),
                        f"{retain:.2f}",
                        number(fact["retain_nll_minus_base"], signed=True),
                        number(fact["rouge_retain"]),
                        f"{fact['privleak']:+.0f}",
                        "–" if fact["codes_moved"] is None else f"{fact['codes_moved']:.2%}",
                    ]
                )  # fmt: skip
        return rows

    def references(self, starts: dict[str, str]) -> list[list[str]]:
        """Say the same of the base and of the model that never saw the forget set: where they start, their names."""
        rows = []
        for start, name in starts.items():
            record = self.all.records.get(f"base.{self.data}.{start}")
            if record is None:
                continue
            for form, artifact in record["artifacts"].items():
                mean = self.all.mean
                fact = {
                    "forget_nll": mean(artifact, "nll", Role.FORGET),
                    "retain_nll": mean(artifact, "nll", Role.RETAIN),
                    "holdout_nll": mean(artifact, "nll", Role.HOLDOUT),
                    "extraction_strength": mean(artifact, "strength", Role.FORGET),
                    "rouge_forget": known(mean(artifact, "rouge_recall", Role.FORGET)),
                    "rouge_retain": known(mean(artifact, "rouge_recall", Role.RETAIN)),
                    "privleak": self.all.privleak(artifact, self.data),
                }
                self.facts.setdefault(f"base.{self.data}.{start}", {})[form] = fact
                rows.append(
                    [
                        name, NAMES[form], f"{fact['forget_nll']:.2f}", f"{fact['extraction_strength']:.2f}",
                        number(fact["rouge_forget"]), f"{fact['retain_nll']:.2f}", number(fact["rouge_retain"]),
                        f"{fact['holdout_nll']:.2f}", f"{fact['privleak']:+.0f}",
                    ]
                )  # fmt: skip
        return rows

    def grids(self) -> list[list[str]]:
        """Say how far from each grid the bases lie."""
        rows = []
        for grid in GRIDS:
            record = self.all.records.get(grid.name)
            if record is not None:
                self.facts[grid.name] = record["rounding"]
                errors = [record["rounding"].get(kind) for kind in ("Q4_0", "Q4_1", "IQ4_NL", "Q4_K")]
                rows.append([grid.start, *("–" if error is None else f"{error:.2%}" for error in errors)])
        return rows

    def steps(self, chosen: list[Cell]) -> list[list[str]]:
        """Say how each cell was unlearned."""
        rows = []
        for cell in chosen:
            record = self.all.records.get(cell.name)
            if record is None:
                continue
            if "failed" in record:
                rows.append([f"`{cell.name}`", "–", record["failed"].splitlines()[0], "–", "–", "–", "–"])
                continue
            made = record["unlearning"]
            rows.append(
                [
                    f"`{cell.name}`", str(made["steps"]), made["stopped"],
                    f"{made['forget_nll'][0]:.2f} → {made['forget_nll'][1]:.2f}",
                    f"{made['retain_nll'][0]:.2f} → {made['retain_nll'][1]:.2f}",
                    f"{record['change']:.2%}",
                    f"{made['seconds']:.0f} + {record['seconds']['export and probes']:.0f}",
                ]
            )  # fmt: skip
        return rows

    def compared(self, starts: list[tuple[str, bool]]) -> list[list[str]]:
        """Compare LoRA with full fine-tuning: what came back of all seeds together, and the difference.

        `starts` are names of bases, and whether the change of the free one was added there.
        """
        rows = []
        for start, same in starts:
            label = f"{start}, the same change" if same else start
            for method in METHODS:
                for form in (*FORMATS[1:], "bf16-cast"):
                    parts: dict[bool, list[Back]] = {}
                    for full in (False, True):
                        twin = Cell(self.data, start, method, full, same=same)
                        planned = [c for c in cells(self.size) if c.name == replace(twin, seed=c.seed).name]
                        parts[full] = [found for c in planned if (found := self.back(c, form)) is not None]
                    if not all(parts.values()):
                        continue
                    seeds = min(map(len, parts.values()))
                    lora, full_ = (interval(parts[full][:seeds]) for full in (False, True))
                    if lora is None or full_ is None:
                        continue
                    apart = difference(parts[True][:seeds], parts[False][:seeds])
                    self.facts.setdefault("lora against full", []).append(
                        {
                            "start": label, "method": method, "format": form, "seeds": seeds,
                            "lora": lora.to_json(), "full": full_.to_json(), "full_minus_lora": apart.to_json(),
                        }
                    )  # fmt: skip
                    rows.append([label, method, NAMES[form], str(seeds), lora.show(), full_.show(), _signed(apart)])
        return rows

    def attacked(self) -> list[list[str]]:
        """Say what attacks brought back."""
        rows = []
        base = f"base.{self.data}.free"
        for attack in attacks(self.size):
            record = self.all.records.get(attack.name)
            if record is None:
                continue
            name = "tuned on retain alone" if attack.cell is None else f"{attack.cell.method} {attack.cell.kind}"
            seed = "–" if attack.cell is None else str(attack.cell.seed)
            for form, artifact in record["after"].items():
                regained = "–"
                if attack.cell is not None and (cell := self.done(attack.cell)) is not None:
                    found = self.all.back(artifact, self.merged(cell), base)
                    bound = interval([found]) if found is not None else None
                    regained = bound.show() if bound else "–"
                before, after = (self.all.mean(part, "nll", Role.FORGET) for part in (record["before"], artifact))
                how = "relearn" if attack.kind == "relearn" else f"to {NAMES[form]}"
                self.facts.setdefault(attack.name, {})[form] = {
                    "forget_nll_before": before, "forget_nll_after": after,
                    "extraction_strength_after": self.all.mean(artifact, "strength", Role.FORGET),
                }  # fmt: skip
                rows.append([name, seed, how, f"{before:.2f}", f"{after:.2f}", regained])
        return rows

    def draw(self) -> None:
        """Draw what came back, by method and format."""
        rows = []
        for form in FORMATS[1:]:
            own = []
            for method in METHODS:
                for full in (False, True):
                    found = self.back(Cell(self.data, "free", method, full), form)
                    bound = interval([found]) if found is not None else None
                    if bound:
                        own.append(Row(f"{method} {KINDS[full]}", "full" if full else "lora", *bound))
            if own:
                rows += [Row(NAMES[form]), *own]
        if rows:
            self.figures["relearning-formats.svg"] = dots("What came back in each format, seed 0", "recovery", rows)
        rows = []
        for form in FORMATS:
            own = []
            for start, name in (("free", "base"), ("retrained", "tuned on retain alone")):
                record = self.all.records.get(f"base.{self.data}.{start}")
                if record is not None and form in record["artifacts"]:
                    own.append(Row(name, "other", self.all.mean(record["artifacts"][form], "nll", Role.FORGET)))
            for full in (False, True):
                record = self.done(Cell(self.data, "free", "npo+gdr", full))
                if record is not None:
                    nll = self.all.mean(record["artifacts"][form], "nll", Role.FORGET)
                    own.append(Row(f"NPO+GDR {KINDS[full]}", "full" if full else "lora", nll))
            rows += [Row(NAMES[form]), *own]
        self.figures["relearning-nll.svg"] = dots("NLL of the forget answers", "nat per token", rows)

    def draw_starts(self) -> None:
        """Draw what came back, by where the base's weights lie."""
        rows = []
        starts = (
            ("free", "base off Q4_0's grid"),
            ("q4_0", "base on Q4_0's grid"),
            ("bf16", "bf16 checkpoint, cast to bf16"),
        )
        for start, name in starts:
            own = []
            for cell in cells(self.size):
                if (cell.data, cell.start, cell.method) != (self.data, start, "npo+gdr"):
                    continue
                found = self.back(cell, "bf16-cast" if start == "bf16" else "gguf-q4_0")
                bound = interval([found]) if found is not None else None
                if bound:
                    label = cell.kind.replace("lora", "LoRA").replace("-a", ", alpha ").replace("-w", ", α ")
                    label = label.replace("-same", ", the same change").replace("-survive", ", through the rounding")
                    label += f", seed {cell.seed}" if cell.seed else ""
                    own.append(Row(label, "full" if cell.full else "lora", *bound))
            if own:
                rows += [Row(f"{name}{'' if start == 'bf16' else ' → Q4_0'}"), *own]
        if rows:
            self.figures["relearning-grid.svg"] = dots(
                "What came back by where the base's weights lie, NPO+GDR", "recovery", rows
            )


def table(head: str, rows: list[list[str]]) -> str:
    """Return a Markdown table, "" without rows."""
    if not rows:
        return "*Not run.*\n"
    names = head.split("|")
    lines = [names, ["---"] * len(names), *rows]
    return "".join(f"| {' | '.join(cell.strip() for cell in line)} |\n" for line in lines)


def shown(cell: Cell) -> str:
    """Name a cell in a table."""
    where = "" if cell.start == "free" else f" on {cell.start}"
    return f"{cell.method} {cell.kind}{where}{f', seed {cell.seed}' if cell.seed else ''}"


def missing(size: str, *done: Results) -> str:
    """List what the plan has and the records lack."""
    planned = [item.name for item in (*cells(SIZES[size]), *attacks(SIZES[size]))]
    names = [f"`{name}`" for name in planned if not any(name in results.records for results in done)]
    return ", ".join(names) if names else "nothing"


def _signed(found: Interval) -> str:
    return f"{found.estimate:+.2f} ({found.lower:+.2f} to {found.upper:+.2f})"


def book(results: Path, data: Path, size: str, page: Page, words: Path) -> str:
    """Return what `words` says of the book, with its tables; its numbers go to the page's facts."""
    if not any(results.glob("book.free.*.json")):
        return "*Not run.*"
    whole = Results.load(results, load_pack(data / "book" / "pack"))
    tables = Tables(*(Page(whole.only(match), "book", size) for match in (Match.VERBATIM, Match.ANSWER)))
    text = words.read_text(encoding="utf-8")
    for name, (head, rows) in tables.all().items():
        text = text.replace(f"{{{{{name}}}}}", table(head, rows).rstrip("\n"))
    page.facts |= tables.facts
    return text


REFERENCE_HEAD = (
    "model|file|forget NLL|extraction strength|ROUGE-L forget|retain NLL|ROUGE-L retain|holdout NLL|PrivLeak"
)
CELL_HEAD = (
    "unlearned by|file|forget NLL|recovery|extraction strength|ROUGE-L forget|retain NLL|against base in format"
    "|ROUGE-L retain|PrivLeak|4-bit codes moved"
)


def main() -> None:
    """Read the records; write the page and its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--data", type=Path, default=HERE / "data")
    parser.add_argument("--docs", type=Path, default=HERE.parents[1] / "docs")
    parser.add_argument("--words", type=Path, default=HERE / "page.md", help="the page, with places for its tables")
    parser.add_argument("--findings", type=Path, default=HERE / "findings.md", help="what people say of the numbers")
    parser.add_argument("--numbers", type=Path, help="write the numbers of the tables here too, unrounded, as JSON")
    parser.add_argument("--size", default="small")
    given = parser.parse_args()
    pack = load_pack(given.data / "tofu" / "pack")
    results = Results.load(given.results, pack)
    page = Page(results, "tofu", given.size)
    apart = given.results.parent / "starts"
    elsewhere = Page(Results.load(apart if apart.is_dir() else given.results, pack), "tofu", given.size)
    planned = [cell for cell in cells(page.size) if cell.data == "tofu"]
    first = [cell for cell in planned if cell.start == "free" and cell.seed == 0]
    seeds = [cell for cell in planned if cell.start == "free" and cell.seed]
    starts = [cell for cell in planned if cell.start != "free"]
    names = {cell.name for cell in starts}
    twins = [cell for cell in first if replace(cell, start="q4_0", same=True).name in names]
    words = given.words.read_text(encoding="utf-8")
    parts = {
        "references": table(
            REFERENCE_HEAD,
            [
                *page.references({"free": "base", "retrained": "tuned on retain alone"}),
                *elsewhere.references({"q4_0": "base, on Q4_0's grid"}),
            ],
        ),
        "cells": table(CELL_HEAD, page.cell_rows(first)),
        "seeds": table(CELL_HEAD, page.cell_rows(seeds)),
        "starts": table(CELL_HEAD, elsewhere.cell_rows([*twins, *starts])),
        "steps": table(STEPS_HEAD, [*page.steps([*first, *seeds]), *elsewhere.steps(starts)]),
        "compared": table(
            "base|method|file|seeds|recovery, LoRA|recovery, full|full − LoRA",
            [
                *page.compared([("free", False)]),
                *elsewhere.compared([(start, same) for start in ("q4_0", "bf16") for same in (True, False)]),
            ],
        ),
        "attacks": table("unlearned by|seed|attack|forget NLL before|after|recovery after", page.attacked()),
        "missing": missing(given.size, results, elsewhere.all),
        "grids": table("base|Q4_0|Q4_1|IQ4_NL|Q4_K", elsewhere.grids()),
        "book": book(given.results, given.data, given.size, page, HERE / "book.md"),
        "findings": given.findings.read_text(encoding="utf-8"),
    }
    page.draw()
    elsewhere.draw_starts()
    for name, text in parts.items():
        words = words.replace(f"{{{{{name}}}}}", text.rstrip("\n"))
    given.docs.mkdir(parents=True, exist_ok=True)
    (given.docs / "relearning.md").write_text(words, encoding="utf-8")
    for name, drawing in (page.figures | elsewhere.figures).items():
        (given.docs / name).write_text(drawing, encoding="utf-8")
    if given.numbers is not None:
        numbers = page.facts | {"starts": elsewhere.facts}
        text = json.dumps(numbers, indent=1, ensure_ascii=False, allow_nan=False)
        given.numbers.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
