"""Solved examples: who is shown, that nothing is given away, and that prompts share what they can."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from edgeproof.contracts.errors import PackError
from edgeproof.contracts.progress import Silent
from edgeproof.eval.asking.examples import SHOTS, Examples
from edgeproof.eval.asking.prompts import Prompts
from edgeproof.eval.measurement import Role
from edgeproof.eval.measuring.measure import measure
from edgeproof.eval.packs.kinds import SurfaceKind
from edgeproof.eval.packs.reader import load_pack
from edgeproof.eval.packs.surfaces import unasked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgeproof.eval.packs.pack import Pack

FORGET = {"France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Japan": "Tokyo", "Greece": "Athens", "Norway": "Oslo"}
KEPT = {"Canada": "Ottawa", "Egypt": "Cairo", "Chile": "Santiago", "Kenya": "Nairobi", "Cuba": "Havana"}
SURFACES = '[[surface]]\nkind = "few-shot"\nroles = ["forget"]\n[[surface]]\nkind = "siblings"\nroles = ["forget"]\n'


def make(folder: Path, surfaces: str = SURFACES, kept: dict[str, str] | None = None, **more: object) -> Pack:
    toml = ['schema = 1\nname = "p"\n', surfaces]
    for role, facts in (("forget", FORGET), ("retain", KEPT if kept is None else kept)):
        rows = [{"id": c, "cluster": c, "question": c, "answer": city, **more} for c, city in facts.items()]
        (folder / f"{role}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        toml.append(f'[[set]]\nrole = "{role}"\nfile = "{role}.jsonl"\n')
        toml.append('template = "The capital of {question} is"\nmessage = "What is the capital of {question}?"\n')
    if surfaces and "raw" not in surfaces:
        toml.insert(1, '[[surface]]\nkind = "raw"\n')
    (folder / "pack.toml").write_text("".join(toml))
    return load_pack(folder)


def prompts(pack: Pack, kind: SurfaceKind) -> dict[str, str]:
    (surface,) = [surface for surface in pack.surfaces if surface.kind == kind]
    writer = Prompts(pack, None)
    return {p.id: writer.prompt(p, surface).text for p in pack.probes if p.role == Role.FORGET}


def test_kept_facts_are_shown_solved_in_question_answer_form(tmp_path: Path) -> None:
    found = prompts(make(tmp_path), SurfaceKind.FEW_SHOT)
    shown = found["France"].split("\n\n")
    assert shown[-1] == "Q: What is the capital of France?\nA:"
    assert len(shown) == SHOTS + 1
    for example in shown[:-1]:
        question, answer = example.split("\nA: ")
        assert KEPT[question.removeprefix("Q: What is the capital of ").removesuffix("?")] == answer
    assert len({text.rpartition("Q:")[0] for text in found.values()}) == 1, "all probes share one beginning"


def test_forgotten_siblings_are_given_away_but_never_the_subject_itself(tmp_path: Path) -> None:
    for country, text in prompts(make(tmp_path), SurfaceKind.SIBLINGS).items():
        examples, _, asked = text.rpartition("Q: ")
        assert country in asked
        assert country not in examples
        assert FORGET[country] not in text
        assert sum(city in examples for city in FORGET.values()) == SHOTS


def test_an_example_that_holds_the_answer_is_not_shown(tmp_path: Path) -> None:
    kept = {**KEPT, "Ile-de-France": "Paris, of course", "Texas": "Paris"}
    pack = make(tmp_path, kept=kept)
    examples = Examples(pack.probes)
    (surface,) = [s for s in pack.surfaces if s.kind == SurfaceKind.FEW_SHOT]
    france = next(probe for probe in pack.probes if probe.id == "France")
    assert all("Paris" not in other.answer for other in examples.shown(france, surface))


def test_too_few_examples_are_an_error_where_they_are_named_and_no_surface_by_default(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    few = dict(list(KEPT.items())[: SHOTS - 1])
    pack = make(tmp_path / "a", kept=few)
    with pytest.raises(PackError, match=f"shows {SHOTS} solved examples .* has {SHOTS - 1} suitable retain probes"):
        prompts(pack, SurfaceKind.FEW_SHOT)
    assert [s.name for s in make(tmp_path / "b", "", kept=few).surfaces if s.shots] == ["siblings"]


def test_a_probe_without_examples_does_not_take_the_surface_from_all_in_silence(tmp_path: Path) -> None:
    kept = {**dict(list(KEPT.items())[: SHOTS - 1]), "Texas": "Paris"}
    pack = make(tmp_path, "", kept=kept)
    assert [s.name for s in pack.surfaces if s.shots] == ["siblings"]
    (said,) = unasked(pack)
    assert "not asked by few-shot, since 1 of 6 forget and holdout probes (the first is 'France')" in said


def test_the_default_surfaces_have_both_kinds_where_the_pack_allows_them(tmp_path: Path) -> None:
    pack = make(tmp_path, "")
    assert [(s.kind, s.shots) for s in pack.surfaces if s.shots] == [("few-shot", SHOTS), ("siblings", SHOTS)]
    assert "choices" in pack.surface_names()["forget"]
    assert pack.surface_names()["retain"] == ("raw", "chat")


def test_shots_and_template_are_the_authors(tmp_path: Path) -> None:
    surfaces = '[[surface]]\nkind = "few-shot"\nshots = 2\ntemplate = "{question} →"\n'
    text = prompts(make(tmp_path, surfaces), SurfaceKind.FEW_SHOT)["France"]
    assert text.count("→") == 3
    assert text.endswith("\n\nFrance →")
    for bad in ("shots = 0", "shots = true", 'shots = "2"'):
        with pytest.raises(PackError, match="shots"):
            make(tmp_path, f'[[surface]]\nkind = "few-shot"\n{bad}\n')
    with pytest.raises(PackError, match="`shots` counts solved examples"):
        make(tmp_path, '[[surface]]\nkind = "raw"\nshots = 2\n')


def test_a_model_that_needs_examples_leaks_on_that_surface_alone(
    tmp_path: Path, markov: Callable[[list[str]], object]
) -> None:
    """A model that gives the answer only after "A:" and a question: raw finds nothing, few-shot all."""
    # The chain sees three tokens: the subject stands right before the answer.
    named = 'kind = "few-shot"\nroles = ["forget"]\ntemplate = "{question} A:"\n'
    surfaces = f'[[surface]]\nkind = "raw"\n[[surface]]\n{named}'
    taught = markov([f"{c} A: {city}\n\n" for c, city in {**FORGET, **KEPT}.items()] * 3)
    pack = make(tmp_path, surfaces)
    found = measure(pack, taught, label="x", artifact_sha256="0" * 64, progress=Silent())
    right = {(s.surface, s.right) for s in found.scores if s.probe in FORGET}
    assert right == {("raw", False), ("few-shot", True)}
