"""The probe, built for this machine, against our own llama.cpp backend: the same numbers, tokens and texts."""

from __future__ import annotations

import json
import shlex
import subprocess

import numpy as np
import pytest
from edgeproof.contracts.backend import GenerateRequest, ScoreRequest
from edgeproof.contracts.errors import ArtifactError, BackendError
from edgeproof.runtime.llama.backend import LlamaCpp
from edgeproof.runtime.probe.backend import Probe
from edgeproof.runtime.probe.launch import Launch
from edgeproof_tests.runtime import tiny_gguf

pytestmark = pytest.mark.official

CLOSE = 1e-5
"""In nat: logits are equal bit for bit; the probe adds probabilities up in float64, the backend in float32."""


@pytest.fixture(scope="module")
def program():
    from edgeproof_tests.official.probe import build_probe

    return build_probe()


def launch(command, model, journal=""):
    return Launch(list(map(str, command)), str(model), str(journal), "this machine", {})


@pytest.fixture(scope="module", params=["F32", "Q4_K_M", "Q8_0"])
def backends(request, tiny_file, program, tmp_path_factory):
    if request.param == "F32":
        model = tiny_gguf.write(tmp_path_factory.mktemp("probe") / "tiny.gguf")
    else:
        model = tiny_file(request.param)
    with Probe(model, launch([program], model), threads=1) as probe, LlamaCpp(model, threads=1) as own:
        yield probe, own


def test_scores_are_those_of_our_own_backend(backends, mixed_requests):
    probe, own = backends
    for found, expected in zip(probe.score(mixed_requests), own.score(mixed_requests), strict=True):
        assert np.abs(found.logprobs - expected.logprobs).max() <= CLOSE
        assert (found.greedy == expected.greedy).all()
        assert (found.ranks == expected.ranks).all()
        assert np.allclose(found.mean, expected.mean, atol=1e-4)
        assert np.allclose(found.std, expected.std, atol=1e-4)


def generations(requests):
    return [
        GenerateRequest(request.context[:100], 20, stop, temperature, seed, special=special)
        for seed, request in enumerate(requests[:9])
        for stop in ((), ("e", "?"))
        for temperature in (0.0, 1.0)
        for special in (False, True)
    ]


def test_generations_are_the_same_token_for_token(backends, mixed_requests):
    probe, own = backends
    asked = generations(mixed_requests)
    assert list(probe.generate(asked)) == list(own.generate(asked))


def test_it_says_what_computed_and_proves_the_file_by_its_digest(backends, program, tmp_path):
    probe, own = backends
    assert probe.info.options["served file, shown"] == "its sha256"
    assert probe.info.options["computed on"].startswith("CPU, probe variant host: CPU : ")
    assert probe.info.options["speed at the start"].endswith(" MB")
    assert probe.info.tokenizer_digest == own.info.tokenizer_digest
    here, there = (tiny_gguf.write(tmp_path / f"{seed}.gguf", tiny_gguf.weights(seed)) for seed in (0, 1))
    with pytest.raises(ArtifactError, match="the probe has another file: sha256"):
        Probe(here, launch([program], there))


def spoken(program, *lines):
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    run = subprocess.run([str(program)], input=text, capture_output=True, text=True, check=False)
    return run.returncode, [json.loads(line) for line in run.stdout.splitlines()]


def test_every_error_is_a_line_and_an_exit_status(program, tmp_path):
    model = tiny_gguf.write(tmp_path / "tiny.gguf")
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(model.read_bytes()[:100_000])
    opening = {"open": {"model": str(model)}}
    for lines, told in (
        (['{"secret": '], "a line that is no request"),
        ([opening, {"score": {}}], "a line that is no request"),
        ([{"dance": 1}], "a line of no known kind"),
        ([{"id": 3, "score": {"context": [1], "continuation": [2]}}], "no model is open"),
        ([{"open": {"model": str(tmp_path / "none.gguf")}}], "cannot open the model: No such file or directory"),
        ([{"open": {"model": str(cut)}}], "llama.cpp cannot load the model"),
        ([{"open": {"model": str(model), "journal": "/no/such/journal"}}], "cannot open the journal: No such file"),
        ([opening, {"id": 3, "score": {"context": [1], "continuation": [99999]}}], "a token that the vocabulary"),
        ([opening, {"id": 3, "score": {"context": [], "continuation": [1]}}], "a request without tokens"),
        ([opening, {"id": 3, "generate": {"context": [1], "max_tokens": 0}}], "a generation of impossible length"),
    ):
        code, said = spoken(program, *lines)
        assert code == 3
        assert told in said[-1]["error"]
        assert "secret" not in json.dumps(said)


