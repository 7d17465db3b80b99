"""Registry of the supported model families: one entry per family, for every output format.

A new family is one new file with a `Family`, and one line in `FAMILIES`.
"""

from __future__ import annotations

import math
from collections.abc import Sized
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import UnsupportedError
from edgeproof.contracts.tensors import MetadataEntry, ModelDescription

from .config import WAYS_ROUND, Config
from .gemma import GEMMA2, GEMMA3
from .general import general_metadata
from .lfm2 import LFM2
from .llama import LLAMA, MISTRAL
from .metadata import QUANTIZATION_VERSION, text
from .phi3 import PHI3
from .placing import place_tensors
from .qwen import QWEN2, QWEN3

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.contracts.tensors import Checkpoint

    from .family import Family
    from .hyper_parameters import HyperParameters

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "LlamaForCausalLM": LLAMA,
        "MistralForCausalLM": MISTRAL,
        "Qwen2ForCausalLM": QWEN2,
        "Qwen3ForCausalLM": QWEN3,
        "Gemma2ForCausalLM": GEMMA2,
        "Gemma3ForCausalLM": GEMMA3,
        "Gemma3ForConditionalGeneration": GEMMA3,
        "Phi3ForCausalLM": PHI3,
        "Lfm2ForCausalLM": LFM2,
    }
)
"""Families by the class that `config.json` names first under "architectures"."""


def find_family(config: Mapping[str, object], *, ways_round: str = WAYS_ROUND) -> tuple[str, Family]:
    """Return the class that `config.json` names and the family that describes it.

    Raises:
        UnsupportedError: no family does; the message names the class found and the alternatives.

    """
    names = Config(config).items("architectures") or []
    found = names[0] if names else None
    if isinstance(found, str) and found in FAMILIES:
        return found, FAMILIES[found]
    raise UnsupportedError(
        f"config.json names the architecture {found!r} (model_type {config.get('model_type')!r}); "
        f"edgeproof describes {', '.join(FAMILIES)}",
        next_step=ways_round,
    )


def read_hyper_parameters(config: Mapping[str, object]) -> HyperParameters:
    """Read the hyper-parameters from `config.json`, in the layout of transformers 5 or the older one.

    Raises:
        UnsupportedError: an unknown class, or an option that llama.cpp's graph computes differently.
        CheckpointError: a key is missing or of another type.

    """
    class_name, family = find_family(config)
    return family.read(Config(config), class_name)


def describe(
    checkpoint: Checkpoint, tokenizer_metadata: Sequence[MetadataEntry], *, name: str | None
) -> ModelDescription:
    """Describe the GGUF file of `checkpoint`, as llama.cpp's converter would write it.

    Args:
        checkpoint: a Hugging Face folder's weights, merged or not. Rows are read only to check that a stored output
            projection equals the embedding table where the graph has just one table.
        tokenizer_metadata: the `tokenizer.*` entries; they come last.
        name: `general.name`; None takes the model card's or the configuration's (see `general`).

    Raises:
        UnsupportedError: an unknown class, or an option that llama.cpp's graph computes differently.
        CheckpointError: a tensor is missing, has another shape than the configuration implies, or has no place.
        TokenizerError: the number of tokens differs from the number of rows of the embedding table.

    """
    class_name, family = find_family(checkpoint.config)
    model = family.read(Config(checkpoint.config), class_name)
    tensors = [*family.constants(model), *place_tensors(checkpoint, family, model, tokens=_tokens(tokenizer_metadata))]
    parameters = sum(math.prod(tensor.shape) for tensor in tensors)
    general, warnings = general_metadata(
        checkpoint.path, checkpoint.config, name=name, architecture=family.gguf, parameters=parameters
    )
    metadata = (
        text("general.architecture", family.gguf),
        *family.early(model),
        *general,
        *family.metadata(model),
        QUANTIZATION_VERSION,
        *tokenizer_metadata,
    )
    return ModelDescription(family.gguf, metadata, tuple(tensors), (*warnings, *family.warnings(model)))


def _tokens(tokenizer_metadata: Sequence[MetadataEntry]) -> int | None:
    """Return the number of tokens, None without a list of tokens."""
    for entry in tokenizer_metadata:
        if entry.key == "tokenizer.ggml.tokens":
            assert isinstance(entry.value, Sized)
            return len(entry.value)
    return None
