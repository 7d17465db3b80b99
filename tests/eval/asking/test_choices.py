"""Multiple choice: every order, no letter preferred, and the leak that it can and cannot see."""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from edgeproof.contracts.backend import Score
from edgeproof.contracts.errors import PackError
from edgeproof.contracts.progress import Silent
from edgeproof.eval.asking.choices import LETTERS, Choices, rank_of_true
from edgeproof.eval.measuring.measure import measure
from edgeproof.eval.packs.reader import load_pack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from edgeproof.contracts.backend import ScoreRequest
    from edgeproof.eval.packs.pack import Pack

FACTS = {"France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Japan": "Tokyo", "Greece": "Athens", "Norway": "Oslo"}


def make(
    folder: Path, facts: dict[str, str] | None = None, surface: str = 'kind = "choices"\n', **more: object
) -> Pack:
    rows = [{"id": c, "cluster": c, "question": c, "answer": a, **more} for c, a in (facts or FACTS).items()]
    (folder / "forget.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sets = '[[set]]\nrole = "forget"\nfile = "forget.jsonl"\ntemplate = "The capital of {question} is"\n'
    (folder / "pack.toml").write_text(f'schema = 1\nname = "p"\n[[surface]]\n{surface}{sets}')
    return load_pack(folder)


def test_every_option_stands_at_every_place_once(tmp_path: Path) -> None:
    pack = make(tmp_path)
    choices = Choices(pack.probes)
    for probe in pack.probes:
        orders = choices.orders(probe, pack.surfaces[0])
        assert len(orders) == len(LETTERS)
        for option in range(len(LETTERS)):
            assert sorted(order.places[option] for order in orders) == list(range(len(LETTERS)))
        for order in orders:
            lines = order.prompt.splitlines()
            assert lines[0] == f"The capital of {probe.question} is"
            assert lines[1 + order.places[0]] == f"{LETTERS[order.places[0]]}. {probe.answer}"
            assert lines[-1] == "Answer:"
            assert len(set(lines[1:5])) == len(LETTERS)


def test_the_wrong_options_are_the_first_of_a_shuffled_pool(tmp_path: Path) -> None:
    facts = {f"country {number}": f"town {number}" for number in range(60)}
    pack = make(tmp_path, facts)
    choices = Choices(pack.probes)
    for probe in pack.probes:
        others = [answer for answer in facts.values() if answer != probe.answer]
        others.sort(key=lambda text: hashlib.sha256(f"choices {probe.id}\0{text}".encode()).digest())
        assert choices.options(probe) == (probe.answer, *others[:3])
    own = make(tmp_path, facts, decoys=["x", "y", "town 1"])
    assert set(Choices(own.probes).options(own.probes[0])[1:]) == {"x", "y", "town 1"}
    assert Choices(own.probes).options(own.probes[1])[1:] != Choices(own.probes).options(own.probes[0])[1:]


def test_nothing_is_drawn_to_say_whether_a_pack_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A pack of 6,000 probes took 9 s to read when each probe shuffled all answers for this.
    monkeypatch.setattr("edgeproof.eval.asking.choices.seeded_first", None)
    pack = make(tmp_path)
    assert [Choices(pack.probes).serve(probe) for probe in pack.probes] == [True] * len(FACTS)
    few = make(tmp_path, dict(list(FACTS.items())[:3]))
    assert [Choices(few.probes).serve(probe) for probe in few.probes] == [False] * 3


def test_a_preference_for_a_letter_cancels_and_a_tie_is_no_knowledge() -> None:
    letters = [-0.1, -3.0, -4.0, -5.0]
    blind = [[letters[(option + shift) % 4] for option in range(4)] for shift in range(4)]
    assert rank_of_true(blind) == 3, "options that cannot be told apart stand before the true one"
    knowing = [[value + (1.0 if option == 0 else 0.0) for option, value in enumerate(row)] for row in blind]
    assert rank_of_true(knowing) == 0


class Chooser:
    """Delegates to a chain; of a multiple choice it prefers the letter beside the options that it likes."""

    def __init__(self, chain: object, liked: set[str]) -> None:
        self.chain, self.liked = chain, liked
        self.info = chain.info

    def __getattr__(self, name: str) -> object:
        return getattr(self.chain, name)

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Score]:
        for request in requests:
            letter = self.chain.detokenize(request.continuation).strip()
            line = next(
                line for line in self.chain.detokenize(request.context).splitlines() if line.startswith(letter + ".")
            )
            value = np.array([-0.5 if line[3:] in self.liked else -2.0] * len(request.continuation), np.float32)
            flags = np.ones(len(value), np.bool_)
            yield Score(value, flags, np.zeros(len(value), np.int32), value, value)


def test_the_true_option_is_right_only_where_it_leads_over_all_orders(tmp_path: Path, knowing: object) -> None:
    pack = make(tmp_path)
    found = measure(pack, Chooser(knowing, {"Paris", "Rome"}), label="x", artifact_sha256="0" * 64, progress=Silent())
    own = {score.probe: score for score in found.scores}
    choices = Choices(pack.probes)
    for probe in pack.probes:
        rivals = {"Paris", "Rome"} & set(choices.options(probe)[1:])
        assert own[probe.id].right == (probe.answer in {"Paris", "Rome"} and not rivals)
        assert own[probe.id].decoys == len(LETTERS) - 1
        assert len(own[probe.id].logprobs) == len(LETTERS)
        assert own[probe.id].carried_logprob is None
        assert math.isfinite(own[probe.id].nll)


def test_too_few_wrong_options_are_an_error(tmp_path: Path, knowing: object) -> None:
    pack = make(tmp_path, dict(list(FACTS.items())[:3]))
    with pytest.raises(PackError, match="among 4 options, but the pack has 2 wrong ones"):
        measure(pack, knowing, label="x", artifact_sha256="0" * 64, progress=Silent())


def test_own_decoys_are_the_options(tmp_path: Path) -> None:
    pack = make(tmp_path, decoys=["Lyon", "Nice", "Lille"])
    assert set(Choices(pack.probes).options(pack.probes[0])) == {"Paris", "Lyon", "Nice", "Lille"}


def test_a_template_without_the_options_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackError, match=r"has no \{options\}"):
        make(tmp_path, surface='kind = "choices"\ntemplate = "{message}?"\n')
