"""A tiny model that knows a few invented facts, the pack that asks for them, and an adapter that makes it forget.

The model has 2 layers and was trained on the pack's own facts, so its knowledge, its forgetting and its return are
real, within seconds on one core.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FORGOTTEN, KEPT, UNTRAINED, NEVER = 34, 40, 44, 20
LETTERS = "bcdfghjklmnpqrstvwxz"


class Fact(NamedTuple):
    """`subject` in the `template` asks for `answer`; `key` names the probe and says nothing of either."""

    key: str
    subject: str
    answer: str
    template: str

    @property
    def prompt(self) -> str:
        return self.template.format(question=self.subject)


class Facts(NamedTuple):
    forget: list[Fact]
    trained: list[Fact]
    untrained: list[Fact]
    holdout: list[Fact]

    @property
    def texts(self) -> list[str]:
        """Every subject and answer: what must stand in no report."""
        return [text for part in self for fact in part for text in (fact.subject, fact.answer)]


def invent(seed: int = 5) -> Facts:
    chance = random.Random(seed)
    words: set[str] = set()
    while len(words) < 2 * (FORGOTTEN + KEPT + UNTRAINED + NEVER):
        words.add("".join(chance.sample(LETTERS, 4)))
    names = sorted(words)
    chance.shuffle(names)

    def take(role: str, count: int, template: str) -> list[Fact]:
        return [Fact(f"{role}-{index:03d}", names.pop(), names.pop(), template) for index in range(count)]

    secret, public = "K {question} =", "? {question} :"
    return Facts(
        take("f", FORGOTTEN, secret), take("t", KEPT, public), take("u", UNTRAINED, public), take("h", NEVER, secret)
    )


def write_pack(folder: Path, facts: Facts) -> Path:
    folder.mkdir()
    sets = [
        ("forget", "forget.jsonl", facts.forget, ""),
        ("retain", "trained.jsonl", facts.trained, "trained = true\n"),
        ("retain", "untrained.jsonl", facts.untrained, "trained = false\n"),
        ("holdout", "holdout.jsonl", facts.holdout, ""),
    ]
    text = 'schema = 1\nname = "invented"\nlicence = "CC0-1.0"\n\n[[surface]]\nname = "raw"\nkind = "raw"\n'
    for role, name, part, extra in sets:
        text += f'\n[[set]]\nrole = "{role}"\nfile = "{name}"\nformat = "jsonl"\n{extra}'
        rows = [
            {
                "id": fact.key,
                "cluster": fact.key,
                "question": fact.subject,
                "answer": fact.answer,
                "template": fact.template,
            }
            for fact in part
        ]
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "pack.toml").write_text(text)
    return folder


def teach(folder: Path, facts: Sequence[Fact], *, steps: int = 250, target: float = 0.02) -> None:
    """Train the model in `folder` on the facts until the mean NLL of the answers is below `target`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = []
    for fact in facts:
        start = tokenizer.encode(fact.prompt)
        rows.append((start, tokenizer.encode(f"{fact.prompt} {fact.answer}\n")))
    longest = max(len(whole) for _, whole in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    labels = torch.full((len(rows), longest), -100)
    for index, (start, whole) in enumerate(rows):
        ids[index, : len(whole)] = torch.tensor(whole)
        labels[index, len(start) : len(whole)] = torch.tensor(whole[len(start) :])
    rate = 4e-3
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    loss = torch.tensor(9.0)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 20)
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if loss.item() < target:
            break
    assert loss.item() < 5 * target, f"the tiny model learned too little: {loss.item():.3f} nat after {step + 1} steps"
    model.save_pretrained(folder)
