"""Packs that are drawn from the population, and the kinds in which they are written.

A pack that the gate sees is a random sample of the population; the truth is counted on the subjects not drawn.
Few-shot examples and carriers come from a pack's own probes, so each pack is measured by itself: there are `PACKS` of
them, and a plant is gated with the one that its name points to.
"""

from __future__ import annotations

import hashlib
import json
import random
from typing import TYPE_CHECKING, NamedTuple

import forms

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from world import Fact, Facts

PACKS = 2
FORGET, UNTRAINED, TRAINED = 100, 500, 20
"""Subjects of a pack: of the forget set, of what was kept untrained (the recommended sizes), and kept in training."""
REST = 100, 200
"""Forget and untrained retain subjects on which the truth is counted, of those that the pack did not draw."""
DOUBLED = 33
"""Forget subjects of a doubled pack; each stands in three clusters, in another wording each time."""
KINDS = ("plain", "diluted", "doubled", "newline")


class Drawn(NamedTuple):
    """A sample, and those of the rest on which the truth is counted."""

    forget: tuple[Fact, ...]
    untrained: tuple[Fact, ...]
    rest_forget: tuple[Fact, ...]
    rest_untrained: tuple[Fact, ...]


def number_of(plant: str) -> int:
    """Which pack a plant is gated with."""
    return int.from_bytes(hashlib.sha256(plant.encode()).digest()[:4], "big") % PACKS


def draw(facts: Facts, number: int, forget: int = FORGET, untrained: int = UNTRAINED) -> Drawn:
    """Draw the pack of this number."""
    chance = random.Random(f"pack {number}")
    own, kept = (chance.sample(part, len(part)) for part in (facts.forget, facts.untrained))
    rest, rest_kept = own[forget:][: REST[0]], kept[untrained:][: REST[1]]
    return Drawn(tuple(own[:forget]), tuple(kept[:untrained]), tuple(rest), tuple(rest_kept))


def write(folder: Path, facts: Facts, drawn: Drawn, kind: str) -> Path:
    """Write the pack of a sample in one of `KINDS`."""
    folder.mkdir(parents=True)
    raw = forms.NEWLINE if kind == "newline" else forms.RAW
    forget = [(fact, raw, fact.key) for fact in drawn.forget]
    if kind == "diluted":
        forget += [(fact, raw, fact.key) for fact in facts.unknown]
    if kind == "doubled":
        wordings = (forms.RAW, forms.REWORDED, forms.LANGUAGE)
        forget = [(f, words, f"{f.key}-{n}") for f in drawn.forget[:DOUBLED] for n, words in enumerate(wordings)]
    said = forms.LANGUAGE["secret"].format(s="{question}")
    sets = [
        ("forget", "forget", forget, f'carriers = ["{said}"]\n'),
        ("retain", "trained", [(fact, raw, fact.key) for fact in facts.trained[:TRAINED]], "trained = true\n"),
        ("retain", "untrained", [(fact, raw, fact.key) for fact in drawn.untrained], "trained = false\n"),
        ("holdout", "holdout", [(fact, raw, fact.key) for fact in facts.holdout], ""),
    ]
    lines = ["schema = 1", f'name = "{folder.name}"', 'licence = "CC0-1.0"', *surfaces()]
    for role, name, rows, extra in sets:
        lines.append(f'[[set]]\nrole = "{role}"\nfile = "{name}.jsonl"\nformat = "jsonl"\n{extra}')
        (folder / f"{name}.jsonl").write_text("".join(_line(*row) for row in rows))
    (folder / "pack.toml").write_text("\n".join(lines) + "\n")
    return folder


def surfaces() -> list[str]:
    """Write the surfaces: the package's defaults but for choices; a rewording and the base's other language.

    Those two are asked as plain text and in the chat, as the package advises (docs/packs.md).
    """

    def surface(name: str, kind: str, roles: Sequence[str], extra: str = "") -> str:
        listed = ", ".join(f'"{role}"' for role in roles)
        return f'[[surface]]\nname = "{name}"\nkind = "{kind}"\nroles = [{listed}]\n{extra}'

    hidden = ("forget", "holdout")
    every = ("forget", "retain", "holdout")

    def template(words: dict[str, str]) -> str:
        return f'template = "{words["secret"].format(s="{question}")}"\n'

    return [
        surface("raw", "raw", every),
        surface("chat", "chat", every),
        surface("prefix", "prefix", hidden, f'template = "{forms.INVITING}"\n'),
        surface("turns", "turns", hidden),
        surface("opening", "opening", hidden),
        surface("reworded", "paraphrase", hidden, template(forms.REWORDED)),
        surface("reworded-chat", "chat", hidden, template(forms.REWORDED_MESSAGE)),
        surface("language", "paraphrase", hidden, template(forms.LANGUAGE)),
        surface("language-chat", "chat", hidden, template(forms.LANGUAGE_MESSAGE)),
        surface("few-shot", "few-shot", hidden),
        surface("siblings", "siblings", hidden),
    ]


def _line(fact: Fact, raw: dict[str, str], cluster: str) -> str:
    row = {
        "id": cluster,
        "cluster": cluster,
        "question": fact.subject,
        "answer": fact.answer,
        "template": raw[fact.kind].format(s="{question}"),
        "message": forms.MESSAGE[fact.kind].format(s="{question}"),
    }
    return json.dumps(row) + "\n"
