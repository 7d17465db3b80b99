"""What must hold of the command: what it refuses, with which exit code and message, and what it says at its start."""

from __future__ import annotations

import importlib.util
import json
import shutil
import socket
from pathlib import Path
from types import SimpleNamespace

import edgeproof
import pytest
from edgeproof.cli import run
from edgeproof.demo.serving.serve import _say
from edgeproof_tests.demo.conftest import Demo


def told(capsys, code, *arguments):
    assert run(["demo", *map(str, arguments)]) == code
    return capsys.readouterr().err


def test_without_the_extra_it_says_what_to_install(monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvicorn" else find(name))
    said = told(capsys, 3)
    assert "the demo needs uvicorn" in said
    assert 'pip install "edgeproof[demo]"' in said


def test_alone_it_names_the_quickstart(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    said = told(capsys, 3)
    assert "quickstart-out/artifacts/SmolLM2-135M-Instruct-unlearned-Q4_K_M.gguf" in said
    assert "make quickstart" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("a.gguf",), "--probes and --baseline"),
        (("a.gguf", "--probes", "pack"), "--probes and --baseline"),
        (("--original", "a.gguf"), "needs an ARTIFACT"),
    ],
)
def test_missing_options_are_a_usage_error(capsys, arguments, words):
    assert words in told(capsys, 2, *arguments)


@pytest.mark.slow
@pytest.mark.torch
class TestRealFiles:
    def given(self, world, **other):
        return ["--probes", other.get("pack", world.pack), "--baseline", world.baseline, "--no-browser"]

    def test_a_file_that_is_not_there(self, world, capsys, tmp_path):
        assert "there is no " in told(capsys, 3, tmp_path / "none.gguf", *self.given(world))

    def test_a_file_that_is_no_model(self, world, capsys, tmp_path):
        (tmp_path / "a.gguf").write_text("not a GGUF")
        assert "a.gguf" in told(capsys, 3, tmp_path / "a.gguf", *self.given(world))

    def test_a_pack_of_another_model(self, world, files, capsys, tmp_path):
        pack = shutil.copytree(world.pack, tmp_path / "pack")
        facts = (pack / "forget.jsonl").read_text().splitlines()
        facts[0] = json.dumps(json.loads(facts[0]) | {"answer": "something else"})
        (pack / "forget.jsonl").write_text("\n".join(facts) + "\n")
        said = told(capsys, 3, files.shipped[0], *self.given(world, pack=pack))
        assert "recorded with another pack" in said

    def test_no_file_of_a_format_of_the_baseline(self, world, capsys, tmp_path):
        edgeproof.export(
            base=world.base, adapter=world.adapter, format=["gguf-q4_1", "gguf-f16"], out=tmp_path, threads=1
        )
        said = told(capsys, 3, *sorted(tmp_path.glob("*.gguf")), *self.given(world))
        assert "the baseline has no scores of the base in gguf-f16 (it has: gguf-q4_0, gguf-q8_0)" in said

    def test_a_file_that_is_given_twice(self, files, world, capsys):
        one = files.shipped[0]
        again = one.parent / ".." / one.parent.name / one.name
        assert "is given twice" in told(capsys, 3, one, again, *self.given(world))

    def test_a_port_that_is_taken(self, world, files, capsys):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            said = told(capsys, 3, files.shipped[0], *self.given(world), "--port", port)
        assert f"cannot serve on 127.0.0.1, port {port}: the port is taken" in said

    def test_no_browser_is_said_and_the_page_is_served(self, arguments):
        demo = Demo([one for one in arguments if one != "--no-browser"], BROWSER="/bin/false", DISPLAY="")
        assert demo.ask("GET", "")[0] == 200
        while "open the address above" not in demo.said[-1]:
            demo.said.append(demo.process.stderr.readline())
        demo.interrupt()
        assert demo.ended()[0] == 130

    def test_the_start_says_where_to_whom_and_that_texts_are_shown(self, demo):
        said = "".join(demo.said)
        assert "http://127.0.0.1:" in said
        assert "Served to this machine only." in said
        assert "shows questions and answers of the pack 'invented'; none of them is written to disk" in said


def test_names_forge_no_line_in_the_terminal(capsys):
    forged = "a\n::error::forged\x1b[2J"
    model, pack = SimpleNamespace(key="0", path=Path(forged)), SimpleNamespace(name=forged)
    _say(SimpleNamespace(models=[model], pack=pack, warnings=[forged]), "http://127.0.0.1:1/t/", "127.0.0.1")
    said = capsys.readouterr().err
    assert said.count("a\\x0a:\\:error:\\:forged\\x1b[2J") == 3
    assert not any(line.startswith("::") for line in said.splitlines())
    assert "\x1b" not in said
