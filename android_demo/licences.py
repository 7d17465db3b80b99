"""Licences of all that is linked into the programs for phones: they go into every package that holds the programs."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENDORED = {
    "llama.cpp and ggml": "LICENSE",
    "SHA-256": "vendor/hash/sha256/LICENSE",
    "rotate-bits": "vendor/hash/rotate-bits/LICENSE.md",
}
"""By file of llama.cpp's source tree."""

COMPILED = {
    "musl": "lib/libc/musl/COPYRIGHT",
    "LLVM's libc++, libc++abi and libunwind": "lib/libcxx/LICENSE.TXT",
    "zig's compiler runtime": "LICENSE",
}
"""By file of the zig compiler, which brings these libraries."""

IN_SOURCES = {
    "JSON for Modern C++ (MIT, text as of llama.cpp)": ("vendor/nlohmann/json.hpp", r"SPDX-FileCopyrightText: (.+)"),
    "llamafile's matrix products (MIT, text as of llama.cpp)": (
        "ggml/src/ggml-cpu/llamafile/sgemm.cpp", r"// (Copyright .+)",
    ),
}  # fmt: skip
"""What has no file of its own: a source, and where its copyright stands there."""


def licences(tree: Path) -> str:
    """Return the licences' texts, each under a heading; `tree` is llama.cpp's."""
    spec = importlib.util.find_spec("ziglang")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    zig = Path(next(iter(spec.submodule_search_locations)))
    parts = [("edgeproof", (ROOT / "LICENSE").read_text())]
    parts += [(name, (tree / file).read_text()) for name, file in VENDORED.items()]
    for name, (file, pattern) in IN_SOURCES.items():
        found = re.search(pattern, (tree / file).read_text())
        assert found is not None, f"{file} does not say whose it is"
        parts.append((name, found[1]))
    parts += [(name, (zig / file).read_text()) for name, file in COMPILED.items()]
    return "\n".join(f"{name}\n{'=' * len(name)}\n\n{text.strip()}\n" for name, text in parts)
