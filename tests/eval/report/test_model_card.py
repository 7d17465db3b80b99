"""A model card's metadata are read back by Hugging Face's own library; the section has files, verdicts, digests."""

from __future__ import annotations

import dataclasses
import json

import edgeproof
import pytest
from edgeproof.contracts.errors import EvidenceError
from edgeproof.contracts.training import Training
from edgeproof.eval.measurement import ModelSource
from edgeproof.eval.report.context import Waived
from edgeproof.eval.report.write import write_reports
from edgeproof.eval.verdict.judge import judge
from edgeproof.eval.verdict.policy import Policy
from edgeproof_tests.eval.report.test_markdown import CONTEXT, HOSTILE, WORLD

RUN = Training("base", "OpenUnlearning", "NPO", "open-unlearning/x", "", "", 0, (("beta", 0.1),), "", "")
SOURCED = dataclasses.replace(CONTEXT, base=ModelSource("the-base", "e" * 64))


@pytest.fixture(scope="module")
def judged():
    return {
        "good": judge(WORLD.artifact(), WORLD.baseline(), Policy(), format="gguf-q4"),
        "bad": judge(WORLD.artifact(WORLD.back), WORLD.baseline(), Policy(), format="gguf-q4"),
    }


@pytest.fixture
def reports(judged, tmp_path):
    for name, judgement in judged.items():
        write_reports(judgement, dataclasses.replace(SOURCED, artifact=f"{name}.gguf"), tmp_path / name)
    return [tmp_path / "good", tmp_path / "bad"]


def test_hugging_faces_library_reads_every_result(judged, reports):
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard(edgeproof.card(reports))
    results = card.data.eval_results
    assert card.data.model_name == "the-base"
    found = {(one.dataset_args["file"], one.metric_type): one for one in results}
    for name, judgement in judged.items():
        assert found[f"{name}.gguf", "verdict"].metric_value == judgement.verdict
        for criterion in judgement.criteria:
            if criterion.upper is not None:
                assert found[f"{name}.gguf", f"{criterion.name}-upper"].metric_value == criterion.upper
    assert {one.dataset_revision for one in results} == {CONTEXT.pack_files_sha256}
    assert {one.task_type for one in results} == {"text-generation"}


def test_the_section_names_files_verdicts_and_digests(judged, reports):
    text = edgeproof.card(reports, name="mine")
    assert f"| `good.gguf` | gguf-q4 | **{judged['good'].verdict}**: {judged['good'].reason} |" in text
    assert "| `bad.gguf` | gguf-q4 | **FAIL**: it came back |" in text
    for folder in reports:
        report = json.loads((folder / "report.json").read_text())
        assert f"`{report['report_sha256'][:16]}`" in text
    assert '"name": "mine"' in text


@pytest.mark.parametrize("digest", [None, "f" * 64])
def test_the_section_tells_to_give_the_policy_that_verify_asks_for(digest, judged, tmp_path):
    write_reports(judged["good"], dataclasses.replace(SOURCED, policy_file_sha256=digest), tmp_path)
    assert ("--policy FILE" in edgeproof.card(tmp_path)) == (digest is not None)


def test_card_and_row_name_the_same_digests_of_pack_and_policy(judged, tmp_path):
    sourced = dataclasses.replace(SOURCED, training=(RUN,), versions={"edgeproof": "0.1.0"})
    write_reports(judged["good"], sourced, tmp_path / "good")
    (row,) = edgeproof.table(tmp_path / "good").rows
    text = edgeproof.card(tmp_path / "good")
    head, _, told = text[text.index("| file | sha256 | report |") :].splitlines()[:3]
    cells = dict(zip(head.strip("| ").split(" | "), told.strip("| ").split(" | "), strict=True))
    assert cells["pack, its files"] == f"`{row['pack_sha256'][:16]}`"
    assert cells["policy, its limits"] == f"`{row['policy_sha256'][:16]}`"
    (result,) = json.loads(text.split("---")[1])["model-index"][0]["results"]
    assert result["dataset"]["revision"] == row["pack_sha256"]


def test_a_waiver_stands_beside_the_verdict(judged, tmp_path):
    waived = Waived("owner", "a trial", "2026-12-31", ("leak: missed",), "f" * 64)
    write_reports(judged["bad"], dataclasses.replace(SOURCED, waived=waived), tmp_path)
    text = edgeproof.card(tmp_path)
    assert "**FAIL, waived**: it came back" in text
    assert "Waived until 2026-12-31 by owner: a trial" in text


def test_the_section_names_the_unlearning_method_once(judged, tmp_path):
    context = dataclasses.replace(SOURCED, training=(RUN,))
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        write_reports(judged["good"], context, folder)
    section = edgeproof.card(folders)
    assert section.count("Unlearned with NPO by OpenUnlearning (from open-unlearning/x; beta 0.1; seed 0).") == 1


def test_names_are_no_markup_and_end_no_metadata(judged, tmp_path):
    hostile = f"{HOSTILE}\n---\n"
    write_reports(
        dataclasses.replace(judged["bad"], pack_name=hostile), dataclasses.replace(SOURCED, artifact=hostile), tmp_path
    )
    text = edgeproof.card(tmp_path, name=hostile)
    assert text.count("\n---\n") == 1
    assert "\x1b" not in text
    index = json.loads(text.split("---\n")[1])["model-index"]
    assert len(index[0]["results"]) == 1


def test_what_is_changed_or_of_another_base_makes_no_card(judged, reports, tmp_path):
    write_reports(judged["good"], dataclasses.replace(CONTEXT, base=ModelSource("other", "1" * 64)), tmp_path / "other")
    with pytest.raises(EvidenceError, match="2 different bases"):
        edgeproof.card([reports[0], tmp_path / "other"])
    content = (reports[1] / "report.json").read_bytes()
    (reports[1] / "report.json").write_bytes(content.replace(b'"FAIL"', b'"PASS"', 1))
    with pytest.raises(EvidenceError, match="its own digest"):
        edgeproof.card(reports)
