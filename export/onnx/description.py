"""Description of an ONNX folder, before the choice of a format: model, weights, tokenizer files.

GGUF's `ModelDescription` maps rows to llama.cpp's graph; here rows keep the checkpoint's order, so only names are
needed. llama.cpp's limits do not apply.
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
"""Classes supported for GGUF only: LFM2's short convolutions have a state beside the KV cache."""


@dataclass(frozen=True)
class OnnxDescription:
    """A model to write as ONNX.

    Attributes:
        model: its hyper-parameters.
        config: content of `config.json` after the merge.
        sources: the checkpoint's tensors by the family's name ("model.norm.weight").
        tokenizer: the tokenizer files.
        warnings: warnings for the user.

    """

    model: HyperParameters
    config: Mapping[str, object]
    sources: Mapping[str, str]
    tokenizer: TokenizerFiles
    warnings: tuple[str, ...] = ()


def is_described(config: Mapping[str, object]) -> bool:
    """Whether an ONNX graph can be written for `config.json`: its class, and every option of it."""
    try:
        class_name, family = find_family(config)
        family.read(Config(config, gguf=False), class_name)
    except UnsupportedError:
        return False
    return class_name not in NO_GRAPH


def describe_onnx(checkpoint: Checkpoint, tokenizer: TokenizerFiles) -> OnnxDescription:
    """Describe the ONNX folder of `checkpoint`. Rows are read only to check that a stored head equals a tied table.

    Args:
        checkpoint: a checkpoint with Hugging Face's tensor names, row order and `config`, merged or not.
        tokenizer: the files that `read_tokenizer_files` found in its folder.

    Raises:
        UnsupportedError: an unknown class, or an option that the graph does not support.
        CheckpointError: a tensor is missing, has another shape than the configuration implies, or has no place.

    """
    class_name, family = find_family(checkpoint.config, ways_round=ONNX_WAYS_ROUND)
    model = family.read(Config(checkpoint.config, gguf=False), class_name)
    if class_name in NO_GRAPH:
        raise UnsupportedError(
            f"{class_name} has {model.layer_kinds.count('convolution')} convolution layers; ONNX graphs are "
            "written with attention layers only",
            next_step="write a GGUF format, or add --onnx-builder: onnxruntime-genai's builder supports this family",
        )
    found = {plain: source for plain, (source, _) in match_tensors(checkpoint, family, model).items()}
    if model.tied and OUTPUT in found:
        check_equal(checkpoint, found.pop(OUTPUT), found[TABLE], model.vocabulary, model.hidden)
    return OnnxDescription(model, checkpoint.config, found, tokenizer)
