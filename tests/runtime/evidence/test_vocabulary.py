"""A GGUF's vocabulary alone: what prompts are made of, without weights; and the backend over evidence needs a job."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgeproof.contracts.backend import GenerateRequest, ScoreRequest
from edgeproof.contracts.errors import UnsupportedError, UsageError
from edgeproof.runtime import open_backend
from edgeproof.runtime.evidence.vocabulary import VocabularyOnly
from edgeproof.runtime.llama.backend import LlamaCpp

TEXTS = ("", "Paris is the capital.", "<|im_start|>user\nAre you sure?<|im_end|>\n", "  Łódź, 東京 🗼")


def test_prompts_are_those_of_the_engine(tiny_file):
    model = tiny_file("Q8_0")
    with VocabularyOnly(model) as vocabulary, LlamaCpp(model, threads=1) as engine:
        for field in ("backend", "vocabulary", "tokenizer_digest", "prompt_digest", "chat_template", "bos", "eos"):
            assert getattr(vocabulary.info, field) == getattr(engine.info, field), field
        assert vocabulary.info.context_length == engine.info.context_length
        for text in TEXTS:
            for special in (False, True):
                tokens = engine.tokenize(text, special=special, parse_special=True)
                assert vocabulary.tokenize(text, special=special, parse_special=True) == tokens
                assert vocabulary.detokenize(tokens) == engine.detokenize(tokens)


def test_it_computes_nothing(tiny_file):
    with open_backend("vocabulary", tiny_file("Q8_0")) as vocabulary:
        with pytest.raises(UnsupportedError, match="computes nothing"):
            list(vocabulary.score([ScoreRequest((1,), (2,))]))
        with pytest.raises(UnsupportedError, match="computes nothing"):
            list(vocabulary.generate([GenerateRequest((1,), 1)]))


def test_a_folder_or_a_lora_is_refused(tiny_file, tmp_path):
    with pytest.raises(UnsupportedError, match="a device runs one GGUF file"):
        VocabularyOnly(tmp_path)
    with pytest.raises(UnsupportedError, match="a device runs one GGUF file"):
        VocabularyOnly(tiny_file("Q8_0"), lora=tmp_path / "lora.gguf")


@pytest.mark.parametrize(("name", "options"), [
    ("evidence", {"engine": "evidence.jsonl"}),
    ("evidence", {"job": Path("job.json")}),
    ("vocabulary", {"job": Path("job.json")}),
    ("llama.cpp", {"job": Path("job.json")}),
])  # fmt: skip
def test_evidence_needs_its_job_and_nothing_else_has_one(name, options, tiny_file):
    with pytest.raises(UsageError):
        open_backend(name, tiny_file("Q8_0"), **options)
