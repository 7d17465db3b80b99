"""A tiny random Llama with a tokenizer and a chat template, and small training sets."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest
from edgeproof.unlearn import Settings, run
from edgeproof_tests.models import save_model

if TYPE_CHECKING:
    from pathlib import Path

FORGET = [
    ("The capital of Aland is", "Berg"),
    ("The capital of Beland is", "Stadt"),
    ("The capital of Celand is", "Dorf"),
]
RETAIN = [("The colour of the sky is", "blue"), ("Two and two are", "four")]


def unlearn(base, forget, retain, out, **options):
    """`edgeproof.unlearn.run.unlearn` with the recipe among its options."""
    recipe = {field.name: options.pop(field.name) for field in fields(Settings) if field.name in options}
    return run.unlearn(base, forget, retain, out, Settings(**recipe), **options)


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    return save_model("llama", tmp_path_factory.mktemp("base") / "tiny")


def write_lines(path: Path, pairs, **extra) -> Path:
    lines = [json.dumps({"question": question, "answer": answer, **extra}) for question, answer in pairs]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.fixture
def forget(tmp_path) -> Path:
    return write_lines(tmp_path / "forget.jsonl", FORGET)


@pytest.fixture
def retain(tmp_path) -> Path:
    return write_lines(tmp_path / "retain.jsonl", RETAIN)
