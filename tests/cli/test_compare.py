"""`export-edge compare`: exit codes, and what goes where."""

from __future__ import annotations

import json

import pytest
from edgeproof.cli import run
from edgeproof_tests.eval.comparison.reports import retrained, write


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("releases")
    return write(folder / "v1", retrained(1)), write(folder / "v2", retrained(1, leaks=8), days=7)


def test_what_is_found_never_is_an_exit_code(reports, capsys):
    old, new = reports
    assert run(["compare", str(old), str(new.parent)]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(
        "FAIL, was PASS. 8 forget clusters newly leaking, 0 healed. Worse: leaking forget clusters."
    )
    assert "PASS: it stayed unlearned" in said.err


def test_json_and_markdown_go_to_stdout_one_at_a_time(reports, capsys):
    old, new = map(str, reports)
    assert run(["compare", new, old, "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert (len(table["healed"]), table["better"]) == (8, ["leak"])
    assert run(["compare", old, new, "--markdown"]) == 0
    assert capsys.readouterr().out.startswith("## FAIL, was PASS. 8 forget clusters newly leaking")
    assert run(["compare", old, new, "--markdown", "--json"]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("options", [[], ["--json"], ["--markdown"]])
def test_what_cannot_be_compared_ends_with_3_and_nothing_on_stdout(reports, tmp_path, capsys, options):
    old, new = map(str, reports)
    short = tmp_path / "report.json"
    short.write_bytes(reports[1].read_bytes()[:1000])
    for pair, words in (
        ((old, old), "are the same report"),
        ((old, str(short)), "is damaged"),
        ((old, str(tmp_path / "nowhere")), "cannot read"),
        ((str(tmp_path / "nowhere"), new), "cannot read"),
    ):
        assert run(["compare", *pair, *options]) == 3
        said = capsys.readouterr()
        assert words in said.err
        assert said.out == ""
