"""A forecast counts what the measurement then asks for."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from edgeproof.contracts.errors import PackError
from edgeproof.contracts.progress import Silent
from edgeproof.eval.measurement import Role, Sampling
from edgeproof.eval.measuring.forecast import forecast
from edgeproof.eval.measuring.ignorance import ignorance_levels
from edgeproof.eval.measuring.measure import measure
from edgeproof.eval.measuring.replies import base_carriers
from edgeproof.eval.packs.kinds import SurfaceKind
from edgeproof.eval.packs.probes import Surface
from edgeproof_tests.eval.measuring.test_measure import SHA, pack  # noqa: F401 (a fixture)

if TYPE_CHECKING:
    from edgeproof.eval.packs.pack import Pack

SAMPLING = Sampling(3, 1.0, 0)


class Counting(Silent):
    """Keeps how many answers each task asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[str, int] = {}

    def start(self, task: str, total: int, unit: str) -> None:  # noqa: ARG002 (the protocol's)
        self.asked[task] = total


@pytest.fixture
def turns(pack: Pack) -> Pack:  # noqa: F811
    """The pack with a surface of two turns, which needs first replies."""
    more = Surface("turns", SurfaceKind.TURNS, None, (Role.FORGET, Role.RETAIN))
    return dataclasses.replace(pack, surfaces=(*pack.surfaces, more))


@pytest.mark.parametrize("model", ["knowing", "ignorant"])
def test_every_stage_is_counted_and_no_other_is_asked(turns: Pack, model: str, request: pytest.FixtureRequest) -> None:
    backend, heard = request.getfixturevalue(model), Counting()
    carriers = base_carriers(turns, backend, progress=heard, label="m")
    ignorance_levels(turns, backend, heard, carriers=carriers)
    measure(turns, backend, label="m", artifact_sha256=SHA, progress=heard, carriers=carriers, sampling=SAMPLING)
    heard.asked["m: ignorance levels"] = heard.asked.pop("base: ignorance levels")
    found = forecast(turns, backend, carriers=carriers, sampling=SAMPLING, carrying=True, levels=True)
    foreseen = {f"m{stage.task}": stage.asks for stage in found.stages}
    most, asked = foreseen.pop("m: greedy answers"), heard.asked.pop("m: greedy answers", 0)
    assert foreseen == heard.asked
    assert asked <= most
    assert [stage.generated for stage in found.stages] == [
        stage.task.endswith(("replies", "answers")) for stage in found.stages
    ]


def test_what_is_timed_is_asked_for_in_the_measurement_too(turns: Pack, knowing: object) -> None:
    found = forecast(turns, knowing, carriers=(), sampling=None)
    scored, generated = [], []

    class Watched:
        def __getattr__(self, name):
            return getattr(knowing, name)

        def score(self, requests):
            scored.extend(requests)
            return knowing.score(requests)

        def generate(self, requests):
            generated.extend(requests)
            return knowing.generate(requests)

    measure(turns, Watched(), label="m", artifact_sha256=SHA, progress=Silent())
    assert found.scores
    assert set(found.scores) <= set(scored)
    assert found.generations


def test_a_pack_that_cannot_be_asked_is_refused_without_an_answer(turns: Pack, knowing: object) -> None:
    class Mute:
        info = knowing.info._replace(chat_template=None)

        def __getattr__(self, name):
            assert name not in {"score", "generate"}
            return getattr(knowing, name)

    with pytest.raises(PackError, match="needs a chat template"):
        forecast(turns, Mute(), carriers=(), sampling=None)
