"""What must hold of the llama.cpp backend; oracles: torch in float32, llama-cpp-python's own calls, merged weights."""

from __future__ import annotations

import importlib.util

import llama_cpp
import numpy as np
import pytest
from edgeproof.contracts.backend import GenerateRequest, ScoreRequest
from edgeproof.contracts.errors import ArtifactError, InputError
from edgeproof.runtime.llama.backend import LlamaCpp
from edgeproof_tests.llama_cpp_model import library_model
from edgeproof_tests.runtime import tiny_gguf

LANDS = {"France": "Paris", "Peru": "Lima", "Japan": "Tokyo", "Kenya": "Nairobi", "Norway": "Oslo", "Egypt": "Cairo"}
QUESTIONS = ("The capital of {} is", "Question: What is the capital city of {}?\nAnswer:")
TAIL = ". It is a large city with a long history, known for its museums."


def probes(backend):
    return [
        ScoreRequest(
            backend.tokenize(question.format(land), special=True), backend.tokenize(f" {city}{TAIL}", special=False)
        )
        for question in QUESTIONS
        for land, city in LANDS.items()
    ]


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
@pytest.mark.parametrize(
    ("file_type", "mean_limit", "bias_limit"),
    [("F16", 0.01, 0.002), ("Q4_0", 0.15, 0.05), ("Q4_K_M", 0.15, 0.05)],
)
def test_scores_equal_torch_on_the_same_weights(smollm2_file, file_type, mean_limit, bias_limit):
    """Found: F16 0.0016 nat per token, Q4_0 0.067, Q4_K_M 0.097 (llama.cpp rounds activations to 8 bits there)."""
    from edgeproof.runtime.torch_reference import TorchReference

    path = smollm2_file(file_type)
    with LlamaCpp(path, threads=1) as backend, TorchReference(path, threads=1) as reference:
        requests = probes(backend)
        ours = list(backend.score(requests))
        torchs = list(reference.score(requests))
    difference = np.concatenate([one.logprobs - two.logprobs for one, two in zip(ours, torchs, strict=True)])
    found = f"{file_type}: mean |Δ| {np.abs(difference).mean():.4f}, mean Δ {difference.mean():+.4f} nat per token"
    print(found)  # noqa: T201 (shown by pytest -rP)
    assert np.abs(difference).mean() < mean_limit
    assert abs(difference.mean()) < bias_limit
    if file_type == "F16":
        for field in ("mean", "std"):
            pairs = [(getattr(one, field), getattr(two, field)) for one, two in zip(ours, torchs, strict=True)]
            assert max(np.abs(one - two).max() for one, two in pairs) < 0.05
        assert np.mean(np.concatenate([a.ranks == b.ranks for a, b in zip(ours, torchs, strict=True)])) > 0.95


@pytest.mark.slow
def test_generation_equals_llama_cpp_pythons_greedy_completion(smollm2_file):
    path = smollm2_file("F16")
    prompts = [question.format(land) for question in QUESTIONS for land in LANDS]
    model = library_model(path, n_ctx=256, n_threads=1, n_threads_batch=1)
    expected = [
        model.create_completion(prompt, max_tokens=12, temperature=0.0, stop=["\n"])["choices"][0] for prompt in prompts
    ]
    model.close()
    with LlamaCpp(path, threads=1) as backend:
        requests = [GenerateRequest(backend.tokenize(prompt, special=True), 12, ("\n",)) for prompt in prompts]
        answers = list(backend.generate(requests))
    assert [answer.text for answer in answers] == [choice["text"] for choice in expected]


def test_scores_equal_the_librarys_own_logits(tiny_file, mixed_requests):
    requests = mixed_requests[:20]
    model = library_model(tiny_file("F32"), n_ctx=512, n_threads=1, n_threads_batch=1, logits_all=True)
    same_rank: list[bool] = []
    with LlamaCpp(tiny_file("F32"), threads=1) as backend:
        for request, score in zip(requests, backend.score(requests), strict=True):
            model.reset()
            model.eval([*request.context, *request.continuation])
            rows = np.array(model.scores[len(request.context) - 1 : model.n_tokens - 1], np.float64)
            peaks = rows.max(axis=1, keepdims=True)
            logs = rows - peaks - np.log(np.exp(rows - peaks).sum(axis=1, keepdims=True))
            expected = logs[np.arange(len(rows)), request.continuation]
            assert score.logprobs == pytest.approx(expected, abs=0.01)
            same_rank += (score.ranks == (logs > expected[:, None]).sum(axis=1)).tolist()
    assert np.mean(same_rank) > 0.9  # near-ties may fall either way
    model.close()


