"""Real tokenizers, built once a session."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from edgeproof.export.tokenizer.metadata import tokenizer_metadata
from edgeproof.export.tokenizer.vocabulary_file import write_vocab_gguf
from edgeproof_tests.export.tokenizer.folders import KINDS, OFFICIAL_ONLY, build
from edgeproof_tests.official.source import find_source

if TYPE_CHECKING:
    from collections.abc import Callable

TOFU = Path(__file__).parents[2] / "data" / "tofu"


@pytest.fixture(scope="session")
def tofu_texts() -> list[str]:
    """Every text of TOFU's files, once."""
    texts: dict[str, None] = {}
    for path in sorted(TOFU.glob("*.json")):
        content = path.read_text(encoding="utf-8")
        rows = json.loads(content) if content.startswith("[") else map(json.loads, content.strip().split("\n"))
        for row in rows:
            for value in row.values():
                texts.update(dict.fromkeys(value if isinstance(value, list) else [value]))
    return list(texts)


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a kind, made on the first call."""
    root = tmp_path_factory.mktemp("tokenizers")

    @cache
    def folder(kind: str) -> Path:
        return build(kind, root / kind)

    return folder


@pytest.fixture(scope="session")
def vocabulary(tokenizer_folder) -> Callable[[str], Path]:
    """Our vocabulary-only GGUF of a kind."""

    @cache
    def gguf(kind: str) -> Path:
        folder = tokenizer_folder(kind)
        entries = tokenizer_metadata(folder, json.loads((folder / "config.json").read_text()))
        path = folder.with_suffix(".gguf")
        write_named(entries, kind, path)
        return path

    return gguf


def write_named(entries, kind: str, path: Path) -> None:
    """Write with `general.name`, which llama.cpp looks at for Phi-3."""
    from edgeproof.contracts.tensors import MetadataEntry

    write_vocab_gguf([MetadataEntry("general.name", kind, "STRING"), *entries], "llama", path)


@pytest.fixture(scope="session")
def official_vocabulary(tokenizer_folder) -> Callable[[str], Path]:
    """The vocabulary that llama.cpp's converter writes of a kind's folder; all kinds in one run, on the first call."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")

    @cache
    def convert_all() -> None:
        folders = []
        for kind in (*KINDS, *OFFICIAL_ONLY):
            try:
                folders.append(tokenizer_folder(kind))
            except pytest.skip.Exception:
                continue  # the tests of this kind skip
        script = Path(__file__).with_name("official_vocabularies.py")
        run = subprocess.run(
            [sys.executable, "-P", str(script), str(find_source().tree), *map(str, folders)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr[-3000:]

    def gguf(kind: str) -> Path:
        folder = tokenizer_folder(kind)
        convert_all()
        path = folder.with_suffix(".official.gguf")
        error = path.with_suffix(".error")
        assert path.is_file(), error.read_text() if error.is_file() else "no file"
        return path

    return gguf
