"""What an ONNX folder is made of, before any choice of format: the model, its weights, its tokenizer's files.

GGUF's `ModelDescription` says where rows go in llama.cpp's graph; here they stay as the checkpoint has them, so only
the names are needed. Nothing of GGUF is in it, and none of llama.cpp's limits apply.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import UnsupportedError
from edgeproof.export.architectures import find_family
from edgeproof.export.architectures.config import ONNX_WAYS_ROUND, Config
from edgeproof.export.architectures.placing import OUTPUT, TABLE, check_equal, match_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeproof.contracts.tensors import Checkpoint
    from edgeproof.export.architectures.hyper_parameters import HyperParameters
    from edgeproof.export.onnx.tokenizer_files import TokenizerFiles

NO_GRAPH = frozenset({"Lfm2ForCausalLM"})
"""Classes that the registry describes for GGUF only: LFM2 has short convolutions, with a state beside the KV cache."""


@dataclass(frozen=True)
class OnnxDescription:
    """One model.

    Attributes:
        model: its hyper-parameters.
        config: `config.json`, merged.
        sources: the checkpoint's tensor, by the name that the family's class has for it ("model.norm.weight").
        tokenizer: its files.
        warnings: for people.

    """

    model: HyperParameters
    config: Mapping[str, object]
    sources: Mapping[str, str]
    tokenizer: TokenizerFiles
    warnings: tuple[str, ...] = ()


def is_described(config: Mapping[str, object]) -> bool:
    """Whether this module knows the graph of what `config.json` describes: its class, and every option of it."""
    try:
        class_name, family = find_family(config)
        family.read(Config(config, gguf=False), class_name)
    except UnsupportedError:
        return False
    return class_name not in NO_GRAPH


def describe_onnx(checkpoint: Checkpoint, tokenizer: TokenizerFiles) -> OnnxDescription:
    """Describe the ONNX folder of `checkpoint`. Rows are read only to see that a stored head equals a tied table.

    Args:
        checkpoint: a Hugging Face checkpoint or whatever looks like one (names and row order of its tensors,
            `config` as in config.json), merged or not.
        tokenizer: what `read_tokenizer_files` found in its folder.

    Raises:
        UnsupportedError: an unknown class, or an option that this graph does not compute.
        CheckpointError: a tensor is missing, has another shape than the configuration implies, or has no place.

    """
    class_name, family = find_family(checkpoint.config, ways_round=ONNX_WAYS_ROUND)
    model = family.read(Config(checkpoint.config, gguf=False), class_name)
    if class_name in NO_GRAPH:
        raise UnsupportedError(
            f"{class_name} has {model.layer_kinds.count('convolution')} convolution layers; the ONNX graph written "
            "here has attention layers only",
            next_step="write a GGUF format, or add --onnx-builder: onnxruntime-genai's own builder knows this family",
        )
    found = {plain: source for plain, (source, _) in match_tensors(checkpoint, family, model).items()}
    if model.tied and OUTPUT in found:
        check_equal(checkpoint, found.pop(OUTPUT), found[TABLE], model.vocabulary, model.hidden)
    return OnnxDescription(model, checkpoint.config, found, tokenizer)