def test_it_tokenizes_and_spells_as_our_own_backend_does_without_loading_weights(program, tiny_file):
    model = tiny_file("Q8_0")
    texts = ("", "Paris is the capital.", "<|im_start|>user\nAre you sure?<|im_end|>\n", "  Łódź, 東京 🗼", "e" * 300)
    lines = [{"tokenize": {"text": text}} for text in texts]
    code, said = spoken(program, {"open": {"model": str(model), "vocabulary_only": True}}, *lines)
    assert code == 0
    with LlamaCpp(model, threads=1) as own:
        expected = [list(own.tokenize(text, special=False, parse_special=True)) for text in texts]
        assert [one["tokens"] for one in said[1:]] == expected
        asked = [{"spell": {"tokens": [*tokens, own.info.eos], "special": True}} for tokens in expected]
    code, said = spoken(program, {"open": {"model": str(model), "vocabulary_only": True}}, *asked)
    assert code == 0
    assert [bytes.fromhex(one["bytes"]).decode().strip() for one in said[1:]] == [text.strip() for text in texts]
    code, said = spoken(
        program,
        {"open": {"model": str(model), "vocabulary_only": True}},
        {"id": 0, "score": {"context": [1], "continuation": [2]}},
    )
    assert (code, said[-1]) == (3, {"error": "only the vocabulary is open", "id": 0})


def test_a_stop_string_counts_after_white_space_of_any_kind(tmp_path):
    """The caller cuts at a stop string after what `str.isspace` says: a probe that stops earlier is of no use to it."""
    source = tmp_path / "space.cpp"
    source.write_text(
        '#include "white_space.h"\n#include <iostream>\n'
        "int main() { for (std::string line; std::getline(std::cin, line);) std::cout << white_space(line) << '\\n'; }"
    )
    from edgeproof_tests.official.build import compiler
    from edgeproof_tests.official.probe import SOURCES

    built = source.with_suffix("")
    subprocess.run([compiler(), "-std=c++17", f"-I{SOURCES}", str(source), "-o", str(built)], check=True)
    texts = [chr(code) + "x" for code in range(0x11000) if chr(code) != "\n" and not 0xD800 <= code < 0xE000]
    found = subprocess.run([str(built)], input="\n".join(texts).encode(), capture_output=True, check=True).stdout
    expected = [len(text[0].encode()) if text[0].isspace() else 0 for text in texts]
    assert list(map(int, found.split())) == expected


def test_a_probe_that_dies_or_is_none_is_an_error(tiny_file):
    model = tiny_file("Q8_0")
    with pytest.raises(BackendError, match="cannot start the probe"):
        Probe(model, launch(["/no/such/program"], model))
    with pytest.raises(BackendError, match="ended in the middle of its work: it ended with 1"):
        Probe(model, launch(["false"], model))
    with pytest.raises(BackendError, match="sent a line of 6 bytes that is no JSON object"):
        Probe(model, launch(["sh", "-c", "read line; echo hello; read line"], model))
    with pytest.raises(ArtifactError, match=r"the probe: llama\.cpp cannot load the model"):
        Probe(
            model, launch(["sh", "-c", """echo '{"error": "llama.cpp cannot load the model: cut"}'; exit 3"""], model)
        )
    with pytest.raises(BackendError, match="gave no answer within 1 s"):
        Probe(model, launch(["sleep", "60"], model), patience=1)


