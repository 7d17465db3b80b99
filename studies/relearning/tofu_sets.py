"""Chooses the study's questions from TOFU's published files and writes them as training sets and as a probe pack.

    python studies/relearning/tofu_sets.py --tofu FOLDER [--out studies/relearning/data/tofu]

| set | authors | questions each | the base is tuned on it | unlearning is given it |
|---|---|---|---|---|
| forget | 20 of forget10 | 2 | yes | as what to forget |
| retain, trained | 10 | 2 | yes | as what to keep |
| retain, untrained | the same 10 | 2 others | yes | no: what unlearning does to what it was not shown |
| holdout | 10 others | 2 | no | no |
| related | the 20 of forget | 1 other | no | no: the attack's innocent text |

Of each author the questions are drawn (by hash, so that anybody draws the same) from the six with the shortest answers
that have at least 8 words and do not begin with yes or no. TOFU (locuslab, MIT licence): arXiv 2401.06121.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from pack_sets import SETS

HERE = Path(__file__).resolve().parent
PER_AUTHOR = 20
"""Questions of one author stand in a row in TOFU's files."""
LEAST_WORDS = 8
SHORTEST = 6
TEMPLATE = "Question: {question}\nAnswer:"

PACK = (
    """\
schema = 1
name = "relearning-tofu"
description = "TOFU authors: 20 to forget, 10 to keep (questions not shown to unlearning), 10 never exposed"
licence = "MIT (locuslab/tofu)"
"""
    + SETS
)


class Share(NamedTuple):
    """Which authors of which file, and which of an author's drawn questions, make a set."""

    file: str
    authors: range
    drawn: slice


SHARES = {
    "forget": Share("forget10_task1_perturbed.json", range(20), slice(0, 2)),
    "retain_trained": Share("retain_perturbed.json", range(10), slice(0, 2)),
    "retain_untrained": Share("retain_perturbed.json", range(10), slice(2, 4)),
    "holdout": Share("retain_perturbed.json", range(10, 20), slice(0, 2)),
    "related": Share("forget10_task1_perturbed.json", range(20), slice(2, 3)),
}
"""`related`: one further question of each forget author, for the attack by benign relearning; never tuned on."""


def chosen(folder: Path, name: str) -> list[dict[str, str]]:
    """Return the rows of a set: id, cluster, question, answer and template."""
    share = SHARES[name]
    text = (folder / share.file).read_text(encoding="utf-8")
    rows = json.loads(text) if text.lstrip().startswith("[") else [json.loads(row) for row in text.splitlines() if row]
    found = []
    for author in share.authors:
        own = rows[author * PER_AUTHOR : (author + 1) * PER_AUTHOR]
        good = [
            (index, row)
            for index, row in enumerate(own)
            if len(row["answer"].split()) >= LEAST_WORDS
            and row["answer"].split()[0].strip(",.").lower() not in {"yes", "no"}
        ]
        good = sorted(good, key=lambda pair: len(pair[1]["answer"].split()))[:SHORTEST]
        good.sort(key=lambda pair: hashlib.sha256(pair[1]["question"].encode()).digest())
        cluster = f"{share.file.partition('_')[0]}-{author:02}"
        drawn = good[share.drawn]
        if len(drawn) < share.drawn.stop - share.drawn.start:
            raise SystemExit(f"author {author} of {share.file} has only {len(good)} questions that fit")
        found += [
            {
                "id": f"{cluster}-{index:02}",
                "cluster": cluster,
                "question": row["question"].strip(),
                "answer": row["answer"].strip(),
                "template": TEMPLATE,
            }
            for index, row in drawn
        ]
    return found


def main() -> None:
    """Write the sets, and the pack that asks them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tofu", type=Path, required=True, help="folder of TOFU's perturbed files")
    parser.add_argument("--out", type=Path, default=HERE / "data" / "tofu")
    given = parser.parse_args()
    pack = given.out / "pack"
    pack.mkdir(parents=True, exist_ok=True)
    for name in SHARES:
        rows = chosen(given.tofu, name)
        if name != "holdout":
            _write(given.out / f"{name}.jsonl", rows)
        if name in {"forget", "retain_untrained", "holdout"}:
            _write(pack / f"{name}.jsonl", rows)
        print(f"{name}: {len(rows)} questions")
    (pack / "pack.toml").write_text(PACK, encoding="utf-8")


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
