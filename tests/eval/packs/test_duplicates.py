"""The same thing asked twice is one piece of evidence."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from edgeproof.contracts.errors import PackError
from edgeproof.eval.measurement import Role
from edgeproof.eval.packs.reader import load_pack

if TYPE_CHECKING:
    from pathlib import Path

    from edgeproof.eval.packs.pack import Pack


def row(identity: str, cluster: str, question: str, answer: str, **more: object) -> dict[str, object]:
    return {"id": identity, "cluster": cluster, "question": question, "answer": answer, **more}


def make(folder: Path, forget: list[dict[str, object]], retain: list[dict[str, object]] | None = None) -> Pack:
    toml = 'schema = 1\nname = "p"\n[[surface]]\nkind = "raw"\n'
    for role, rows in (("forget", forget), ("retain", retain or [])):
        if rows:
            (folder / f"{role}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
            toml += f'[[set]]\nrole = "{role}"\nfile = "{role}.jsonl"\n'
    (folder / "pack.toml").write_text(toml)
    return load_pack(folder)


def clusters(pack: Pack, role: Role) -> set[str]:
    return {fact.cluster for fact in pack.facts() if fact.role == role}


def test_the_same_question_and_answer_in_two_clusters_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="in two clusters: one thing would count twice"):
        make(
            tmp_path,
            [row("a", "A", "The capital of France is", "Paris"), row("b", "B", "The capital of France is", "paris")],
        )
    make(
        tmp_path,
        [row("a", "A", "The capital of France is", "Paris"), row("b", "A", "The capital of France is", "paris")],
    )


def test_five_countries_under_thirty_names_are_five_clusters(tmp_path: Path) -> None:
    countries = {"France": "Paris", "Japan": "Tokyo", "Spain": "Madrid", "Greece": "Athens", "Italy": "Rome"}
    rows = [
        row(f"{country}-{n}", f"{country}-{n}", f"{'so ' * n}the capital of {country} is", city)
        for country, city in countries.items()
        for n in range(6)
    ]
    pack = make(tmp_path, rows)
    assert clusters(pack, Role.FORGET) == {f"{country}-0" for country in countries}
    assert pack.asked_twice()["forget/France-3"] == "France-0"
    assert len(pack.asked_twice()) == 25


def test_retain_probes_with_one_answer_are_one_only_where_their_subject_is(tmp_path: Path) -> None:
    forget = [row("f", "F", "The capital of France is", "Paris")]
    sums = [row("s1", "S1", "2 + 2", "four"), row("s2", "S2", "1 + 3", "four")]
    assert clusters(make(tmp_path, forget, sums), Role.RETAIN) == {"S1", "S2"}
    same = [row("s1", "S1", "gold", "Au"), row("s2", "S2", "gold", "Au", template="The symbol of {question} is")]
    assert clusters(make(tmp_path, forget, same), Role.RETAIN) == {"S1"}


def test_a_cluster_that_is_part_of_a_larger_one_counts_with_it_and_overlap_alone_does_not(tmp_path: Path) -> None:
    rows = [
        row("a1", "A", "Anna's phone", "555-0143"),
        row("a2", "A", "Anna's street", "Elm Street"),
        row("b1", "B", "The phone of Anna", "555-0143"),
        row("c1", "C", "Carl's phone", "555-9999"),
        row("c2", "C", "Carl's street", "Elm Street"),
    ]
    assert clusters(make(tmp_path, rows), Role.FORGET) == {"A", "C"}


def test_groups_that_meet_in_a_third_have_one_name(tmp_path: Path) -> None:
    rows = [
        row("a", "A", "one", "x"),
        row("b", "B", "two", "y"),
        row("c1", "C", "one too", "x"),
        row("c2", "C", "two too", "y"),
    ]
    pack = make(tmp_path, rows)
    assert clusters(pack, Role.FORGET) == {"A"}
    assert pack.asked_twice() == {"forget/B": "A", "forget/C": "A"}
