"""The questions of a pack, and which of them a typed text means."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.eval.matching.words import words
from edgeproof.eval.measurement import Role
from edgeproof.eval.packs.templates import fill

if TYPE_CHECKING:
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.packs.probes import Probe

LONGEST_QUESTION = 4000
"""Characters of a question."""


class Question(NamedTuple):
    """What the page sends.

    Attributes:
        text: the words as typed.
        way: the way's name.
        temperature: 0 for the greedy reply, as the gate asks; above 0 a sampled one.
        seed: of the sampled reply.

    """

    text: str
    way: str
    temperature: float = 0.0
    seed: int = 0


class Questions:
    """The ready-made questions of a pack, and the one that a typed text means."""

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        self._by_words: dict[str, Probe] = {}
        for probe in pack.probes:
            for text in (message(probe), plain(probe)):
                self._by_words.setdefault(_bare(text), probe)
        mentions = [(f" {_bare(probe.question)} ", probe) for probe in pack.probes if _bare(probe.question)]
        # Of several subjects in a text, the longest name is meant; what was to be forgotten before all else.
        self._mentions = sorted(mentions, key=lambda one: (one[1].role != Role.FORGET, -len(one[0])))

    def meant(self, text: str) -> tuple[Probe | None, bool]:
        """Return the probe that `text` asks, and whether in its own words; None where it names no known subject."""
        probe = self._by_words.get(_bare(text))
        if probe is not None:
            return probe, True
        inside = f" {_bare(text)} "
        return next((probe for mention, probe in self._mentions if mention in inside), None), False


def message(probe: Probe) -> str:
    """Return the user's turn in a chat."""
    return fill(probe.message, {"question": probe.question, "prompt": plain(probe)})


def plain(probe: Probe) -> str:
    """Return the text that is continued."""
    return fill(probe.template, {"question": probe.question})


def _bare(text: str) -> str:
    return " ".join(words(text))