def test_a_probe_that_computes_elsewhere_or_makes_no_sense_is_an_error(tiny_file, program, tmp_path):
    model, liar = tiny_file("Q8_0"), tmp_path / "liar"
    for lie, told in (
        ('s/\\["CPU"\\]/["CPU","Vulkan0"]/', "computes on CPU, Vulkan0, not on the CPU alone"),
        ('s/"sha256":"[0-9a-f]*"/"sha256":"00"/', "another file: sha256 00"),
        ('s/"vocabulary":[0-9]*/"vocabulary":3/', "names another vocabulary"),
    ):
        liar.write_text(f"#!/bin/sh\n{shlex.quote(str(program))} | sed -u '{lie}'\n")
        liar.chmod(0o700)
        with pytest.raises((ArtifactError, BackendError), match=told):
            Probe(model, launch([liar], model))
    for lie, told in (
        ('s/"logprobs":\\[[^,]*/"logprobs":[0.5/', "is a log-probability of 0.5"),
        ('s/"ranks":\\[[^]]*/"ranks":[0/', "has not 5 tokens"),
        ('s/"greedy":\\[[^,]*/"greedy":[1/', "does not say which tokens are the most probable"),
    ):
        liar.write_text(f"#!/bin/sh\n{shlex.quote(str(program))} | sed -u '/\"id\":0/{lie}'\n")
        with Probe(model, launch([liar], model)) as probe, pytest.raises(BackendError, match=told):
            list(probe.score([ScoreRequest((1, 2), (3, 4, 5, 6, 7))]))


def test_memory_is_bounded_and_told(program, tmp_path):
    model = tiny_gguf.write(tmp_path / "tiny.gguf")
    score = {"context": list(range(200)), "continuation": [1, 2, 3]}
    _, said = spoken(program, {"open": {"model": str(model)}}, *[{"id": i, "score": score} for i in range(20)],
                     {"usage": True})  # fmt: skip
    usage = said[-1]["usage"]
    assert 0 < usage["peak_rss"] < 2**28
    assert usage["tokens"] >= 20 * 202
    assert usage["seconds"] > 0


def test_a_killed_run_goes_on_where_it_stopped(program, tmp_path, tiny_file, mixed_requests):
    model, journal = tiny_file("Q4_K_M"), tmp_path / "answers"
    asked, continued = mixed_requests[:30], generations(mixed_requests)[:20]
    with Probe(model, launch([program], model)) as probe:
        expected = [score.logprobs.tolist() for score in probe.score(asked)], list(probe.generate(continued))
    with Probe(model, launch([program], model, journal)) as probe:
        for _ in zip(range(10), probe.score(asked), strict=False):
            pass
        list(probe.generate(continued[:11]))  # killed in the middle of a wave: `close` kills
    whole = journal.read_bytes()
    assert journal.stat().st_mode & 0o777 == 0o600
    journal.write_bytes(whole[:-7])  # the last line was cut short
    kept = whole.count(b"\n") - 2
    with Probe(model, launch([program], model, journal)) as probe:
        assert probe.info.options["answers of an interrupted run"] == str(kept)
        found = [score.logprobs.tolist() for score in probe.score(asked)], list(probe.generate(continued))
        probe.finish()
    assert found == expected
    assert not journal.exists()


def test_another_models_journal_is_not_taken_up(program, tmp_path, tiny_file, mixed_requests):
    journal = tmp_path / "answers"
    for file_type in ("Q4_K_M", "Q8_0"):
        model = tiny_file(file_type)
        with Probe(model, launch([program], model, journal)) as probe:
            assert probe.info.options["answers of an interrupted run"] == "0"
            list(probe.score(mixed_requests[:3]))
    with Probe(model, launch([program], model, journal)) as probe:
        assert int(probe.info.options["answers of an interrupted run"]) >= 3
        found = list(probe.score(mixed_requests[:3]))
    with LlamaCpp(model, threads=1) as own:
        for one, other in zip(found, own.score(mixed_requests[:3]), strict=True):
            assert np.abs(one.logprobs - other.logprobs).max() <= CLOSE
