"""`export-edge table`: exit codes, and what goes where."""

from __future__ import annotations

import json
from importlib import import_module

import edgeproof
import pytest
from edgeproof.cli import run
from edgeproof.eval.table.row import encode
from edgeproof_tests.eval.table.test_table import NAMED, WORLD, report
from edgeproof_tests.eval.test_verify import write


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return report(tmp_path_factory.mktemp("good"), WORLD.artifact(), NAMED)


def test_the_table_goes_to_stdout_and_names_of_files_to_stderr(good, tmp_path, capsys):
    assert run(["table", str(good), "--out", str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("| model | pack | method | format |")
    assert told.err == f"{next(tmp_path.iterdir())}\n"


def test_json_is_one_object_and_a_row_is_its_file(good, tmp_path, capsys):
    assert run(["table", str(good), "--out", str(tmp_path), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert encode(row) == next(tmp_path.iterdir()).read_bytes()
    assert run(["table", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == [row]


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": "edgeproof/row"}'])
def test_what_is_no_row_ends_with_3(tmp_path, text, capsys):
    (tmp_path / "row.json").write_text(text)
    assert run(["table", str(tmp_path / "row.json")]) == 3
    assert "row.json" in capsys.readouterr().err


def test_options_that_contradict_each_other_end_with_2(good, tmp_path):
    assert run(["table", str(good), "--method", "NPO"]) == 2
    assert run(["table", str(good), "--sign", str(tmp_path / "key.pem")]) == 2


def test_an_evaluation_that_was_written_by_hand_holds_and_is_said_to_be_unproved(tmp_path, capsys, monkeypatch):
    """`verify` sees that the row has the evaluation's numbers, not that anybody measured them."""
    gated = write(tmp_path)
    # A made-up file, which is no GGUF.
    monkeypatch.setattr(import_module("edgeproof.release.verify"), "_digests", lambda _file, _lora: gated.digests)
    sha256 = json.loads((tmp_path / "report/report.json").read_text())["artifact"]["sha256"]
    typed = tmp_path / "typed.json"
    typed.write_text(json.dumps({"edgeproof": {"artifact": {"m": sha256}}, "forget_quality": {"agg_value": 0.99}}))
    (row,) = edgeproof.table(tmp_path / "report", method="NPO", evaluation=typed, out=tmp_path / "rows").written
    about = {"artifact": "model.gguf", "probes": "pack", "baseline": "baseline.json", "policy": "policy.toml"}
    verify = ["verify", str(tmp_path / "report"), "--row", str(row)]
    verify += [word for name, file in about.items() for word in (f"--{name}", str(gated.root / file))]
    capsys.readouterr()
    assert run([*verify, "--evaluation", str(typed)]) == 0
    said = capsys.readouterr().err
    assert f"{row} is this report's row." in said
    assert "NOT PROVED: the evaluation" in said
    assert run(verify) == 3
    assert "forget_quality: 0.99; the report gives None" in capsys.readouterr().err
    typed.write_text(typed.read_text().replace("0.99", "0.98"))
    assert run([*verify, "--evaluation", str(typed)]) == 3
