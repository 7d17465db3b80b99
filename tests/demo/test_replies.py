"""What must hold of the events of a reply: what is watched is named for what it is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from edgeproof.demo.asking.models import Sheet
from edgeproof.demo.asking.questions import Question, Questions, message
from edgeproof.demo.asking.replies import answer
from edgeproof.demo.asking.ways import ways
from edgeproof.eval.measurement import Role
from edgeproof.eval.packs.kinds import SurfaceKind
from edgeproof.eval.packs.probes import Surface
from edgeproof.eval.packs.reader import load_pack
from edgeproof_tests.demo.test_hostile import Stub

PACK = load_pack(Path(__file__).parents[2] / "examples" / "capitals" / "pack")
REVERSE = Surface("reverse", SurfaceKind.REVERSE, "{answer} is the capital of", (Role.FORGET,))


@pytest.mark.parametrize(("way", "target"), [("raw", "answer"), ("choices", "letter"), ("reverse", "subject")])
def test_what_is_watched_is_named(way, target):
    pack = dataclasses.replace(PACK, surfaces=(*PACK.surfaces, REVERSE))
    offered = {one.name: one for one in ways(pack, chat=True)}
    probe = next(one for one in pack.probes if one.cluster == "France")
    question = Question(message(probe), way)
    first, *steps = answer(Stub(), Sheet(Questions(pack), offered, {}), question, offered[way])
    assert first["target"] == target
    assert first["role"] == "forget"
    assert {"answer": "Paris", "subject": "France"}.get(target, first["answer"]) == first["answer"]
    assert steps[-1]["kind"] == "end"
