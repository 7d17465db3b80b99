"""Runs the converter of the user's own llama.cpp checkout, for architectures that edgeproof does not describe itself.

The merge comes first, in the checkpoint's own names and row order, so nothing has to be known of how the converter
renames or permutes; its float32 GGUF is then quantized like any other base.
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
        InputError: there is none.

    """
    script = checkout / SCRIPT
    if not script.is_file():
        raise InputError(
            f"{checkout} is no llama.cpp checkout: {script} does not exist",
            next_step="give --converter the folder that `git clone https://github.com/ggml-org/llama.cpp` made",
        )
    return script


def convert(checkout: Path, folder: Path, target: Path, *, name: str) -> None:
    """Convert the Hugging Face folder `folder` to the float32 GGUF `target`.

    The interpreter is $EDGEPROOF_CONVERTER_PYTHON, or the running one; it needs what llama.cpp's requirements name.

    Raises:
        InputError: no converter there, or its interpreter does not start.
        UnsupportedError: the converter failed; carries its last words.

    """
    # The converter runs in its own folder: relative paths would mean something else there.
    checkout, folder, target = checkout.resolve(), folder.resolve(), target.resolve()
    script = find_script(checkout)
    arguments = (str(script), str(folder), "--outfile", str(target), "--outtype", "f32", "--model-name", name)
    ended = run_tool("the converter", INTERPRETER, "llama.cpp's requirements", arguments, folder=checkout)
    if ended.code != 0 or not target.is_file():
        raise UnsupportedError(
            f"{script} ended with exit code {ended.code} and no usable file; its last words:\n{ended.words}",
            next_step=f"try it by hand: {Path(ended.interpreter).name} {SCRIPT} {folder.name} --outtype f32 "
            f"(it needs: pip install -r {checkout / 'requirements.txt'}; another interpreter: {INTERPRETER})",
        )
