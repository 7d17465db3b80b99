"""`lm_eval --model edgeproof` gives what lm_eval's own `hf` gives on the same weights."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from edgeproof.cli import run
from edgeproof.contracts.errors import ArtifactError, InputError, UnsupportedError, UsageError
from edgeproof.eval.suites.lm_harness import generate_request, prefix_token, rolling_windows
from edgeproof_tests.models import save_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore"),  # lm_eval and datasets warn of their own affairs
]

TEXTS = ("the thing is in the ionic attic", "a", "he is on it, then he isn't", "naïve — 日本", "in " * 90)
PAIRS = (
    ("the thing is in", " the attic"),
    ("the thing is in ", "the attic"),
    ("", "he is on"),
    ("a\n", "a"),
    ("the <|end|> in", " it"),
    ("in " * 400, "the"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama in Hugging Face's form."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return save_model("llama", tmp_path_factory.mktemp("lm-eval") / "tiny", max_position_embeddings=128)


@pytest.fixture(scope="module")
def gguf(folder: Path) -> Path:
    """The same weights as an F32 GGUF."""
    out = folder.parent / "out"
    assert run(["--base", str(folder), "--format", "gguf-f32", "--out", str(out), "--threads", "1", "--quiet"]) == 0
    (file,) = out.glob("*.gguf")
    return file


@pytest.fixture(scope="module")
def hf(folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lm_eval.models.huggingface import HFLM

        return HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=1, max_length=127)


# llama.cpp keeps keys and values in float16, and the random model's log-probabilities are large.
TOLERANCE = {"torch": 1e-5, "llama.cpp": 5e-4}


@pytest.fixture(scope="module", params=TOLERANCE)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def ours(backend: str, folder: Path, gguf: Path) -> Iterator[Any]:
    from edgeproof.release.lm_eval_model import EdgeproofLM

    artifact = folder if backend == "torch" else gguf
    model = EdgeproofLM(str(artifact), backend=backend, threads=1, context_length=128, batch_size=1, device="cuda:0")
    yield model
    model.close()


def requests(kind: str, arguments: list[tuple[Any, ...]]) -> list[Any]:
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, one, index) for index, one in enumerate(arguments)]


def test_loglikelihoods_equal_those_of_hf(hf: Any, ours: Any, backend: str) -> None:
    asked = requests("loglikelihood", list(PAIRS))
    theirs, found = hf.loglikelihood(asked, disable_tqdm=True), ours.loglikelihood(asked)
    assert [one[0] for one in found] == pytest.approx([one[0] for one in theirs], rel=TOLERANCE[backend])
    assert [bool(one[1]) for one in found] == [bool(one[1]) for one in theirs]


def test_the_greedy_continuation_is_said_to_be_greedy(hf: Any, ours: Any) -> None:
    context = "the thing is in"
    (said,) = ours.generate_until(requests("generate_until", [(context, {"until": [], "max_gen_toks": 1})]))
    if said.strip() and "\ufffd" not in said:
        asked = requests("loglikelihood", [(context, said)])
        assert ours.loglikelihood(asked)[0][1] == hf.loglikelihood(asked, disable_tqdm=True)[0][1]


def test_rolling_loglikelihoods_equal_those_of_hf(hf: Any, ours: Any, backend: str) -> None:
    asked = requests("loglikelihood_rolling", [(text,) for text in TEXTS])
    theirs, found = hf.loglikelihood_rolling(asked, disable_tqdm=True), ours.loglikelihood_rolling(asked)
    assert found == pytest.approx(theirs, rel=TOLERANCE[backend])


def test_answers_equal_those_of_hf(hf: Any, ours: Any) -> None:
    options = {"until": ["t"], "max_gen_toks": 12, "do_sample": False}
    asked = requests("generate_until", [(text, dict(options)) for text in TEXTS])
    theirs = hf.generate_until(asked, disable_tqdm=True)
    assert ours.generate_until(asked) == theirs
    assert any(theirs)


def test_sampled_answers_differ_by_request_and_repeat_with_the_seed(ours: Any) -> None:
    asked = requests("generate_until", [("the", {"max_gen_toks": 8, "do_sample": True, "temperature": 40.0})] * 3)
    first = ours.generate_until(asked)
    assert len(set(first)) > 1
    assert ours.generate_until(asked) == first


def test_every_token_of_a_long_text_is_predicted_once() -> None:
    tokens = tuple(range(100, 123))
    windows = rolling_windows(tokens, 7, 6)
    assert [token for window in windows for token in window.continuation] == list(tokens)
    assert all(len(window.context) + len(window.continuation) <= 6 for window in windows)
    whole = (7, *tokens)
    for window in windows:
        text = window.context + window.continuation
        assert text in {whole[start : start + len(text)] for start in range(len(whole))}
    assert rolling_windows((), 7, 6) == []


def test_what_cannot_be_followed_is_refused(ours: Any) -> None:
    with pytest.raises(UnsupportedError, match="top_p"):
        generate_request(ours.backend, "the", {"do_sample": True, "temperature": 1.0, "top_p": 0.9}, 0)
    with pytest.raises(InputError, match="not a number"):
        generate_request(ours.backend, "the", {"max_gen_toks": "many"}, 0)
    with pytest.raises(InputError, match="leaves no room"):
        generate_request(ours.backend, "the", {"max_gen_toks": 128}, 0)
    with pytest.raises(UsageError, match="no prefix token"):
        prefix_token(ours.backend, 10**6)


def test_the_command_line_runs_a_task_of_ones_own(gguf: Path, tmp_path: Path) -> None:
    rows = [
        {"q": "the thing is", "choices": [" in", " on"], "gold": 0},
        {"q": "he is", "choices": [" a", " the"], "gold": 1},
    ]
    (tmp_path / "rows.json").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "task.yaml").write_text(
        "task: small\ndataset_path: json\ndataset_kwargs:\n  data_files:\n"
        f"    test: {tmp_path / 'rows.json'}\n"
        "test_split: test\noutput_type: multiple_choice\ndoc_to_text: '{{q}}'\ndoc_to_choice: '{{choices}}'\n"
        "doc_to_target: gold\nmetric_list:\n  - metric: acc\n"
    )
    words = [
        "--model", "edgeproof", "--model_args", f"artifact={gguf},threads=1", "--tasks", "small",
        "--include_path", tmp_path, "--output_path", tmp_path / "results", "--log_samples",
    ]  # fmt: skip
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "edgeproof.cli.lm_eval", *map(str, words)],
        check=False, capture_output=True, text=True, env={**os.environ, **offline}, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (results,) = (tmp_path / "results").rglob("results_*.json")
    written = json.loads(results.read_text())
    assert written["config"]["artifact_sha256"] == hashlib.sha256(gguf.read_bytes()).hexdigest()
    accuracy = written["results"]["small"]["acc,none"]
    assert accuracy in {0.0, 0.5, 1.0}
    (samples,) = (tmp_path / "results").rglob("samples_*.jsonl")
    logs = [json.loads(line) for line in samples.read_text().splitlines()]
    assert len(logs) == 2
    for log in logs:
        values = [float(one[0][0]) for one in log["resps"]]
        assert all(math.isfinite(value) and value < 0 for value in values)
        assert log["acc"] == float(values[log["doc"]["gold"]] == max(values))


def test_an_artifact_that_changes_while_it_is_measured_has_no_results(gguf: Path, tmp_path: Path) -> None:
    from edgeproof.release.lm_eval_model import EdgeproofLM

    own = tmp_path / "own.gguf"
    shutil.copy(gguf, own)
    model = EdgeproofLM(str(own), threads=1)
    assert model.get_model_info()["artifact"] == "own.gguf"
    shutil.copy(gguf, own)
    with pytest.raises(ArtifactError, match="changed while it was measured"):
        model.get_model_info()
    model.close()
    with pytest.raises(ArtifactError, match=r"nowhere.gguf does not exist"):
        EdgeproofLM(str(tmp_path / "nowhere.gguf"))


def test_without_lm_eval_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import importlib.util

    from edgeproof.cli import lm_eval as command

    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert command.main() == UnsupportedError.exit_code == 3
    assert "edgeproof[lm-eval]" in capsys.readouterr().err
