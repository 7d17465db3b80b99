"""Fused experts: weights of a mixture of experts that are no linear layers, so that no adapter changes them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.contracts.progress import Progress
    from peft import PeftModel
    from torch.nn import Module

_WAYS = "name layers outside the experts (--target q_proj --target v_proj …), or train with --full"


def fused_experts(model: Module) -> str | None:
    """Name the fused expert weights of `model`, with their share of it; None without any.

    Such a parameter holds the matrices of all experts of a layer: [experts, rows, columns].
    """
    import torch

    fused = {
        f"{place}.{name}": parameter.numel()
        for place, module in model.named_modules()
        if not isinstance(module, torch.nn.modules.conv._ConvNd)  # noqa: SLF001 (the base of all convolutions)
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.dim() == 3
    }
    if not fused:
        return None
    kinds = sorted({re.sub(r"\.\d+\.", ".*.", name) for name in fused})
    share = sum(fused.values()) / sum(parameter.numel() for parameter in model.parameters())
    return f"{', '.join(kinds)} ({len(fused)} tensors, {share:.0%} of the model's weights)"


def say_what_a_lora_skips(model: Module, targets: Sequence[str], progress: Progress) -> None:
    """Warn that a LoRA on `targets` leaves fused experts as they are.

    Raises:
        UnsupportedError: no target is named, and the model has fused experts.

    """
    found = fused_experts(model)
    if found is None:
        return
    if not targets:
        raise UnsupportedError(f"the base has fused experts, which get no LoRA: {found}", next_step=_WAYS)
    progress.warn(f"no LoRA on the experts: {found}; what they know is reached through the other layers alone")


def refuse_lora_on_experts(model: PeftModel) -> None:
    """Raise `UnsupportedError` if peft put a LoRA on fused experts, which no exporter here can merge."""
    parameters = model.peft_config["default"].target_parameters
    if parameters:
        raise UnsupportedError(f"a LoRA on fused experts: {', '.join(sorted(parameters))}", next_step=_WAYS)
