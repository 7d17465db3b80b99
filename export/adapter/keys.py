"""Parser for the keys of `adapter_model.safetensors`: module, and part of its LoRA.

```
  base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight
  └── optional ──┘ └────────── module ──────────┘ └ part ┘ ↑ optional adapter name (".default")
```
Source: peft 0.21, `utils/save_and_load.py`, and the forms of earlier versions.
"""

from __future__ import annotations

import re
from typing import NamedTuple

PREFIX = "base_model.model."

_FORMS = (
    (re.compile(r"(?P<module>.+)\.(?P<part>lora_[AB])(\.(?P<adapter>[^.]+))?\.weight"), None),
    (re.compile(r"(?P<module>.+)\.(?P<part>lora_B)(\.(?P<adapter>[^.]+))?\.bias"), "lora_bias"),
    (re.compile(r"(?P<module>.+)\.(?P<part>lora_embedding_[AB])(\.(?P<adapter>[^.]+))?"), None),
    (re.compile(r"(?P<module>.+)\.lora_magnitude_vector(\.(?P<adapter>(?!weight$)[^.]+))?(\.weight)?"), "magnitude"),
    (re.compile(r"(?P<module>.+)\.token_adapter\.trainable_tokens_delta(\.(?P<adapter>[^.]+))?"), "tokens"),
)
_SAVED = re.compile(r"(?P<module>.+)\.modules_to_save\.(?P<adapter>[^.]+)\.(?P<leaf>.+)")
_BASE_LAYER = re.compile(r"(?P<module>.+)\.base_layer\.(?P<leaf>weight|bias)")
_WRAPPER_PARTS = ("lora_", "original_module", "token_adapter", "base_layer", "modules_to_save")


class KeyParts(NamedTuple):
    """A parsed key.

    Attributes:
        part: "lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_bias", "magnitude", "tokens",
            "replaced" for a tensor that replaces the base's, "base_layer" for the base's own under a LoRA.
        target: the module, by its name in the model; for "replaced" and "base_layer" the tensor.
        adapter: the adapter's name within the key, empty where there is none.

    """

    part: str
    target: str
    adapter: str


def parse_key(key: str) -> KeyParts | None:
    """Parse `key`; None for a key that no version of peft writes for a LoRA."""
    name = key.removeprefix(PREFIX)
    for form, part in _FORMS:
        if match := form.fullmatch(name):
            found = match.groupdict()
            return KeyParts(part or found["part"], found["module"], found["adapter"] or "")
    if match := _SAVED.fullmatch(name):
        return KeyParts("replaced", f"{match['module']}.{match['leaf']}", match["adapter"])
    if match := _BASE_LAYER.fullmatch(name):
        part = "base_layer" if match["leaf"] == "weight" else "replaced"
        return KeyParts(part, f"{match['module']}.{match['leaf']}", "")
    if any(component.startswith(_WRAPPER_PARTS) for component in name.split(".")):
        return None
    return KeyParts("replaced", name, "")
