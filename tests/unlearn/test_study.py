"""The study of studies/relearning on a tiny model: every stage for real, killed and gone on with, and its page."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

STUDY = Path(__file__).resolve().parents[2] / "studies" / "relearning"
CELLS = [
    "tofu.free.npo+gdr.lora.seed0",
    "tofu.q4_0.npo+gdr.full-same.seed0",
    "tofu.bf16.npo+gdr.lora-same.seed0",
    "book.free.npo+gdr.full.seed0",
    "tofu.q4_0.npo+gdr.lora-a128-survive.seed0",
]
GRIDS = ["grid.tofu.free", "grid.tofu.q4_0"]
ATTACKS = ["attack.relearn.tofu.free.npo+gdr.lora.seed0", "attack.requantize.tofu.free.npo+gdr.lora.seed0"]

pytestmark = [pytest.mark.slow, pytest.mark.torch]


def run(script, *options, code=0):
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(STUDY / script), *map(str, options)], capture_output=True, text=True, env=env, check=False
    )
    assert done.returncode == code, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def study(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    options = ("--base", base, "--work", folder / "work", "--results", folder / "results", "--size", "tiny")
    run("study.py", *options, "--cells", *CELLS, *ATTACKS, *GRIDS)
    return folder, options


def record(study, name):
    return json.loads((study[0] / "results" / f"{name}.json").read_text())


def test_every_stage_leaves_its_record(study):
    cell = record(study, CELLS[0])
    assert set(cell["artifacts"]) == {"gguf-f16", "gguf-q8_0", "gguf-q4", "gguf-q4_0", "gguf-iq4_nl", "onnx-int4"}
    assert {artifact["backend"] for artifact in cell["artifacts"].values()} == {"llama.cpp", "onnxruntime"}
    before, after = cell["unlearning"]["forget_nll"]
    assert after > before, "it unlearned"
    assert 0 < cell["artifacts"]["gguf-q4_0"]["codes"]["moved_4bit"] < 1
    relearned = record(study, ATTACKS[0])
    assert relearned["after"]["gguf-f16"]["nll"] != relearned["before"]["nll"]
    assert set(record(study, ATTACKS[1])["after"]) == {"gguf-q4_1", "gguf-iq4_nl", "gguf-q4"}


def test_what_is_there_is_not_run_again_and_what_is_missing_is(study):
    folder, options = study
    times = {path: path.stat().st_mtime_ns for path in (folder / "results").iterdir()}
    again = folder / "results" / f"{ATTACKS[1]}.json"
    content = again.read_text()
    again.unlink()
    run("study.py", *options, "--cells", *CELLS, *ATTACKS, *GRIDS)
    changed = {path for path in (folder / "results").iterdir() if path.stat().st_mtime_ns != times[path]}
    assert changed == {again}

    def numbers(text):
        return {form: artifact["nll"] for form, artifact in json.loads(text)["after"].items()}

    assert numbers(again.read_text()) == numbers(content), "made anew, it is the same"


def test_the_base_is_tuned_on_what_the_books_pack_asks_token_by_token(study):
    from edgeproof.eval.asking.tokens import encode_pack
    from edgeproof.eval.packs.reader import load_pack
    from edgeproof.runtime import backend_for, open_backend
    from edgeproof.unlearn.data.encoding import encode_set
    from edgeproof.unlearn.data.training_set import read_training_set
    from transformers import AutoTokenizer

    work = study[0] / "work"
    data, artifact = work / "data" / "book", work / "files" / "book.free" / "model-F16.gguf"
    tokenizer = AutoTokenizer.from_pretrained(work / "book.knows")
    with open_backend(backend_for(artifact), artifact, threads=1) as backend:
        asks = encode_pack(load_pack(data / "pack"), backend)
    for name in ("forget", "forget_questions", "retain_untrained", "retain_untrained_questions"):
        tuned = encode_set(read_training_set(data / f"{name}.jsonl", "training"), tokenizer, ("raw",), 1 << 20, 2048)
        own = [ask for ask in asks if ask.probe.group == name]
        assert len(own) == len(tuned) > 0
        for ask, text in zip(own, tuned, strict=True):
            asked = ask.context + ask.continuation  # of a text no more than 128 tokens behind the prompt
            assert text.ids[: len(asked)] == asked
            if name.endswith("questions"):
                assert (len(text.ids), text.answer_start) == (len(asked), len(ask.context))


def test_passages_are_unlearned_and_words_and_questions_asked(study):
    cell, known = record(study, CELLS[3]), record(study, "base.book.free")
    before, after = cell["unlearning"]["forget_nll"]
    assert after > before, "it unlearned"
    for artifacts in (cell["artifacts"], known["artifacts"]):
        for form, artifact in artifacts.items():
            assert len(artifact["nll"]) == 36, form  # six of each role, passages first
            said = [value is not None for value in artifact["rouge_f1"]]
            assert said == [form in {"gguf-f16", "gguf-q4_0"} and at % 18 < 12 for at in range(36)], form


def test_rouge_recall_is_the_share_of_the_true_answers_words(study, monkeypatch):
    from edgeproof.eval.asking.tokens import encode_pack
    from edgeproof.eval.packs.reader import load_pack
    from edgeproof.runtime import backend_for, open_backend

    monkeypatch.syspath_prepend(str(STUDY))
    probing = importlib.import_module("probing")
    work = study[0] / "work"
    artifact, pack = work / "files" / "tofu.free" / "model-F16.gguf", load_pack(work / "data" / "tofu" / "pack")

    class Talkative:
        """The real backend, but that it says more than the true answer: all of its words, and as many again."""

        def __init__(self, backend):
            self.backend = backend

        def __getattr__(self, name):
            return getattr(self.backend, name)

        def generate(self, wanted):
            asks = encode_pack(pack, self.backend)
            truths = {ask.context: self.backend.detokenize(ask.continuation) for ask in asks}
            for request in wanted:
                truth = truths[request.context]
                yield SimpleNamespace(text=truth + " beside" * len(re.findall("[a-z0-9]+", truth.lower())))

    @contextlib.contextmanager
    def opened(*args, **options):
        with open_backend(*args, **options) as backend:
            yield Talkative(backend)

    monkeypatch.setattr(probing, "open_backend", opened)
    found = probing.probe(artifact, pack, lambda _: True, 1 << 20)
    assert backend_for(artifact) == found.backend
    assert found.rouge_recall == [1.0] * len(found.nll), "every word of the true answer was said"
    assert found.rouge_f1 == pytest.approx([2 / 3] * len(found.nll)), "and half of what was said is not of it"


def test_on_the_grid_a_change_is_gone_and_one_made_through_the_rounding_is_not(study):
    grid = record(study, "base.tofu.q4_0")["artifacts"]["gguf-q4_0"]
    same, survives = (record(study, name)["artifacts"]["gguf-q4_0"] for name in (CELLS[1], CELLS[4]))
    assert survives["codes"]["moved_4bit"] > 10 * same["codes"]["moved_4bit"]

    def apart(artifact):
        return np.abs(np.subtract(artifact["nll"], grid["nll"])).mean()

    assert apart(survives) > 10 * apart(same)


def test_how_far_the_bases_lie_from_the_grids_is_measured(study):
    free, on = (record(study, name)["rounding"] for name in GRIDS)
    assert on["Q4_0"] < 1e-3
    assert free["Q4_0"] > 0.05
    assert set(free) == {"Q4_0", "Q4_1", "IQ4_NL", "Q4_K"}


def test_a_base_on_the_grid_loses_nothing_to_it_and_another_does(study):
    from gguf import GGUFReader
    from gguf.quants import dequantize

    for start, exact in (("q4_0", True), ("free", False)):
        files = study[0] / "work" / "files" / f"tofu.{start}"
        floats, codes = (
            {t.name: dequantize(t.data, t.tensor_type) for t in GGUFReader(files / f"model-{kind}.gguf").tensors}
            for kind in ("F16", "Q4_0")
        )
        found = [
            np.abs(codes[name] - weights).max() <= 2e-3 * np.abs(weights).max()
            for name, weights in floats.items()
            if "blk" in name and weights.ndim == 2
        ]
        assert all(found) if exact else not any(found)


def test_the_page_is_made_of_the_records_alone(study, tmp_path):
    folder, _ = study
    words = tmp_path / "findings.md"
    words.write_text(
        "{{references}}\n{{cells}}\n{{compared}}\n{{starts}}\n{{seeds}}\n{{steps}}\n{{attacks}}\n{{book}}\n{{missing}}\n"
    )
    options = ("--results", folder / "results", "--data", folder / "work" / "data", "--size", "tiny")
    out = []
    for name in ("first", "second"):
        run("page.py", *options, "--docs", tmp_path / name, "--words", words, "--numbers", tmp_path / "numbers.json")
        out.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert out[0] == out[1], "the same records give the same bytes"
    text = out[0]["relearning.md"].decode()
    assert "{{" not in text
    assert "`tofu.free.ga+gdr.lora.seed0`" in text, "what was not run is said"
    assert any(name.endswith(".svg") for name in out[0])
    facts = json.loads((tmp_path / "numbers.json").read_text())
    assert facts[CELLS[0]]["gguf-q4_0"]["recovery"]["estimate"] >= 0
    found = facts[CELLS[3]]["gguf-q4_0"]
    for kind, name in (("passages", "verbmem_forget"), ("questions", "knowmem_forget")):
        assert found[kind]["recovery"] is None or found[kind]["recovery"]["estimate"] >= 0
        assert 0 <= found[name] <= 1
        assert f"| {kind} |" in text
