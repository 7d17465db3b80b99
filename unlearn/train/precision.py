"""Arithmetic of a run: float32, or bf16 under torch's autocast with weights and optimizer in float32."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


def resolved(precision: str, device: str) -> str:
    """Return "float32" or "bf16"; "auto" is bf16 if the processor or GPU supports it natively."""
    if precision != "auto":
        return precision
    return "bf16" if has_bf16(device) else "float32"


def has_bf16(device: str) -> bool:
    """Whether `device` has bf16 instructions (AVX-512 BF16, AMX, Arm BF16; NVIDIA from Ampere on)."""
    import torch

    kind = torch.device(device).type
    if kind == "cpu":
        # Without them torch emulates bf16, at a fraction of float32's speed.
        return any(there for name, there in torch.cpu.get_capabilities().items() if "bf16" in name)
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return False


def arithmetic(precision: str, device: str) -> AbstractContextManager[object]:
    """Return the context for a forward pass."""
    import torch

    if precision == "float32":
        return contextlib.nullcontext()
    context: AbstractContextManager[object] = torch.autocast(torch.device(device).type, dtype=torch.bfloat16)
    return context
