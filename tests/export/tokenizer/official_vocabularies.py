"""Runs llama.cpp's converter with --vocab-only on many folders in one process: `official_vocabularies.py TREE FOLDER…`.

The vocabulary of a FOLDER comes out as FOLDER.official.gguf, or its error as FOLDER.official.error.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path


def main(tree: Path, *folders: Path) -> None:
    sys.path[:0] = [str(tree), str(tree / "gguf-py")]
    for folder in folders:
        target = folder.with_suffix(".official.gguf")
        sys.argv = ["convert", str(folder), "--vocab-only", "--model-name", folder.name, "--outfile", str(target)]
        try:
            runpy.run_path(str(tree / "convert_hf_to_gguf.py"), run_name="__main__")
        except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever it says is the result)
            target.with_suffix(".error").write_text(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
