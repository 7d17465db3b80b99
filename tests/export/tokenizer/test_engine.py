"""The child that tokenizes: no text of a pack lies on a disk on the way to it and back, and its end is told."""

from __future__ import annotations

import pytest
from edgeproof.contracts.errors import BackendError, TokenizerError
from edgeproof.export.tokenizer import engine as engine_module
from edgeproof.export.tokenizer.engine import TokenizeRequest, start_engine

SECRET = "quokka 5550143 zephyr"  # noqa: S105 (a text)


def test_texts_and_their_tokens_pass_through_pipes_alone(vocabulary, tmp_path, monkeypatch):
    gguf = vocabulary("qwen3")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    requests = [TokenizeRequest(f"{SECRET} {number}", add_special=False, parse_special=False) for number in range(3000)]
    with start_engine(gguf, requests) as engine:
        reply = engine.reply()
    assert len(reply.ids) == 3000
    assert all(reply.ids)
    assert not list(tmp_path.iterdir())


def test_a_child_that_is_not_waited_for_ends_with_its_caller(vocabulary):
    request = TokenizeRequest(SECRET * 100_000, add_special=False, parse_special=False)
    with start_engine(vocabulary("qwen3"), [request]) as engine:
        process = engine._process
    assert process.returncode is not None


def test_a_file_that_llama_cpp_cannot_load_is_told_with_its_words(tmp_path):
    (tmp_path / "x.gguf").write_bytes(b"no model")
    request = TokenizeRequest(SECRET * 100_000, add_special=False, parse_special=False)
    with (
        start_engine(tmp_path / "x.gguf", [request]) as engine,
        pytest.raises(BackendError, match=r"cannot use the vocabulary of .*exit code 1"),
    ):
        engine.reply()


def test_a_child_that_hangs_is_told(vocabulary, monkeypatch):
    monkeypatch.setattr(engine_module, "TIMEOUT", -1.0)  # over already, however soon the child answers
    with (
        start_engine(vocabulary("qwen3"), []) as engine,
        pytest.raises(BackendError, match="did not tokenize within"),
    ):
        engine.reply()


def test_half_a_surrogate_pair_is_told(tmp_path):
    request = TokenizeRequest("\ud800", add_special=False, parse_special=False)
    with (
        pytest.raises(TokenizerError, match="lone surrogate"),
        start_engine(tmp_path / "x.gguf", [request]),
    ):
        pass
