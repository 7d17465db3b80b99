"""Quantization-aware training: a model computes with the artifact's weights, with straight-through gradients.

```
  LoRA   y = x·(Q(W + s·B₁₆·A₁₆) − s·B·A)ᵀ + s·(x·Aᵀ)·Bᵀ      value: x·Qᵀ     gradient: that of W + s·B·A
  full   y = x·Q(W)ᵀ                                          value: x·Qᵀ     gradient of W: that of Q
```
Q is the format's rounding of the whole merge; A₁₆ and B₁₆ are in float16, as in the written adapter. Straight-through
gradient of a function whose own gradient is zero almost everywhere: Bengio et al. 2013, arXiv 1308.3432, sec. 4.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgeproof.contracts.rounding import Rounding
    from peft.tuners.lora import Linear as LoraLinear
    from torch import Tensor
    from torch.nn import Module, Parameter

_PEFT_PREFIX = "base_model.model."
_BASE_LAYER = ".base_layer.weight"


class _Adapted(NamedTuple):
    """A weight with a LoRA: the base's, frozen, and the layer with A and B."""

    name: str
    weight: Parameter
    layer: LoraLinear


class RoundedModel:
    """A model in training with a format's rounding.

    Args:
        model: the model, with or without a LoRA; weights in float32. Frozen weights without a LoRA are rounded once, at
            construction.
        rounding: the format's rounding, for the model's base.

    Raises:
        UnsupportedError: a LoRA is not on a linear layer, or the base lacks a weight.

    """

    def __init__(self, model: Module, rounding: Rounding) -> None:
        import torch
        from peft.tuners.lora import LoraLayer

        self._model = model
        self._rounding = rounding
        self._adapted: list[_Adapted] = []
        self._trained: list[tuple[str, Parameter]] = []
        self._frozen: list[tuple[Parameter, Tensor]] = []
        layers = {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
        for full_name, parameter in model.named_parameters():
            layer = layers.get(full_name.removesuffix(_BASE_LAYER)) if full_name.endswith(_BASE_LAYER) else None
            if layer is not None:
                _refuse_other_layers(full_name, layer)
                name = full_name.removeprefix(_PEFT_PREFIX).removesuffix(_BASE_LAYER) + ".weight"
                self._adapted.append(_Adapted(name, parameter, layer))
            elif parameter.dim() > 1 and ".lora_" not in full_name:
                name = full_name.removeprefix(_PEFT_PREFIX)
                if parameter.requires_grad:
                    self._trained.append((name, parameter))
                elif not torch.equal(rounded := self._rounded(name, parameter.detach()), parameter):
                    self._frozen.append((parameter, rounded))

    @property
    def format(self) -> str:
        """The format's name."""
        return self._rounding.format

    def enlarge(self, factor: float) -> bool:
        """Multiply the LoRA's change of every weight, like a larger alpha; return False without a LoRA."""
        import torch

        with torch.no_grad():
            for _, _, layer in self._adapted:
                (adapter,) = layer.active_adapters
                layer.lora_B[adapter].weight.mul_(factor)
        return bool(self._adapted)

    @contextlib.contextmanager
    def straight_through(self) -> Iterator[None]:
        """Set the rounded weights; gradients of the trained weights are those at the rounded weights.

        Forward and backward passes must be inside, the optimizer's step outside. Afterwards all weights are restored
        bit for bit. Inside, one additional copy of the rounded weights is in memory.
        """
        with contextlib.ExitStack() as stack:
            for weight, rounded, layer in self._all():
                own_part = 0.0 if layer is None else _delta(layer, stored=False)
                stack.enter_context(_holding(weight, rounded - own_part))
            yield

    @contextlib.contextmanager
    def as_shipped(self) -> Iterator[None]:
        """Set exactly the artifact's weights, with the adapter disabled, for scoring."""
        with contextlib.ExitStack() as stack:
            for weight, rounded, _ in self._all():
                stack.enter_context(_holding(weight, rounded))
            if self._adapted:
                stack.enter_context(self._model.disable_adapter())
            yield

    def _all(self) -> Iterator[tuple[Parameter, Tensor, LoraLinear | None]]:
        """Yield every rounded weight, with the artifact's values, and its LoRA."""
        for name, weight, layer in self._adapted:
            yield weight, self._rounded(name, weight.detach() + _delta(layer, stored=True)), layer
        for name, weight in self._trained:
            yield weight, self._rounded(name, weight.detach()), None
        for weight, rounded in self._frozen:
            yield weight, rounded, None

    def _rounded(self, name: str, weights: Tensor) -> Tensor:
        import torch

        return torch.from_numpy(self._rounding(name, weights.cpu().numpy())).to(weights.device)


@contextlib.contextmanager
def _holding(parameter: Parameter, values: Tensor) -> Iterator[None]:
    """Set other values; the parameter's own storage is restored afterwards, bit for bit."""
    own = parameter.data
    parameter.data = values
    try:
        yield
    finally:
        parameter.data = own


def _delta(layer: LoraLinear, *, stored: bool) -> Tensor:
    """Return (B·A)·s in PEFT's order of operations; `stored`: with A and B in float16, as written."""
    (adapter,) = layer.active_adapters
    factors = [factor[adapter].weight.detach() for factor in (layer.lora_B, layer.lora_A)]
    if stored:
        factors = [factor.half().float() for factor in factors]
    delta: Tensor = (factors[0] @ factors[1]) * layer.scaling[adapter]
    return delta


def _refuse_other_layers(name: str, layer: Module) -> None:
    import torch
    from peft.tuners.lora import Linear

    plain = isinstance(layer, Linear) and not layer.fan_in_fan_out and not layer.lora_variant
    if not plain or not isinstance(layer.get_base_layer(), torch.nn.Linear):
        raise UnsupportedError(
            f"{name.removesuffix(_BASE_LAYER)} has a LoRA on a {type(layer).__name__}; only plain linear layers are "
            "trained through a rounding",
            next_step="omit --survive, or choose the layers with --target",
        )
