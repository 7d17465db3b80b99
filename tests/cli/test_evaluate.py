"""`export-edge evaluate`: one plain command, two files, no verdict; each bad input with its message and exit code."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from edgeproof.cli import run
from edgeproof_tests.runtime import tiny_gguf

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = Path(__file__).resolve().parents[1] / "data" / "metrics"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model, which knows nothing."""
    return tiny_gguf.write(tmp_path_factory.mktemp("evaluate") / "tiny.gguf")


def evaluate(*words: object) -> int:
    return run(["evaluate", *map(str, words), "--threads", "1", "--quiet"])


def random_lora(path: Path) -> Path:
    name, random = "blk.0.attn_output.weight", np.random.default_rng(0)
    out, into = tiny_gguf.weights()[name].shape
    factors = tuple(random.standard_normal(shape).astype(np.float32) for shape in ((2, into), (out, 2)))
    return tiny_gguf.write_lora(path, {name: factors}, 4.0)


def test_muse_in_one_command(artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "MUSE_EVAL.json"
    code = evaluate(artifact, "--data", DATA / "muse", "--reference", "news", "--samples", 3, "--out", out, "--json")
    assert code == 0
    said = capsys.readouterr()
    shown, summed = json.loads(said.out), json.loads((tmp_path / "MUSE_SUMMARY.json").read_text())
    assert shown["metrics"] == summed
    assert {
        "forget_verbmem_ROUGE",
        "forget_knowmem_ROUGE",
        "retain_knowmem_ROUGE",
        "privleak",
        "forget_knowmem_leak",
    } <= set(summed)
    assert -100 <= summed["privleak"] <= 100
    assert "not a verdict" in said.err
    assert "PASS" not in said.err + said.out
    written = json.loads(out.read_text())
    about = written["edgeproof"]
    assert about["artifact"] == {"tiny.gguf": hashlib.sha256(artifact.read_bytes()).hexdigest()}
    assert about["data"]["verbmem/forget"]["file"] == "forget.json"
    assert about["reference"] == "news"
    assert about["backend"]["backend"] == "llama.cpp"
    assert "Four score" not in out.read_text()


def test_the_evaluation_of_a_model_is_the_reference_of_another(artifact: Path, tmp_path: Path) -> None:
    other = tiny_gguf.write(tmp_path / "retrained.gguf", tiny_gguf.weights(seed=1))
    reference, out = tmp_path / "retrained_EVAL.json", tmp_path / "TOFU_EVAL.json"
    scores = ("--data", DATA / "tofu", "--metric", "forget_truth_ratio", "--metric", "mia_min_k")
    assert evaluate(other, *scores, "--out", reference) == 0
    compared = ("--metric", "forget_quality", "--metric", "privleak", "--reference", reference)
    assert evaluate(artifact, "--data", DATA / "tofu", *compared, "--out", out) == 0
    found = json.loads((tmp_path / "TOFU_SUMMARY.json").read_text())
    assert 0 < found["forget_quality"] <= 1
    theirs = json.loads(reference.read_text())["mia_min_k"]["agg_value"]
    assert found["privleak"] == pytest.approx(100 * (theirs - found["mia_min_k"]) / (1 - theirs), abs=1e-6)


def test_answers_are_written_only_when_asked_for(artifact: Path, tmp_path: Path) -> None:
    words = (artifact, "--data", DATA / "tofu", "--metric", "wf_Q_A_ROUGE", "--out", tmp_path / "a.json")
    assert evaluate(*words) == 0
    assert "Eiffel" not in (tmp_path / "a.json").read_text()
    assert evaluate(*words, "--force", "--show-answers") == 0
    assert "Eiffel" in (tmp_path / "a.json").read_text()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--data", "DIR/nowhere"], 3, "does not exist"),
        (["--data", "forgets=DIR/tofu"], 2, "no file has the role 'forgets'"),
        (["--data", "forget="], 2, "names no file"),
        (["--data", "forget=DIR/tofu"], 3, "tofu is a folder"),
        (["--data", "DIR/tofu", "--metric", "verbmem"], 2, "TOFU has no metric 'verbmem'"),
        (["--data", "DIR/tofu", "--metric", "privleak"], 2, "--reference FILE"),
        (["--data", "DIR/tofu", "--reference", "DIR/nowhere"], 3, "cannot be read"),
        (["--data", "DIR/tofu", "--reference", "DIR/tofu/holdout01.json"], 3, "not an object"),
        (["--data", "DIR/tofu", "--prompt", "polite"], 2, "no prompt is named"),
        (["--data", "DIR/tofu", "--system", "Be good."], 2, "belongs to a chat"),
        (["--data", "MUSE", "--prompt", "chat"], 2, "MUSE has prompts of its own"),
        (["--data", "DIR/tofu", "--metric", "forget_leak"], 2, "--samples N"),
        (["--data", "DIR/tofu", "--samples", "2", "--temperature", "0"], 2, "cannot be sampled"),
        (["--data", "DIR/tofu", "--context", "40"], 3, "the context holds 40"),
        (["--data", "DIR/tofu", "--backend", "crystal"], 2, "no backend is named"),
        ([], 2, "--data"),
    ],
)
def test_bad_input(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str
) -> None:
    shutil.copytree(DATA / "tofu", tmp_path / "tofu")
    given = [word.replace("DIR", str(tmp_path)).replace("MUSE", str(DATA / "muse")) for word in words]
    assert evaluate(artifact, *given, "--out", tmp_path / "out.json") == code
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("*.json"))


