"""The book's tables: MUSE's four numbers by their names, and what came back of the passages and of the questions.

VerbMem and KnowMem are ROUGE-L F1, as MUSE's. Two things differ: a greedy answer is as long as the true one (MUSE: 128
and 32 tokens at the most), and questions have no solved examples before them, since the base was tuned without.
PrivLeak is over the passages alone: the least likely 40 % of three tokens are next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analysis import FLOATS, interval, known, number
from edgeproof.eval.measurement import Role
from plan import NAMES, cells

if TYPE_CHECKING:
    from page import Page
    from plan import Cell

MUSE_HEAD = "model|file|VerbMem, forget|KnowMem, forget|KnowMem, retain|PrivLeak"
BACK_HEAD = "model|file|of|forget NLL|recovery|retain NLL|against base in format|holdout NLL|4-bit codes moved"
COMPARED_HEAD = "of|base|method|file|seeds|recovery, LoRA|recovery, full|full − LoRA"
STEPS_HEAD = "cell|steps|ended by|forget NLL|retain NLL|‖ΔW‖/‖W‖|seconds"
REFERENCES = {"base.book.free": "base", "base.book.retrained": "tuned on retain alone"}


class Tables:
    """The tables of the book, made of a page of the passages and one of the questions."""

    def __init__(self, passages: Page, questions: Page) -> None:
        self.kinds = {"passages": passages, "questions": questions}
        self.facts: dict[str, Any] = {}
        self.muse: list[list[str]] = []
        self.back: list[list[str]] = []
        for name, label in REFERENCES.items():
            self._add(name, label, passages.all.records[name], None)
        self.cells = [cell for cell in cells(passages.size) if cell.data == "book"]
        for cell in self.cells:
            record = passages.done(cell)
            if record is not None:
                self._add(cell.name, f"{cell.method} {cell.kind}", record, cell)

    def all(self) -> dict[str, tuple[str, list[list[str]]]]:
        """Return head and rows of every table, by its place in book.md."""
        return {
            "muse": (MUSE_HEAD, self.muse),
            "back": (BACK_HEAD, self.back),
            "compared": (COMPARED_HEAD, self._compared()),
            "steps": (STEPS_HEAD, self.kinds["passages"].steps(self.cells)),
        }

    def _add(self, name: str, label: str, record: dict[str, Any], cell: Cell | None) -> None:
        """Say of a base or a cell, and of each of its files, what it still says and what came back in it."""
        passages, questions = self.kinds.values()
        for form, artifact in record["artifacts"].items():
            codes = artifact.get("codes")
            fact: dict[str, Any] = {
                "verbmem_forget": known(passages.all.mean(artifact, "rouge_f1", Role.FORGET)),
                "knowmem_forget": known(questions.all.mean(artifact, "rouge_f1", Role.FORGET)),
                "knowmem_retain": known(questions.all.mean(artifact, "rouge_f1", Role.RETAIN)),
                "privleak": passages.all.privleak(artifact, "book"),
                "codes_moved": codes["moved_4bit"] if codes and codes["codes_4bit"] else None,
            }
            self.facts.setdefault(name, {})[form] = fact
            said = [number(fact[key]) for key in ("verbmem_forget", "knowmem_forget", "knowmem_retain")]
            self.muse.append([label, NAMES[form], *said, f"{fact['privleak']:+.0f}"])
            for kind, page in self.kinds.items():
                fact[kind], row = _kept(page, artifact, form, cell)
                self.back.append([label, NAMES[form], kind, *row, _share(fact["codes_moved"])])

    def _compared(self) -> list[list[str]]:
        """Compare LoRA with full fine-tuning by either kind."""
        rows = []
        for kind, page in self.kinds.items():
            rows += [[kind, *row] for row in page.compared([("free", False)])]
            if "lora against full" in page.facts:
                self.facts.setdefault("book, lora against full", {})[kind] = page.facts["lora against full"]
        return rows


def _kept(page: Page, artifact: dict[str, Any], form: str, cell: Cell | None) -> tuple[dict[str, Any], list[str]]:
    """Return one kind's numbers of a file, and what the table says of them. Without a cell there is no recovery."""
    nll = {role: page.all.mean(artifact, "nll", role) for role in (Role.FORGET, Role.RETAIN, Role.HOLDOUT)}
    fact: dict[str, Any] = {f"{role}_nll": value for role, value in nll.items()}
    fact["extraction_strength"] = page.all.mean(artifact, "strength", Role.FORGET)
    fact["exact_memorization"] = page.all.mean(artifact, "memorized", Role.FORGET)
    apart, bound = None, None
    if cell is not None:
        same = page.all.records[f"base.book.{cell.start}"]["artifacts"].get(form)
        apart = None if same is None else nll[Role.RETAIN] - page.all.mean(same, "nll", Role.RETAIN)
        found = None if form in FLOATS else page.back(cell, form)
        bound = None if found is None else interval([found])
    fact["retain_nll_minus_base"] = apart
    fact["recovery"] = None if bound is None else bound.to_json()
    return fact, [
        f"{nll[Role.FORGET]:.2f}",
        "–" if bound is None else bound.show(),
        f"{nll[Role.RETAIN]:.2f}",
        number(apart, signed=True),
        f"{nll[Role.HOLDOUT]:.2f}",
    ]


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"
