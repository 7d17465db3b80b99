"""Checks of an adapter before the merge: does it change anything, and was it trained on this base?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import AdapterError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeproof.contracts.tensors import Checkpoint
    from edgeproof.export.adapter.adapter import LowRank

IDLE_LIMIT = 1e-5
"""‖ΔW‖/‖W‖ over all tensors that an adapter touches, below which it counts as having no effect.

One Adam step at a learning rate of 1e-6 gives about 6e-6 on a 1.5B model, at the 1e-4 of a real run 6e-4, a finished
unlearning run 1e-2: an adapter below the limit was never trained, or its training was lost.
"""

FAINT_LIMIT = 2.0**-12
"""‖ΔW‖/‖W‖ below which even float16 loses most of a change: half a unit in the last place of its 11 bits."""

_QUANTIZED_NAME = re.compile(r"(4|8)[-_]?bit|bnb|nf4|int[48]|gptq|awq|fp8|fp4|gguf|hqq|aqlm|qlora", re.IGNORECASE)
_QUANTIZED_CARD = re.compile(
    r"load_in_4bit:\s*True|load_in_8bit:\s*True|quant_method:\s*\S+|bitsandbytes", re.IGNORECASE
)


def refuse_idle(path: Path, low_rank: Mapping[str, LowRank], *, touches_more: bool) -> str:
    """Refuse an adapter whose every B·A is zero; return a warning where only some are, or "".

    DoRA with B·A = 0 still rescales rows by its magnitudes; the merge, which knows W, checks that case.
    """
    idle = [lora for lora in low_rank.values() if lora.delta_norm == 0 and lora.magnitude is None and lora.bias is None]
    if not idle:
        return ""
    if len(idle) == len(low_rank) and not touches_more:
        # The factors' norms show which of the two is zero: a zero B was never updated.
        first = idle[0]
        raise AdapterError(
            f"the adapter {path} does nothing: B·A is zero in all {len(low_rank)} modules (of {first.module}: "
            f"‖B‖ = {_norm(first.B.read()):.3g}, ‖A‖ = {_norm(first.A.read()):.3g})",
            next_step="lora_B starts at zero and stays there when no gradient reaches it (gradient checkpointing "
            "without enable_input_require_grads, frozen parameters): check that the loss moved, and train again",
        )
    return (
        f"the adapter {path} does nothing in {len(idle)} of {len(low_rank)} modules (B·A is zero), the first being "
        f"{idle[0].module}"
    )


def quantization_hint(path: Path, base_name: str) -> str:
    """Return a warning where the adapter's files say that it was trained on a quantized base, or ""."""
    found = ""
    if match := _QUANTIZED_NAME.search(base_name.rsplit("/", 1)[-1]):
        found = f"its base is named {base_name!r} ({match[0]})"
    else:
        card = path / "README.md"
        if card.is_file() and (match := _QUANTIZED_CARD.search(card.read_text(encoding="utf-8", errors="replace"))):
            found = f"its README.md says {match[0]!r}"
    if not found:
        return ""
    return (
        f"the adapter {path} seems to have been trained on a quantized base: {found}. Merged into the float base it is "
        "not quite the model that was trained; measure the merged model, not the training run"
    )


def base_mismatch(adapter: Path, trained_on: str, base: Checkpoint) -> str:
    """Return a warning where the adapter names another base than the one it is merged into, or ""."""
    if not trained_on:
        return ""
    names = _base_names(base)
    wanted = _plain(trained_on)
    if not wanted or any(wanted == name or (base.path.is_file() and wanted in name) for name in names):
        return ""
    return (
        f"the adapter {adapter} was trained on {trained_on!r}, and the base is {base.path.name!r}: the shapes fit, but "
        "only the very weights that it was trained on give the model that was trained"
    )


def _base_names(base: Checkpoint) -> set[str]:
    """Names of the base, normalized: its folder, its config, its folder in the Hugging Face cache."""
    names = {base.path.name, base.path.resolve().name, str(base.config.get("_name_or_path") or "")}
    names |= {part.rsplit("--", 1)[-1] for part in base.path.resolve().parts if part.startswith("models--")}
    return {_plain(name) for name in names if name}


def _plain(name: str) -> str:
    """Return the last part of a path or repository name, lower case, with separators and suffixes normalized."""
    return re.sub(r"[-_.\s]+", "-", name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1].lower()).removesuffix(
        "-gguf"
    )


def _norm(values: object) -> float:
    import numpy as np

    return float(np.linalg.norm(np.asarray(values, np.float64)))
