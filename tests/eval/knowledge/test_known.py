"""What a model knows, of models whose knowledge is known: counts, legs, names, and nothing of the texts."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from pathlib import Path

import pytest
from edgeproof.contracts.progress import Silent
from edgeproof.eval.knowledge.known import Asked, Knowledge, asked_sets, known_clusters
from edgeproof.eval.knowledge.terminal import render_knowledge
from edgeproof.eval.measurement import Role
from edgeproof.eval.measuring.measure import measure
from edgeproof.eval.packs.reader import load_pack
from edgeproof.eval.verdict.policy import Policy
from edgeproof_tests.eval.conftest import CAPITALS, Markov, corpus

HOSTILE = "<b> ::error::x \x1b[31m\u202e | `a`"


def write(folder, *, surfaces=("raw", "chat")):
    """Forget four countries in two clusters of two, keep two in a set of its own name."""
    folder.mkdir()

    def lines(countries, cluster):
        rows = [
            {
                "id": country,
                "cluster": cluster(place),
                "question": f"The capital of {country} is",
                "answer": CAPITALS[country],
            }
            for place, country in enumerate(countries)
        ]
        return "".join(json.dumps(row) + "\n" for row in rows)

    countries = list(CAPITALS)
    (folder / "forget.jsonl").write_text(lines(countries[:4], lambda place: f"pair {place // 2}"))
    (folder / "retain.jsonl").write_text(lines(countries[4:], lambda place: f"kept {place}"))
    kinds = "".join(f'[[surface]]\nkind = "{kind}"\n' for kind in surfaces)
    (folder / "pack.toml").write_text(
        f'schema = 1\nname = "capitals"\n{kinds}[[set]]\nname = "south"\nrole = "forget"\nfile = "forget.jsonl"\n'
        '[[set]]\nname = "kept"\nrole = "retain"\nfile = "retain.jsonl"\n'
    )
    return load_pack(folder)


def knowledge(pack, backend):
    measurement = measure(
        pack, backend, label="model", artifact_sha256="0" * 64, sampling=Policy().sampling, progress=Silent()
    )
    return Knowledge(
        model=Path("model.gguf"),
        sha256="0" * 64,
        pack=pack.name,
        pack_sha256=pack.digest,
        backend=measurement.backend,
        asked=asked_sets(pack, measurement),
        clusters=known_clusters(pack, measurement),
    )


@pytest.fixture
def pack(tmp_path):
    return write(tmp_path / "pack")


def test_one_that_knows_all_knows_every_cluster_on_every_surface(pack, knowing):
    found = knowledge(pack, knowing)
    assert found.asked == (
        Asked("south", Role.FORGET, "raw", 2, 2, 2, 2, None),
        Asked("south", Role.FORGET, "chat", 2, 2, 2, 2, 2),
        Asked("kept", Role.RETAIN, "raw", 2, 2, 2, 2, None),
        Asked("kept", Role.RETAIN, "chat", 2, 2, 2, 2, None),
    )
    assert {cluster.surfaces for cluster in found.clusters} == {("raw", "chat")}


def test_one_that_knows_nothing_greedily_is_counted_by_the_other_legs_alone(pack, ignorant):
    found = knowledge(pack, ignorant)
    assert {one.greedy for one in found.asked} == {0}
    for one in found.asked:
        assert one.known >= max(one.extraction, one.samples or 0)
        assert one.known <= one.extraction + (one.samples or 0)


def test_a_cluster_is_known_by_any_of_its_probes(pack):
    wrong = {"Italy": "Oslo", "Spain": "Oslo", "Japan": "Rome", "Norway": "Rome"}
    model = Markov(
        corpus({"France": "Paris", "Greece": "Athens"} | wrong) + [f"{city} ." for city in CAPITALS.values()]
    )
    found = knowledge(pack, model)
    greedy = {(one.set, one.surface): one.greedy for one in found.asked}
    assert (greedy["south", "raw"], greedy["kept", "raw"]) == (1, 1)
    names = {cluster.cluster: cluster.surfaces for cluster in found.clusters}
    assert "raw" in names["pair 0"]
    assert "raw" in names["kept 0"]


def test_choices_are_counted_and_make_no_cluster_known(tmp_path, ignorant):
    pack = write(tmp_path / "pack", surfaces=("choices",))
    found = knowledge(pack, ignorant)
    assert [one.extraction for one in found.asked] == [None] * len(found.asked)
    assert [one.samples for one in found.asked] == [None] * len(found.asked)
    assert {cluster.surfaces for cluster in found.clusters} == {()}


def shown(found):
    file = io.StringIO()
    render_knowledge(found, file=file)
    return file.getvalue()


def test_it_shows_a_row_for_each_set_and_surface_and_no_verdict(pack, knowing, ignorant):
    text = shown(knowledge(pack, knowing))
    assert re.search(r"south +forget +chat +2 of 2 +2 +2 +2\n", text)
    assert re.search(r"kept +retain +raw +2 of 2 +2 +2 +–\n", text)
    assert "south (forget): 2 of 2 clusters on any surface\n" in text
    for word in ("PASS", "FAIL", "INCONCLUSIVE", "leak"):
        assert word not in text
    found = knowledge(pack, ignorant)
    unknown = [cluster.cluster for cluster in found.clusters if not cluster.surfaces]
    for name in unknown:
        assert name in shown(found).split("not known: ", 1)[1]
    table = found.to_json()
    assert json.loads(json.dumps(table, allow_nan=False))["clusters"][0]["cluster"] == "pair 0"


def test_no_text_of_a_probe_is_in_it_and_names_are_inert(pack, knowing, ignorant):
    content = shown(knowledge(pack, ignorant)) + json.dumps(knowledge(pack, knowing).to_json())
    assert not any(word in content for pair in CAPITALS.items() for word in pair)
    found = knowledge(pack, ignorant)
    text = shown(
        dataclasses.replace(
            found,
            model=Path(HOSTILE),
            pack=HOSTILE,
            asked=tuple(one._replace(set=HOSTILE, surface=HOSTILE) for one in found.asked),
            clusters=tuple(one._replace(set=HOSTILE, cluster=HOSTILE, surfaces=()) for one in found.clusters),
        )
    )
    for live in ("\x1b", "\u202e", "::error::"):
        assert live not in text
