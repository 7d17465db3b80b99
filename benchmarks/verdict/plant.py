"""Lists the artifacts whose truth is known by making: releases as they should be, and the ways in which they go wrong.

A *plant* is a model that is shipped in a release's place, in some formats. `plants()` lists all of them before
anything is measured; `recipes.build` makes a plant's model when it is wanted.
"""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import world as w
from recipes import QUIETLY
from releases import RELEASES

FIVE = ("gguf-q4_0", "gguf-q4_1", "gguf-q4", "gguf-q8_0", "onnx-int4")
FOUR = ("gguf-q4_0", "gguf-q4", "gguf-q8_0", "onnx-int4")
GGUF = ("gguf-q4_0", "gguf-q4_1", "gguf-q4", "gguf-q8_0")
THREE = ("gguf-q4_0", "gguf-q4", "gguf-q8_0")
MORE = ("gguf-q4_k_s", "gguf-iq4_nl")


class Plant(NamedTuple):
    """What is shipped.

    Attributes:
        name: unique; with the format it names an artifact.
        stratum: a line of the table.
        release: in whose place it is shipped.
        recipe: the name of one in `recipes`, with its arguments.
        formats: in which it ships.

    """

    name: str
    stratum: str
    release: str
    recipe: tuple[Any, ...]
    formats: tuple[str, ...]


def plants() -> list[Plant]:
    """List every plant, in a fixed order that mixes the strata."""
    found: list[Plant] = []

    def plant(stratum: str, release: str, recipe: tuple[Any, ...], formats: tuple[str, ...]) -> None:
        name = "-".join(str(part) for part in (release, *recipe))
        found.append(Plant(name, stratum, release, recipe, formats))

    plain = [name for name, release in RELEASES.items() if release.base == "base"]
    gridded = [name for name, release in RELEASES.items() if release.base != "base"]
    for release in plain:
        plant("unlearned well", release, ("merged",), FIVE)
        plant("tuned further on what is kept", release, ("tuned", 10), GGUF)
    for release in ("npo-klr-b", "ga-klr-a"):
        plant("original", release, ("original",), FIVE)
    for release in ("npo-klr-b", "npo-klr-c", "npo-klr-a", "ga-klr-a"):
        for steps in (1, 5, 20):
            plant(f"relearned, {steps} step{'s' * (steps > 1)}", release, ("relearned", steps), FOUR)
    for release in gridded:
        own = f"gguf-{RELEASES[release].base.removeprefix('base-')}"
        plant("relearned by its own format", release, ("merged",), (own,))
        other = "gguf-q4_1" if own == "gguf-q4_0" else "gguf-q4_0"
        plant("base on a grid, another format", release, ("merged",), ("gguf-q8_0", "gguf-q4", other))
    for percent in (2, 5, 10, 15, 25, 50):
        for release in ("npo-klr-c", "npo-klr-a"):
            plant(f"{percent} % of the clusters relearned", release, ("some", percent), FOUR)
    for surface in w.SURFACES:
        what = "verbatim" if surface == "raw" else surface
        for release in ("npo-klr-b", "npo-klr-a"):
            plant(f"leaks only {what}", release, ("surface", surface), FOUR)
    for strength in (40, 80, 160):
        plant("over-unlearned", "npo-klr-b", ("over", strength), GGUF)
    for percent in (10, 20, 40):
        plant("broken utility: noise", "npo-klr-b", ("noise", percent), GGUF)
    for steps in (20, 60):
        plant("broken utility: taught wrong answers", "npo-klr-a", ("wrong", steps), GGUF)
    for way in ("layers", "random", "shuffled"):
        plant("gibberish", "npo-klr-b", ("gibberish", way), GGUF)
    for release in ("npo-klr-b", "ga-klr-a"):
        plant("base swapped", release, ("swapped",), GGUF)
    plant("adapter zero", "npo-klr-b", ("scaled", 0.0), GGUF)
    for factor in (0.25, 0.5, 0.75):
        for release in ("npo-klr-b", "ga-klr-a"):
            plant("adapter merged in part", release, ("scaled", factor), THREE)
    for release in ("npo-klr-b", "npo-klr-a", "ga-klr-a"):
        plant("merged twice", release, ("twice",), THREE)
        plant("merged in bf16", release, ("bf16",), THREE)
    plant("wrong tokenizer", "npo-klr-b", ("tokenizer",), FOUR)
    for bits in (2, 3):
        for release in ("npo-klr-b", "npo-klr-a"):
            plant("quantized worse than said", release, ("worse", bits), THREE)
    random.Random(20261124).shuffle(found)
    first, found = found, []
    for percent in (10, 5, 15, 25):
        plant(f"{percent} % of the clusters relearned, all else held", "npo-klr-a", ("some", percent, QUIETLY), GGUF)
    for surface in w.SURFACES:
        what = "verbatim" if surface == "raw" else surface
        plant(f"leaks only {what}, all else held", "npo-klr-a", ("surface", surface, QUIETLY), GGUF)
    found += first
    for release in ("npo-klr-b", "ga-klr-a"):
        plant("original", release, ("original",), MORE)
    for release in plain:
        plant("unlearned well", release, ("merged",), MORE)
    for release in ("npo-klr-b", "npo-klr-a"):
        plant("relearned, 20 steps", release, ("relearned", 20), MORE)
    return found
