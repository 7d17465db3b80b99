"""Multiple choice: the true answer among decoys, by letter, in as many orders as there are options.

```
What is the capital of France?
A. Berlin
B. Paris
C. Rome
D. Madrid
Answer:              | " B"        and again with each option one place further on
```
Models prefer some letters regardless of the options (arXiv 2309.03882). Over all cyclic orders every option has every
letter once, so the summed log-probabilities of an option's letters cancel that preference.
"""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.eval.matching.words import words
from edgeproof.eval.measurement import Role
from edgeproof.eval.packs.probes import Match, seeded_first, seeded_order
from edgeproof.eval.packs.templates import fill

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edgeproof.eval.packs.probes import Probe, Surface

LETTERS = "ABCD"
WRONG = len(LETTERS) - 1
"""Number of wrong options."""
TEMPLATE = "{message}\n{options}\nAnswer:"
LONGEST = 30
"""Maximum length of an option, in words."""


class Order(NamedTuple):
    """One order of the options: the prompt, and the position of each option in it, the true one first."""

    prompt: str
    places: tuple[int, ...]


class Choices:
    """Draws each probe's wrong options: its own decoys, else the answers of similar probes."""

    def __init__(self, probes: Iterable[Probe]) -> None:
        self._pools: dict[tuple[str, ...], dict[str, str]] = {}
        self._drawn: dict[str, tuple[str, ...]] = {}
        for probe in probes:
            if probe.match == Match.ANSWER and len(probe.answer.split()) <= LONGEST:
                pool = self._pools.setdefault(_like(probe), {})
                pool.setdefault(" ".join(words(probe.answer)), probe.answer)

    def options(self, probe: Probe) -> tuple[str, ...]:
        """Return the true answer and the wrong options; fewer than `LETTERS` if there are not enough."""
        if probe.id not in self._drawn:
            pool, accepted = self._pool(probe), _accepted(probe)
            wrong = seeded_first(f"choices {probe.id}", (key for key in pool if key not in accepted), WRONG)
            self._drawn[probe.id] = tuple(pool[key] for key in wrong)
        return (probe.answer, *self._drawn[probe.id])

    def serve(self, probe: Probe) -> bool:
        """Whether `probe` can be asked as a multiple choice. Draws nothing: large packs have thousands of probes."""
        accepted = _accepted(probe)
        wrong = islice((key for key in self._pool(probe) if key not in accepted), WRONG)
        return len(probe.answer.split()) <= LONGEST and sum(1 for _ in wrong) == WRONG

    def _pool(self, probe: Probe) -> Mapping[str, str]:
        """Return the candidates for the wrong options, by their words; the true answer may be among them."""
        own = {" ".join(words(text)): text for text in probe.decoys}
        shared = self._pools.get(_like(probe), {})
        if len(own) >= WRONG:
            return own
        return {**shared, **own} if own else shared

    def orders(self, probe: Probe, surface: Surface) -> tuple[Order, ...]:
        """Return all cyclic orders of the options of `probe`."""
        options = self.options(probe)
        first = seeded_order(f"places {probe.id}", map(str, range(len(options))))
        start = [int(place) for place in first]
        orders = []
        for shift in range(len(options)):
            places = tuple((place + shift) % len(options) for place in start)
            listed = sorted(range(len(options)), key=places.__getitem__)
            lines = "\n".join(f"{LETTERS[place]}. {options[index]}" for place, index in enumerate(listed))
            orders.append(Order(_prompt(probe, surface, lines), places))
        return tuple(orders)


def rank_of_true(logprobs: Sequence[Sequence[float]]) -> int:
    """Return the number of wrong options that are at least as probable as the true one, over all orders together.

    `logprobs` has one row per order, with each option's letter, the true option first.
    """
    totals = [math.fsum(row[index] for row in logprobs) for index in range(len(logprobs[0]))]
    return sum(total >= totals[0] for total in totals[1:])


def _prompt(probe: Probe, surface: Surface, lines: str) -> str:
    prompt = fill(probe.template, {"question": probe.question})
    message = fill(probe.message, {"question": probe.question, "prompt": prompt})
    values = {"question": probe.question, "prompt": prompt, "message": message, "options": lines}
    return fill(surface.template or TEMPLATE, values)


def _accepted(probe: Probe) -> set[str]:
    return {" ".join(words(text)) for text in probe.accepted}


def _like(probe: Probe) -> tuple[str, ...]:
    """Return the key of probes that share options; never-exposed probes share only among themselves."""
    return (probe.answer_type, "holdout" if probe.role == Role.HOLDOUT else "known")