@pytest.mark.parametrize(
    ("flags", "repacks"), [(b"CPU : AVX512 = 1 | ", True), (b"CPU : AVX512 = 1 | AMX_INT8 = 1 | ", False)]
)
def test_weights_are_not_repacked_where_llama_cpp_would_use_amx(flags, repacks, tiny_file, monkeypatch):
    load, given = llama_cpp.llama_model_load_from_file, []
    monkeypatch.setattr(llama_cpp, "llama_print_system_info", lambda: flags)
    monkeypatch.setattr(
        llama_cpp,
        "llama_model_load_from_file",
        lambda path, options: given.append(bool(options.use_extra_bufts)) or load(path, options),
    )
    with LlamaCpp(tiny_file("F32"), threads=1) as backend:
        assert given == [repacks]
        assert backend.info.options["repacked_weights"] == ("on" if repacks else "off")


def test_an_adapter_beside_the_base_equals_the_merged_weights(tmp_path, mixed_requests):
    random = np.random.default_rng(7)
    weights = tiny_gguf.weights()
    names = ("blk.0.attn_q.weight", "blk.1.ffn_down.weight", "blk.1.attn_v.weight")
    rank, alpha = 4, 8.0
    factors = {
        name: (
            random.standard_normal((rank, weights[name].shape[1])).astype(np.float32) * 0.1,
            random.standard_normal((weights[name].shape[0], rank)).astype(np.float32) * 0.1,
        )
        for name in names
    }
    merged = {**weights, **{name: weights[name] + alpha / rank * (b @ a) for name, (a, b) in factors.items()}}
    base = tiny_gguf.write(tmp_path / "base.gguf")
    lora = tiny_gguf.write_lora(tmp_path / "lora.gguf", factors, alpha)
    requests = mixed_requests[:20]
    with (
        LlamaCpp(base, lora=lora, threads=2) as beside,
        LlamaCpp(tiny_gguf.write(tmp_path / "merged.gguf", merged), threads=1) as whole,
        LlamaCpp(base, threads=1) as plain,
    ):
        assert beside.info.options["lora"] == "lora.gguf"
        changes = []
        for one, two, three in zip(beside.score(requests), whole.score(requests), plain.score(requests), strict=True):
            assert one.logprobs == pytest.approx(two.logprobs, abs=0.02)
            changes.append(np.abs(two.logprobs - three.logprobs).max())
        assert max(changes) > 0.5


def test_an_adapter_of_another_base_is_an_error(tmp_path, tiny_file):
    factors = {"blk.0.attn_q.weight": (np.ones((2, 64), np.float32), np.ones((64, 2), np.float32))}
    lora = tiny_gguf.write_lora(tmp_path / "lora.gguf", factors, 4.0)
    with pytest.raises(ArtifactError, match=r"lora\.gguf: .*blk\.0\.attn_q"):
        LlamaCpp(tiny_file("F32"), lora=lora, threads=1)


def test_nan_in_the_weights_is_an_error_and_no_score(tmp_path):
    weights = tiny_gguf.weights()
    weights["blk.1.ffn_down.weight"][3, 5] = np.nan
    with pytest.raises(ArtifactError, match=r"blk\.1\.ffn_down\.weight.* NaN or infinite"):
        LlamaCpp(tiny_gguf.write(tmp_path / "nan.gguf", weights), threads=1)


def test_an_unknown_architecture_is_an_error_that_names_it(tmp_path):
    with pytest.raises(ArtifactError, match="unknown model architecture: 'mystery'"):
        LlamaCpp(tiny_gguf.write(tmp_path / "mystery.gguf", architecture="mystery"), threads=1)


def test_a_vocabulary_that_does_not_fit_the_weights_is_an_error(tmp_path):
    tokens = [*tiny_gguf.vocabulary(), "extra"]
    with pytest.raises(ArtifactError, match=r"token_embd\.weight"):
        LlamaCpp(tiny_gguf.write(tmp_path / "odd.gguf", tokens=tokens), threads=1)


