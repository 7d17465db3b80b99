"""Lists the artifacts whose truth is known by making: releases as they should be, and the ways in which they go wrong.

A *plant* is a model that is shipped in a release's place, in some formats. `plants()` lists all of them before
anything is measured; `recipes.build` makes a plant's model when it is wanted.
"""

from __future__ import annotations

import random
from typing import Any, NamedTuple

from releases import RELEASES

FIVE = ("gguf-q4_0", "gguf-q4_1", "gguf-q4", "gguf-q8_0", "onnx-int4")
FOUR = ("gguf-q4_0", "gguf-q4", "gguf-q8_0", "onnx-int4")
GGUF = ("gguf-q4_0", "gguf-q4_1", "gguf-q4", "gguf-q8_0")
THREE = ("gguf-q4_0", "gguf-q4", "gguf-q8_0")

NEW = ("npo-klr-a", "npo-klr-b", "npo-klr-c", "ga-klr-a")
"""Releases by the default training."""
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
        plant("unlearned well", release, ("merged",), FIVE)
        plant("tuned further on what is kept", release, ("tuned", 10), GGUF)
        plant("merged in bf16", release, ("bf16",), THREE)
    plant("relearned by its own format", "q4_0-alpha-24", ("merged",), ("gguf-q4_0",))
    plant("base on a grid, another format", "q4_0-alpha-24", ("merged",), ("gguf-q8_0", "gguf-q4", "gguf-q4_1"))
    plant("original", "npo-klr-a", ("original",), FIVE)
    plant("original", "ga-klr-a", ("original",), THREE)
    for release in ("old-a", "old-b"):
        plant("unlearned as before, two ways of asking", release, ("merged",), FOUR)
    for factor in (0.5, 0.6, 0.7, 0.8, 0.9, 0.94):
        for release in ("npo-klr-a", "ga-klr-a", "npo-klr-c"):
            plant(f"adapter weakened × {factor:g}", release, ("scaled", factor), THREE)
    for release in ("npo-klr-b", "ga-klr-a", "npo-klr-c"):
        for steps in (1, 5, 20):
            plant(f"relearned, {steps} step{'s' * (steps > 1)}", release, ("relearned", steps), THREE)
    for percent in (15, 20, 30, 50):
        for release in ("npo-klr-a", "npo-klr-c"):
            plant(f"{percent} % of the subjects relearned", release, ("some", percent), FOUR)
    for where in ("examples", "sentences", "second turn", "language", "verbatim", "reworded", "prefilled"):
        for percent, release in ((100, "npo-klr-b"), (50, "npo-klr-c"), (25, "npo-klr-a")):
            formats = FOUR if where in {"examples", "sentences", "second turn", "language"} else THREE
            plant(f"leaks only {WHERE[where]}", release, ("only", where, percent), formats)
    for where in ("list", "record", "third"):
        plant(UNASKED, "npo-klr-a", ("only", where, 100), ("gguf-q4_0", "gguf-q4"))
    for percent in (15, 30, 50):
        plant("diluted pack", "npo-klr-a", ("some", percent), GGUF, "diluted")
        plant("doubled pack", "npo-klr-a", ("some", percent), GGUF, "doubled")
    for pack in ("diluted", "doubled"):
        plant(f"{pack} pack, unlearned well", "npo-klr-a", ("merged",), GGUF, pack)
    for percent in (30, 100):
        plant("prompts end in a line break", "npo-klr-a", ("only", "newline", percent), GGUF, "newline")
    plant("prompts end in a line break, unlearned well", "npo-klr-a", ("merged",), THREE, "newline")
    for strength in (40, 80):
        plant("over-unlearned", "npo-klr-b", ("over", strength), THREE)
    for percent in (10, 20, 40):
        plant("broken utility: noise", "npo-klr-b", ("noise", percent), THREE)
    for steps in (20, 60):
        plant("broken utility: taught wrong answers", "npo-klr-a", ("wrong", steps), THREE)
    for way in ("layers", "random", "shuffled"):
        plant("gibberish", "npo-klr-b", ("gibberish", way), ("gguf-q4_0", "gguf-q8_0"))
    for release in ("npo-klr-b", "ga-klr-a"):
        plant("base swapped", release, ("swapped",), THREE)
        plant("merged twice", release, ("twice",), THREE)
    plant("adapter zero", "npo-klr-b", ("scaled", 0.0), ("gguf-q4_0",))
    plant("wrong tokenizer", "npo-klr-b", ("tokenizer",), ("gguf-q4_0", "gguf-q8_0"))
    for bits in (2, 3):
        for release in ("npo-klr-b", "npo-klr-a"):
            plant("quantized worse than said", release, ("worse", bits), THREE)
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

assert all(release in RELEASES for release in NEW)
