"""`export-edge history`: exit codes, and what goes where."""

from __future__ import annotations

import json

from edgeproof.cli import run
from edgeproof_tests.eval.comparison.reports import retrained, write


def test_a_folder_is_shown_and_written_and_an_empty_one_ends_with_3(tmp_path, capsys):
    folder, out = tmp_path / "releases", tmp_path / "page.html"
    folder.mkdir()
    assert run(["history", str(folder), "--json"]) == 3
    said = capsys.readouterr()
    assert "holds no report.json" in said.err
    assert said.out == ""
    write(folder / "v1", retrained(1))
    (folder / "v2").mkdir()
    (folder / "v2" / "report.json").write_text("{")
    assert run(["history", str(folder), "--out", str(out), "--json"]) == 0
    said = capsys.readouterr()
    assert "PASS" in said.err
    assert "Left out: " in said.err
    table = json.loads(said.out)
    assert (len(table["releases"]), len(table["left_out"]), table["page"]) == (1, 1, str(out))
    assert out.read_bytes().startswith(b"<!doctype html>")
    assert run(["history", str(folder), "--out", str(out)]) == 3
    assert run(["history", str(folder), "--out", str(out), "--force"]) == 0
