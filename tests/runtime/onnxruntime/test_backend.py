"""What must hold of the onnxruntime backend; oracles: llama.cpp on the same weights, onnxruntime's own plain run."""

from __future__ import annotations

import shutil

import numpy as np
import onnxruntime
import pytest
from edgeproof.contracts.backend import GenerateRequest, ScoreRequest
from edgeproof.contracts.errors import ArtifactError, InputError, UnsupportedError, UsageError
from edgeproof.runtime import open_backend
from edgeproof.runtime.llama.backend import LlamaCpp
from edgeproof.runtime.onnxruntime.backend import OnnxRuntime
from edgeproof_tests.runtime import tiny_gguf, tiny_onnx


def test_a_memory_that_may_be_short_changes_nothing(tiny_folder, mixed_requests):
    with (
        OnnxRuntime(tiny_folder(window=24), threads=1) as one,
        OnnxRuntime(tiny_folder(window=24, short=True), threads=1) as two,
    ):
        pairs = list(zip(one.score(mixed_requests), two.score(mixed_requests), strict=True))
        asked = [GenerateRequest(request.context, 40) for request in mixed_requests[:20]]
        assert list(one.generate(asked)) == list(two.generate(asked))
    assert all((left.logprobs == right.logprobs).all() for left, right in pairs)


