"""Runs the converter of the user's llama.cpp checkout, for architectures that edgeproof does not support itself.

The merge comes first, in the checkpoint's names and row order, so the converter's renaming and permuting need not be
known; its float32 GGUF is then quantized like any other base.
"""

from __future__ import annotations

from pathlib import Path

from edgeproof.contracts.errors import InputError, UnsupportedError
from edgeproof.export.foreign_tool import run_tool

SCRIPT = "convert_hf_to_gguf.py"
INTERPRETER = "EDGEPROOF_CONVERTER_PYTHON"


def find_script(checkout: Path) -> Path:
    """Return the converter in a llama.cpp checkout.

    Raises:
        InputError: the checkout has no converter.

    """
    script = checkout / SCRIPT
    if not script.is_file():
        raise InputError(
            f"{checkout} is not a llama.cpp checkout: {script} does not exist",
            next_step="give --converter the folder that `git clone https://github.com/ggml-org/llama.cpp` made",
        )
    return script


def convert(checkout: Path, folder: Path, target: Path, *, name: str) -> None:
    """Convert the Hugging Face folder `folder` to the float32 GGUF `target`.

    The interpreter is $EDGEPROOF_CONVERTER_PYTHON, or the running one; it needs llama.cpp's requirements.

    Raises:
        InputError: there is no converter, or its interpreter does not start.
        UnsupportedError: the converter failed; the message has its last output.

    """
    # The converter runs in its own folder, where relative paths would differ.
    checkout, folder, target = checkout.resolve(), folder.resolve(), target.resolve()
    script = find_script(checkout)
    arguments = (str(script), str(folder), "--outfile", str(target), "--outtype", "f32", "--model-name", name)
    ended = run_tool("the converter", INTERPRETER, "llama.cpp's requirements", arguments, folder=checkout)
    if ended.code != 0 or not target.is_file():
        raise UnsupportedError(
            f"{script} ended with exit code {ended.code} and no usable file; its last words:\n{ended.words}",
            next_step=f"run it by hand: {Path(ended.interpreter).name} {SCRIPT} {folder.name} --outtype f32 "
            f"(it needs: pip install -r {checkout / 'requirements.txt'}; another interpreter: {INTERPRETER})",
        )
