"""What a gate advises for a model that never was unlearned: longer training only where that can change something."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import edgeproof
import pytest
from edgeproof.contracts.training import Training
from edgeproof.eval.forecast.never_unlearned import with_reasoned_steps
from edgeproof.eval.measurement import Role
from edgeproof.eval.packs.reader import load_pack
from edgeproof.eval.verdict.judge import judge
from edgeproof.eval.verdict.judgement import Reason
from edgeproof.eval.verdict.policy import Policy
from edgeproof_tests.eval.worlds import Answer, World

if TYPE_CHECKING:
    from pathlib import Path

    from edgeproof.eval.measurement import Baseline
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.verdict.judgement import Judgement
    from edgeproof_tests.world import World as TaughtWorld

# Of 114 questions an answer's own one alone makes a level of 3.1 nat per token, as the base has it: no other gives it.
WORLD = World(surfaces=("raw",), ignorance=3.2)
GUESSED = World(surfaces=("raw",), ignorance=1.0)


def trained(*ended: str) -> tuple[Training, ...]:
    return tuple(
        Training("adapter", "edgeproof", "npo+gdr", "", "", "", 0, (("ended by", one),), "README.md", "ab")
        for one in ended
    )


def pack(folder: Path, world: World) -> Pack:
    """A pack of the world's probes: one template, another question for each."""
    text = 'schema = 1\nname = "capitals"\n\n[[surface]]\nname = "raw"\nkind = "raw"\n'
    for role in Role:
        rows = [fact for fact in world.facts() if fact.role == role]
        text += (
            f'\n[[set]]\nrole = "{role}"\nfile = "{role}.jsonl"\nformat = "jsonl"\ntemplate = "Of {{question}} is"\n'
        )
        lines = [
            {"id": fact.probe, "cluster": fact.cluster, "question": f"q {fact.probe}", "answer": f"a {fact.probe}"}
            for fact in rows
        ]
        (folder / f"{role}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "pack.toml").write_text(text)
    return load_pack(folder)


def never(world: World, cost: float = 0.0) -> tuple[Judgement, Baseline]:
    """A judgement of a file whose merged model gives half of the clusters away, at `cost` nat per kept token."""

    def half(fact, surface):
        leaks = fact.role == Role.FORGET and int(fact.cluster.split()[1]) % 2 == 0
        answer = world.base(fact, surface) if leaks else world.merged(fact, surface)
        return replace(answer, nll=answer.nll + cost) if fact.role == Role.RETAIN else answer

    baseline = world.baseline(merged=half)
    judgement = judge(world.artifact(half), baseline, Policy(), format="gguf-q4")
    assert judgement.reason == Reason.NEVER_UNLEARNED
    return judgement, baseline


@pytest.mark.parametrize("ended", ["forget target", "survives"])
def test_after_a_reached_target_no_longer_training_is_advised(tmp_path, ended):
    judgement, baseline = never(WORLD)
    assert any("--epochs 40" in step for step in judgement.next_steps)
    found = with_reasoned_steps(judgement, pack(tmp_path, WORLD), baseline, trained("all steps", ended))
    assert not any("--epochs 40" in step for step in found.next_steps)
    stop, asked, check, *rest = found.next_steps
    assert (stop, *rest) == (judgement.next_steps[0], *judgement.next_steps[2:])
    assert asked.startswith("Training ended on its target: more --epochs or --steps change nothing.")
    assert "export-edge unlearn" in asked
    assert "--probes PACK" in asked
    assert check.endswith("export-edge pack check PACK --base BASE --format gguf-q4")


def test_guessable_answers_are_named_only_where_they_leak_and_come_before_longer_training(tmp_path):
    judgement, baseline = never(GUESSED)
    found = with_reasoned_steps(judgement, pack(tmp_path, GUESSED), baseline, trained("all steps"))
    leave, then = found.next_steps[1:3]
    assert "(f0-0, f0-1, f10-0, f10-1, f12-0 and " in leave
    assert "export-edge pack check PACK" in leave
    assert then == f"Then, if others leak: {judgement.next_steps[1]}"


def test_holdout_that_the_base_gives_away_is_guessable(tmp_path):
    def told(fact, surface):
        return Answer(0.1, right=True) if fact.probe == "h3" else WORLD.in_format(fact, surface)

    judgement, _ = never(WORLD)
    baseline = WORLD.baseline(in_format=told)
    found = with_reasoned_steps(judgement, pack(tmp_path, WORLD), baseline, trained("forget target"))
    assert "out of the pack (h3): the base gives these answers without having been told" in found.next_steps[1]
    assert "Training ended on its target" in found.next_steps[2]


@pytest.mark.parametrize("training", [(), trained("all steps")])
def test_else_longer_training_is_advised(tmp_path, training):
    judgement, baseline = never(WORLD)
    assert with_reasoned_steps(judgement, pack(tmp_path, WORLD), baseline, training) is judgement


def test_where_unlearning_costs_too_much_too_one_training_is_advised(tmp_path):
    """Longer alone would cost more, gentler alone would forget less."""
    judgement, baseline = never(WORLD, cost=1.0)
    assert judgement.also == (Reason.UTILITY_LOST,)
    stop, longer, record = judgement.next_steps
    assert longer.startswith("Unlearning forgot too little and costs too much: unlearn longer, with a larger retain")
    assert "--epochs 40 --retain-weight 5" in longer
    assert "export-edge baseline" in record
    assert with_reasoned_steps(judgement, pack(tmp_path, WORLD), baseline, trained("all steps")) is judgement
    found = with_reasoned_steps(judgement, load_pack(tmp_path), baseline, trained("forget target"))
    assert found.next_steps[0] == stop
    assert found.next_steps[1].startswith("Training ended on its target: more --epochs or --steps change nothing. ")
    assert "--probes PACK --retain-weight 5" in found.next_steps[1]
    assert found.next_steps[-1] == record
    assert not any("--epochs 40" in step or "more gently" in step for step in found.next_steps)


def test_guessable_answers_do_not_put_off_what_unlearning_costs(tmp_path):
    judgement, baseline = never(GUESSED, cost=1.0)
    found = with_reasoned_steps(judgement, pack(tmp_path, GUESSED), baseline, trained("all steps"))
    assert "export-edge pack check PACK" in found.next_steps[1]
    assert found.next_steps[2] == f"Then: {judgement.next_steps[1]}"


def test_another_reason_keeps_its_steps(tmp_path):
    judgement = judge(GUESSED.artifact(), GUESSED.baseline(), Policy(), format="gguf-q4")
    assert with_reasoned_steps(judgement, pack(tmp_path, GUESSED), GUESSED.baseline(), trained("survives")) is judgement


@pytest.mark.slow
@pytest.mark.torch
def test_the_gate_takes_from_the_manifest_how_training_ended_and_verify_does(world: TaughtWorld, tmp_path: Path):
    model = shutil.copytree(world.base, tmp_path / "model")
    (model / "README.md").write_text(
        "| recipe | |\n|---|---|\n| method | npo+gdr |\n| ended by | forget target |\n| seed | 0 |\n"
    )
    baseline, form = tmp_path / "baseline.json", "gguf-q8_0"
    edgeproof.record_baseline(base=world.base, unlearned=model, format=form, probes=world.pack, out=baseline, threads=1)
    made = edgeproof.export(base=model, format=form, out=tmp_path, threads=1)
    artifact, inputs = made.artifacts[0].path, {"probes": world.pack, "baseline": baseline}
    gated = edgeproof.gate(artifact, **inputs, report=tmp_path / "report", threads=1)
    assert Reason.NEVER_UNLEARNED in {gated.reason, *gated.judgement.also}
    steps = " ".join(gated.judgement.next_steps)
    assert "Training ended on its target: more --epochs or --steps change nothing." in steps
    assert "--epochs 40" not in steps
    # `verify` computes these steps again, and finds them equal.
    assert edgeproof.verify(tmp_path / "report", artifact=artifact, **inputs).reason == gated.reason