def test_nothing_is_replaced_unasked(artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "TOFU_SUMMARY.json").write_text("what was here before")
    assert evaluate(artifact, "--data", DATA / "tofu", "--out", tmp_path / "TOFU_EVAL.json") == 3
    assert "TOFU_SUMMARY.json exists" in capsys.readouterr().err
    assert not (tmp_path / "TOFU_EVAL.json").exists()


def test_what_is_read_is_never_written_over(artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = shutil.copytree(DATA / "tofu", tmp_path / "tofu")
    own = Path(shutil.copy(artifact, tmp_path / "own.gguf"))
    manifest, reference = tmp_path / "own.gguf.edge.json", tmp_path / "retrained_EVAL.json"
    manifest.write_text("{}")
    reference.write_text("{}")
    for out in (data / "holdout01.json", own, manifest, reference):
        before = out.read_bytes()
        assert evaluate(own, "--data", data, "--reference", reference, "--out", out, "--force") == 2, out
        assert "is, or lies in, what is to be evaluated" in capsys.readouterr().err
        assert out.read_bytes() == before


def test_nothing_is_written_into_the_folder_that_ships(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "model-onnx"
    folder.mkdir()
    assert evaluate(folder, "--data", DATA / "tofu", "--out", folder / "TOFU_EVAL.json") == 2
    assert "lies in, what is to be evaluated" in capsys.readouterr().err
    assert not list(folder.iterdir())


def test_the_name_of_a_corpus_is_no_folder_to_keep_out_of(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("--data", DATA / "muse", "--metric", "privleak", "--reference", "news", "--out", "news/MUSE_EVAL.json")
    assert evaluate(artifact, *words) == 0


def test_a_small_number_is_not_shown_as_none(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "--data",
        DATA / "tofu",
        "--metric",
        "forget_Q_A_Prob",
        "--prompt",
        "qa-bare",
        "--out",
        tmp_path / "a.json",
    )
    assert evaluate(artifact, *words) == 0
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("forget_Q_A_Prob"))
    exact = json.loads((tmp_path / "a_SUMMARY.json").read_text())["forget_Q_A_Prob"]
    assert 0 < float(line.split()[1]) == pytest.approx(exact, rel=1e-3)


def test_artifact_and_lora_of_one_name_are_both_named(artifact: Path, tmp_path: Path) -> None:
    for name in ("base", "forget"):
        (tmp_path / name).mkdir()
    own, lora = Path(shutil.copy(artifact, tmp_path / "base" / "a.gguf")), random_lora(tmp_path / "forget" / "a.gguf")
    words = ("--data", DATA / "tofu", "--metric", "wf_Q_A_Prob", "--lora", lora, "--out", tmp_path / "TOFU_EVAL.json")
    assert evaluate(own, *words) == 0
    assert json.loads((tmp_path / "TOFU_EVAL.json").read_text())["edgeproof"]["artifact"] == {
        f"{path.parent.name}/a.gguf": hashlib.sha256(path.read_bytes()).hexdigest() for path in (own, lora)
    }


@pytest.mark.parametrize("changed", ["artifact", "lora"])
def test_a_file_that_changes_while_it_is_measured_has_no_numbers(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    from edgeproof.eval.suites import evaluation

    own = Path(shutil.copy(artifact, tmp_path / "own.gguf"))
    lora = random_lora(tmp_path / "lora.gguf")
    real = evaluation.evaluate

    def meddle(*given: object, **more: object) -> object:
        found = real(*given, **more)  # type: ignore[arg-type]
        path = {"artifact": own, "lora": lora}[changed]
        path.write_bytes(path.read_bytes())
        return found

    monkeypatch.setattr(evaluation, "evaluate", meddle)
    words = ("--data", DATA / "tofu", "--metric", "wf_Q_A_Prob", "--lora", lora, "--out", tmp_path / "TOFU_EVAL.json")
    assert evaluate(own, *words) == 3
    assert "changed while it was measured" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.json"))


def full(_: object) -> bytes:
    raise OSError(28, "No space left on device")


def interrupted(_: object) -> bytes:
    os.kill(os.getpid(), signal.SIGINT)
    return b"{}"


@pytest.mark.parametrize(
    ("fails", "code", "message"),
    [(full, 3, "No space left on device"), (interrupted, 130, "Interrupted; what has its final name is whole.")],
)
def test_what_is_cut_off_leaves_neither_of_the_two_files(
    artifact: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    fails: Callable[[object], bytes],
    code: int,
    message: str,
) -> None:
    from edgeproof.eval.suites import evaluation

    monkeypatch.setattr(evaluation, "summary_json", fails)
    words = ("--data", DATA / "tofu", "--metric", "wf_Q_A_Prob", "--out", tmp_path / "TOFU_EVAL.json")
    assert evaluate(artifact, *words) == code
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_said_before_anything_is_measured(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeproof.runtime.open_backend", None)  # whoever calls it fails
    (tmp_path / "file").write_text("")
    assert evaluate(artifact, "--data", DATA / "tofu", "--out", tmp_path / "file" / "a.json") == 3
    assert "cannot write" in capsys.readouterr().err


def test_a_missing_artifact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(tmp_path / "no.gguf", "--data", DATA / "tofu", "--out", tmp_path / "a.json") == 3
    assert "no.gguf does not exist" in capsys.readouterr().err