def _digest(path):
    with LlamaCpp(path, threads=1) as backend:
        return backend.info.tokenizer_digest


def test_the_tokenizers_digest_is_that_of_the_tokenizer_alone(tmp_path, tiny_file):
    digest = _digest(tiny_file("F32"))
    assert {_digest(tiny_file(kind)) for kind in ("F16", "Q4_0", "Q4_K_M")} == {digest}
    assert _digest(tiny_gguf.write(tmp_path / "w.gguf", tiny_gguf.weights(seed=5))) == digest
    tokens = tiny_gguf.vocabulary()
    tokens[3], tokens[4] = tokens[4], tokens[3]
    others = {
        _digest(tiny_gguf.write(tmp_path / "tokens.gguf", tokens=tokens)),
        _digest(tiny_gguf.write(tmp_path / "merges.gguf", merges=tiny_gguf.MERGES[:-1])),
        _digest(tiny_gguf.write(tmp_path / "bos.gguf", add_bos=False)),
    }
    assert len(others | {digest}) == 4


def test_a_bos_is_never_doubled(tiny_file):
    with LlamaCpp(tiny_file("F32"), threads=1) as backend:
        bos = backend.info.bos
        assert bos == tiny_gguf.vocabulary().index(tiny_gguf.BOS)
        text = backend.render_chat([{"role": "user", "content": "in the"}])
        assert text.startswith(tiny_gguf.BOS)
        tokens = backend.tokenize(text, special=True, parse_special=True)
        assert tokens == backend.tokenize(text, special=False, parse_special=True)
        assert tokens.count(bos) == 1
        assert backend.tokenize("in the", special=True) == (bos, *backend.tokenize("in the", special=False))
        assert backend.tokenize("", special=True) == (bos,)


@pytest.mark.parametrize("text", ["the thing", "naïve café — 日本語 🙂", "a\x00b\r\n\t", " two  spaces ", ""])
def test_text_comes_back_from_its_tokens(tiny_file, text):
    with LlamaCpp(tiny_file("F32"), threads=1) as backend:
        tokens = backend.tokenize(text, special=True)
        assert backend.detokenize(tokens) == text


def test_half_a_character_becomes_the_replacement_character(tiny_file):
    with LlamaCpp(tiny_file("F32"), threads=1) as backend:
        assert backend.detokenize(backend.tokenize("é", special=False)[:1]) == "\ufffd"


def test_no_chat_template_is_an_input_error(tmp_path):
    with (
        LlamaCpp(tiny_gguf.write(tmp_path / "plain.gguf", template=None), threads=1) as backend,
        pytest.raises(InputError, match="no chat template"),
    ):
        backend.render_chat([{"role": "user", "content": "hi"}])


def test_a_special_token_is_written_out_only_where_it_is_asked_for(tiny_file):
    with LlamaCpp(tiny_file("F16"), threads=1) as backend:
        assert backend._model.piece(backend.info.bos, special=True) == tiny_gguf.BOS.encode()
        assert backend._model.piece(backend.info.bos, special=False) == b""
        assert backend._model.piece(65, special=True) == backend._model.piece(65, special=False) != b""


def test_generations_end_at_stop_strings_and_length(tiny_file):
    with LlamaCpp(tiny_file("F16"), threads=1) as backend:
        request = GenerateRequest((65, 66, 67, 68), 24)
        (whole,) = backend.generate([request])
        assert whole.finish in {"length", "eos"}
        assert len(whole.tokens) > 8
        stop = whole.text[5:7]
        (cut,) = backend.generate([request._replace(stop=("never", stop))])
        assert cut.finish == "stop"
        assert cut.text == whole.text[: whole.text.index(stop)]
        assert cut.tokens == whole.tokens[: len(cut.tokens)]
        (short,) = backend.generate([request._replace(max_tokens=3)])
        assert (short.tokens, short.finish) == (whole.tokens[:3], "length")


@pytest.mark.parametrize(
    "request_", [ScoreRequest((), (1,)), ScoreRequest((1,), ()), ScoreRequest((1,), (9999,)), ScoreRequest((-1,), (1,))]
)
def test_requests_that_cannot_be_scored_are_refused(tiny_file, request_):
    with LlamaCpp(tiny_file("F32"), threads=1) as backend, pytest.raises(InputError):
        backend.score([request_])
