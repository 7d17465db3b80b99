"""Types of tensors chosen by hand: `--tensor-type PATTERN=TYPE`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import UsageError
from edgeproof.export.gguf.kernels import WRITABLE

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType


class TypeOverride(NamedTuple):
    """`--tensor-type PATTERN=TYPE`: tensors with `pattern` in their name become `type`; the first match wins."""

    pattern: str
    type: GGMLQuantizationType


def parse_override(text: str) -> TypeOverride:
    """Parse `PATTERN=TYPE` as llama-quantize does: the pattern in lower case, the type in any case.

    Raises:
        UsageError: no `=`, an empty part, an unknown type, or a pattern that C++ and Python interpret differently.

    """
    pattern, equals, name = text.partition("=")
    if not (equals and pattern and name):
        raise UsageError(
            f"--tensor-type {text!r} is not PATTERN=TYPE", next_step="for example: --tensor-type attn_v=q8_0"
        )
    known = {kind.name.lower(): kind for kind in WRITABLE}
    if name.lower() not in known:
        raise UsageError(f"--tensor-type {text!r}: no type {name!r}", next_step=f"one of {', '.join(sorted(known))}")
    pattern = pattern.lower()
    foreign = re.search(r"\(\?(?![:=!])|\[\[|\\[az]|[*+?}]\+", pattern)
    if foreign:
        raise UsageError(
            f"--tensor-type {text!r}: {foreign.group()!r} means different things to llama.cpp and to edgeproof",
            next_step="write the pattern without it; it is searched for in the tensor's name",
        )
    try:
        re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--tensor-type {text!r}: {error}", next_step="give a regular expression") from error
    return TypeOverride(pattern, known[name.lower()])
