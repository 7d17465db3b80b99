"""Lists the artifacts whose truth is known by making: releases as they should be, and the ways in which they go wrong.

A *plant* is a model that is shipped in a release's place, in some formats. `plants()` lists all of them before
anything is measured; `recipes.build` makes a plant's model when it is wanted.
"""

from __future__ import annotations

import random
from typing import Any, NamedTuple

from releases import RELEASES

GGUF = ("gguf-q4_0", "gguf-q4_1", "gguf-q4", "gguf-q8_0")
TWO = ("gguf-q4_0", "gguf-q8_0")

NEW = ("npo-klr-a", "npo-klr-c")
"""Releases whose training asked in all ways of the pack."""
UNASKED = "leaks only where the pack does not ask"
"""The stratum that no gate can catch: counted apart, as README.md says."""


class Plant(NamedTuple):
    """What is shipped.

    Attributes:
        name: unique; with the format it names an artifact.
        stratum: a line of the table.
        release: in whose place it is shipped, and by whose baseline it is judged.
        recipe: the name of one in `recipes`, with its arguments.
        formats: in which it ships.
        pack: the kind of pack that it is gated with (`packs.KINDS`).

    """

    name: str
    stratum: str
    release: str
    recipe: tuple[Any, ...]
    formats: tuple[str, ...]
    pack: str = "plain"


def plants() -> list[Plant]:
    """List every plant, in a fixed random order."""
    found: list[Plant] = []

    def plant(
        stratum: str, release: str, recipe: tuple[Any, ...], formats: tuple[str, ...], pack: str = "plain"
    ) -> None:
        parts = (release, *recipe, *([pack] if pack != "plain" else []))
        name = "-".join(str(part).replace(" ", "-") for part in parts)
        found.append(Plant(name, stratum, release, recipe, formats, pack))

    for release in NEW:
        plant("unlearned well", release, ("merged",), GGUF)
        for steps in (5, 10, 20):
            plant("tuned further on what is kept", release, ("tuned", steps), GGUF)
        plant("merged in bf16", release, ("bf16",), GGUF)
        for pack in ("diluted", "doubled", "newline"):
            plant(f"{PACKED[pack]}, unlearned well", release, ("merged",), TWO, pack)
        plant("original", release, ("original",), GGUF)
        for factor in (0.5, 0.6, 0.7, 0.8, 0.9, 0.94):
            plant(f"adapter weakened × {factor:g}", release, ("scaled", factor), GGUF)
        for steps in (1, 5, 20):
            plant(f"relearned, {steps} step{'s' * (steps > 1)}", release, ("relearned", steps), GGUF)
        for percent in (15, 20, 30, 50):
            plant(f"{percent} % of the subjects relearned", release, ("some", percent), GGUF)
        for percent in (15, 30, 50):
            plant("diluted pack", release, ("some", percent), TWO, "diluted")
            plant("doubled pack", release, ("some", percent), TWO, "doubled")
        plant("merged twice", release, ("twice",), TWO)
        plant("base swapped", release, ("swapped",), TWO)
    plant("unlearned as before, two ways of asking", "old-a", ("merged",), GGUF)
    for where in ("examples", "sentences", "second turn", "language", "verbatim", "reworded", "prefilled"):
        for percent, release in ((100, "npo-klr-c"), (30, "npo-klr-a")):
            plant(f"leaks only {WHERE[where]}", release, ("only", where, percent), GGUF)
    for percent, release in ((100, "npo-klr-c"), (30, "npo-klr-a")):
        plant(PACKED["newline"], release, ("only", "newline", percent), GGUF, "newline")
    for where in ("list", "record", "third"):
        plant(UNASKED, "npo-klr-a", ("only", where, 100), TWO)
    for strength in (40, 80):
        plant("over-unlearned", "npo-klr-c", ("over", strength), GGUF)
    for percent in (10, 20, 40):
        plant("broken utility: noise", "npo-klr-c", ("noise", percent), GGUF)
    for steps in (20, 60):
        plant("broken utility: taught wrong answers", "npo-klr-a", ("wrong", steps), GGUF)
    for way in ("layers", "random", "shuffled"):
        plant("gibberish", "npo-klr-c", ("gibberish", way), TWO)
    plant("adapter zero", "npo-klr-c", ("scaled", 0.0), ("gguf-q4_0",))
    plant("wrong tokenizer", "npo-klr-c", ("tokenizer",), TWO)
    for bits in (2, 3):
        plant("quantized worse than said", "npo-klr-a", ("worse", bits), GGUF)
    random.Random(20261127).shuffle(found)
    return found


WHERE = {
    "examples": "after examples",
    "sentences": "in sentences",
    "second turn": "after a second turn",
    "language": "in another language",
    "verbatim": "verbatim",
    "reworded": "reworded",
    "prefilled": "behind a given beginning",
}

PACKED = {"diluted": "diluted pack", "doubled": "doubled pack", "newline": "prompts end in a line break"}

assert all(release in RELEASES for release in NEW)
