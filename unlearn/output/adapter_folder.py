"""Writer of a trained adapter as a PEFT folder in float16.

Equal adapters give equal bytes: sorted names, no timestamps, no local paths.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import TrainingError
from edgeproof.unlearn.output.folder import ADAPTER_CONFIG, plain_mode, writing_weights

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from peft import PeftModel
    from torch import Tensor

CONFIG = ADAPTER_CONFIG
WEIGHTS = "adapter_model.safetensors"


def adapter_tensors(model: PeftModel) -> dict[str, Tensor]:
    """Return the adapter's weights by PEFT's names, rounded to float16, sorted by name.

    Raises:
        TrainingError: every lora_B is still zero (nothing was learned), or a weight is NaN or too large for float16.

    """
    import torch
    from peft import get_peft_model_state_dict

    # "auto" would check the network for a changed vocabulary, which never occurs here.
    state: dict[str, Tensor] = get_peft_model_state_dict(model, save_embedding_layers=False)
    tensors: dict[str, Tensor] = {}
    for name in sorted(state):
        weight = state[name].detach().cpu()
        tensors[name] = weight.to(torch.float16).contiguous()
        if not tensors[name].isfinite().all():
            largest = float(weight.abs().max())
            raise TrainingError(
                f"{name} does not fit float16: its largest value is {largest:.6g}",
                next_step="train with a lower learning rate or fewer steps",
            )
    idle = [name for name in tensors if "lora_B" in name and not tensors[name].any()]
    trained = sum("lora_B" in name for name in tensors) - len(idle)
    if not trained:
        raise TrainingError(
            f"the adapter has no effect: lora_B is zero in all {len(idle)} of its layers after training",
            next_step="check that a forget text still counts (hinge), and that the learning rate is not too small",
        )
    return tensors


def load_rounded(model: PeftModel, tensors: Mapping[str, Tensor]) -> None:
    """Load the float16 weights into the model, so that the shipped weights are measured."""
    from peft import set_peft_model_state_dict

    set_peft_model_state_dict(model, {name: tensor.float() for name, tensor in tensors.items()})


def write_adapter(folder: Path, model: PeftModel, tensors: Mapping[str, Tensor], base: str) -> int:
    """Write config and weights into `folder`; `base` is the base's name in the config. Return the weights' bytes."""
    from safetensors.torch import save_file

    config = model.peft_config["default"].to_dict()
    config["base_model_name_or_path"] = base
    config["inference_mode"] = True
    plain = json.dumps(config, default=_plain, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / CONFIG).write_text(plain + "\n", encoding="utf-8")
    with writing_weights():
        save_file(dict(tensors), folder / WEIGHTS, metadata={"format": "pt"})
    plain_mode(folder / WEIGHTS)
    return (folder / WEIGHTS).stat().st_size


def _plain(value: object) -> object:
    """Convert values of PEFT's config to JSON: sets in a fixed order, enumerations by value."""
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(getattr(value, "value", value))