def _plain_logits(folder, tokens):
    """Logits of one sequence by onnxruntime's ordinary `run`, with an empty past: float64 [length, vocabulary]."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    given = {"input_ids": np.array([tokens]), "attention_mask": np.ones((1, len(tokens)), np.int64)}
    for value in session.get_inputs()[2:]:
        given[value.name] = np.zeros((1, value.shape[1], 0, value.shape[3]), np.float32)
    return session.run(["logits"], given)[0][0].astype(np.float64)


def _log_softmax(rows):
    peaks = rows.max(axis=1, keepdims=True)
    return rows - peaks - np.log(np.exp(rows - peaks).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("options", [{}, {"bits": 4}, {"bits": 4, "level": 0}, {"window": 24}])
def test_scores_equal_those_of_a_plain_run(tiny_folder, mixed_requests, options):
    folder = tiny_folder(**options)
    requests = mixed_requests[:20]
    with OnnxRuntime(folder, threads=1) as backend:
        for request, score in zip(requests, backend.score(requests), strict=True):
            logs = _log_softmax(_plain_logits(folder, (*request.context, *request.continuation)))
            logs = logs[len(request.context) - 1 : -1]
            expected = logs[np.arange(len(logs)), request.continuation]
            assert score.logprobs == pytest.approx(expected, abs=2e-6)
            assert (score.greedy == (logs.argmax(axis=1) == request.continuation)).all()
            assert (score.ranks == (logs > expected[:, None]).sum(axis=1)).all()
            mean = (np.exp(logs) * logs).sum(axis=1)
            assert score.mean == pytest.approx(mean, abs=1e-5)
            spread = np.sqrt((np.exp(logs) * (logs - mean[:, None]) ** 2).sum(axis=1))
            assert score.std == pytest.approx(spread, abs=1e-4)


def test_scores_equal_llama_cpps_on_the_same_weights(tiny_folder, tiny_file, mixed_requests):
    requests = mixed_requests[:30]
    with OnnxRuntime(tiny_folder(), threads=1) as backend, LlamaCpp(tiny_file("F32"), threads=1) as other:
        pairs = zip(backend.score(requests), other.score(requests), strict=True)
        difference = np.abs(np.concatenate([one.logprobs - two.logprobs for one, two in pairs]))
    assert difference.max() < 0.03  # llama.cpp keeps keys and values in float16
    assert difference.mean() < 0.005


def test_greedy_texts_equal_llama_cpps_on_the_same_weights(tiny_folder, tiny_file, mixed_requests):
    requests = [GenerateRequest(request.context, 8) for request in mixed_requests[:30]]
    with OnnxRuntime(tiny_folder(), threads=1) as backend, LlamaCpp(tiny_file("F32"), threads=1) as other:
        same = [one == two for one, two in zip(backend.generate(requests), other.generate(requests), strict=True)]
    assert np.mean(same) > 0.9  # near-ties may fall either way


def test_texts_become_the_tokens_that_llama_cpp_makes(tiny_folder, tiny_file):
    texts = [
        "in the thing",
        "naïve café — 日本語 🙂",
        "a\x00b\r\n\t",
        " two  spaces ",
        "",
        f"{tiny_gguf.BOS}x{tiny_gguf.EOS}",
    ]
    with OnnxRuntime(tiny_folder(), threads=1) as backend, LlamaCpp(tiny_file("F32"), threads=1) as other:
        for text in texts:
            for special in (True, False):
                for parse in (True, False):
                    made = [one.tokenize(text, special=special, parse_special=parse) for one in (backend, other)]
                    assert made[0] == made[1], (text, special, parse)
            assert backend.detokenize(backend.tokenize(text, special=True)) == text
        assert backend.info.bos == other.info.bos
        assert backend.info.eos == other.info.eos == tiny_gguf.vocabulary().index(tiny_gguf.EOS)
        assert backend.info.chat_template == other.info.chat_template
        messages = [{"role": "user", "content": "in the"}]
        assert backend.render_chat(messages) == other.render_chat(messages)


def test_the_tokenizers_digest_equals_that_of_the_gguf(tiny_folder, tiny_file, tmp_path):
    with OnnxRuntime(tiny_folder(), threads=1) as backend, LlamaCpp(tiny_file("F32"), threads=1) as other:
        assert backend.info.tokenizer_digest == other.info.tokenizer_digest
        digest = backend.info.tokenizer_digest
    tokens = tiny_gguf.vocabulary()
    tokens[3], tokens[4] = tokens[4], tokens[3]
    for options in ({"add_bos": False}, {"tokens": tokens}):
        with OnnxRuntime(tiny_onnx.write(tmp_path / "other", **options), threads=1) as backend:
            assert backend.info.tokenizer_digest != digest
            changed = tiny_gguf.write(tmp_path / "other.gguf", **options)
            with LlamaCpp(changed, threads=1) as other:
                assert backend.info.tokenizer_digest == other.info.tokenizer_digest


def test_pieces_are_bytes_that_join_to_the_text(tiny_folder):
    with OnnxRuntime(tiny_folder(), threads=1) as backend:
        tokens = backend.tokenize("naïve 日本 the thing", special=True)
        pieces = b"".join(backend._tokenizer.piece(token, special=False) for token in tokens)
        assert pieces.decode() == "naïve 日本 the thing"
        assert backend.detokenize(backend.tokenize("é", special=False)[:1]) == "\ufffd"


def test_a_bos_is_never_doubled(tiny_folder):
    with OnnxRuntime(tiny_folder(), threads=1) as backend:
        bos = backend.info.bos
        text = backend.render_chat([{"role": "user", "content": "in the"}])
        assert text.startswith(tiny_gguf.BOS)
        tokens = backend.tokenize(text, special=True, parse_special=True)
        assert tokens == backend.tokenize(text, special=False, parse_special=True)
        assert tokens.count(bos) == 1
        assert backend.tokenize("in the", special=True) == (bos, *backend.tokenize("in the", special=False))
        assert backend.tokenize("", special=True) == (bos,)


def test_a_special_token_is_written_out_only_where_it_is_asked_for(tiny_folder):
    with OnnxRuntime(tiny_folder(), threads=1) as backend:
        assert backend._tokenizer.piece(backend.info.bos, special=True) == tiny_gguf.BOS.encode()
        assert backend._tokenizer.piece(backend.info.bos, special=False) == b""
        assert backend._tokenizer.piece(65, special=True) == backend._tokenizer.piece(65, special=False) != b""


def test_generations_end_at_stop_strings_length_and_end_tokens(tiny_folder, tmp_path):
    with OnnxRuntime(tiny_folder(), threads=1) as backend:
        request = GenerateRequest((65, 66, 67, 68), 24)
        (whole,) = backend.generate([request])
        assert len(whole.tokens) > 8
        stop = whole.text[5:7]
        (cut,) = backend.generate([request._replace(stop=("never", stop))])
        assert (cut.finish, cut.text) == ("stop", whole.text[: whole.text.index(stop)])
        assert cut.tokens == whole.tokens[: len(cut.tokens)]
        (short,) = backend.generate([request._replace(max_tokens=3)])
        assert (short.tokens, short.finish) == (whole.tokens[:3], "length")
    folder = shutil.copytree(tiny_folder(), tmp_path / "ends")
    tiny_onnx.change_config(folder, lambda config: config["model"].update(eos_token_id=[whole.tokens[4], 5]))
    with OnnxRuntime(folder, threads=1) as backend:
        (ended,) = backend.generate([request])
        at = whole.tokens.index(whole.tokens[4])
        assert (ended.tokens, ended.finish) == (whole.tokens[:at], "eos")


def test_it_runs_in_the_child_process_with_its_options(tiny_folder, mixed_requests):
    folder = tiny_folder(bits=4)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with open_backend("onnxruntime", folder, threads=1, context_length=1300, accuracy_level=0) as backend:
        info = backend.info
        (score,) = backend.score(mixed_requests[:1])
        (made,) = backend.generate([GenerateRequest((65, 66), 4)])
    assert (info.backend, info.context_length, info.vocabulary) == ("onnxruntime", 1300, len(tiny_gguf.vocabulary()))
    assert info.options["accuracy_level"] == "0"
    assert info.options["accuracy_level_of"] == "the twin"
    assert info.options["threads"] == "1"
    with OnnxRuntime(folder, threads=1) as ships, OnnxRuntime(tiny_folder(bits=4, level=0), threads=1) as plain:
        assert ships.info.options["accuracy_level"] == "4"
        assert (next(plain.score(mixed_requests[:1])).logprobs == score.logprobs).all()
        assert (next(ships.score(mixed_requests[:1])).logprobs != score.logprobs).any()
        assert next(plain.generate([GenerateRequest((65, 66), 4)])) == made
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_accuracy_level_is_refused_where_there_is_none(tiny_folder, tiny_file):
    with pytest.raises(UnsupportedError, match="no 4-bit or 8-bit products"):
        OnnxRuntime(tiny_folder(), threads=1, accuracy_level=0)
    with pytest.raises(UsageError, match="no accuracy level"):
        open_backend("llama.cpp", tiny_file("F32"), accuracy_level=0)


def test_an_adapter_beside_the_graph_is_refused(tiny_folder, tmp_path):
    with pytest.raises(UnsupportedError, match="merged"):
        open_backend("onnxruntime", tiny_folder(), lora=tmp_path)


def test_a_package_that_is_missing_is_named(tiny_folder, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnx" else find(name))
    with pytest.raises(UnsupportedError, match="needs onnx") as caught:
        OnnxRuntime(tiny_folder())
    assert "edgeproof[onnx]" in caught.value.next_step


def test_nan_in_the_weights_is_an_error_and_no_score(tmp_path):
    weights = tiny_gguf.weights()
    weights["blk.1.ffn_down.weight"][3, 5] = np.nan
    with pytest.raises(ArtifactError, match=r"blk\.1\.ffn_down\.weight.* NaN or infinite"):
        OnnxRuntime(tiny_onnx.write(tmp_path / "nan", weights), threads=1)


def test_no_chat_template_is_an_input_error(tiny_folder):
    with (
        OnnxRuntime(tiny_folder(template=None), threads=1) as backend,
        pytest.raises(InputError, match="no chat template"),
    ):
        backend.render_chat([{"role": "user", "content": "hi"}])


@pytest.mark.parametrize(
    "request_", [ScoreRequest((), (1,)), ScoreRequest((1,), ()), ScoreRequest((1,), (9999,)), ScoreRequest((-1,), (1,))]
)
def test_requests_that_cannot_be_scored_are_refused(tiny_folder, request_):
    with OnnxRuntime(tiny_folder(), threads=1) as backend, pytest.raises(InputError):
        backend.score([request_])


def test_the_whole_context_can_be_used_and_no_more(tiny_folder):
    with OnnxRuntime(tiny_folder(), threads=1) as backend:
        limit = backend.info.context_length
        assert limit == tiny_gguf.CONTEXT
        (score,) = backend.score([ScoreRequest((7,) * (limit - 1), (8,))])
        assert np.isfinite(score.logprobs).all()
        with pytest.raises(InputError, match=r"request 0 is 2,049 tokens long, the context holds 2,048"):
            backend.score([ScoreRequest((7,) * limit, (8,))])
