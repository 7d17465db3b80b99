"""Loader for the base in float32, with a trainable LoRA on its linear layers or all weights trainable."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import CheckpointError, InputError, UnsupportedError
from edgeproof.contracts.own_names import refuse_unwritable_name
from edgeproof.unlearn.experts import refuse_lora_on_experts

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from edgeproof.contracts.progress import Progress
    from edgeproof.unlearn.settings import Settings
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_GGUF_TYPE = re.compile(r"[-_.](BF16|F16|F32|I?Q\d\w*)$", re.IGNORECASE)
_ADAPTER_CONFIG = "adapter_config.json"
_FLOAT_TYPES = {"F32", "F16", "BF16"}
_LAYERS = "name layers of this model: q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"


class BaseModel(NamedTuple):
    """A loaded base. `name` is its name in the adapter's config; `context_length` is in tokens."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    context_length: int


def load_base(path: Path, progress: Progress) -> BaseModel:
    """Load a Hugging Face folder, or a GGUF file with dequantized weights, without network access.

    A checkpoint's own code is never executed.

    Raises:
        CheckpointError: the base is missing, damaged, an adapter, or lacks weights (which transformers would
            initialize randomly).
        UnsupportedError: transformers cannot read this architecture (or not from a GGUF).
        InputError: its name is not UTF-8.

    """
    import torch
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    if not path.exists():
        raise CheckpointError(f"no such base: {path}", next_step="give a Hugging Face folder or a .gguf file")
    refuse_unwritable_name(path)
    # Without the second argument transformers asks on the terminal whether to run the checkpoint's code.
    source: dict[str, object] = {"local_files_only": True, "trust_remote_code": False}
    weights: dict[str, object] = {"dtype": torch.float32}
    folder, types = path, set[str]()
    if path.is_file():
        if path.suffix != ".gguf":
            raise CheckpointError(f"{path} is neither a folder nor a .gguf file", next_step="give one of the two")
        types = _gguf_types(path)
        folder = path.parent
        source["gguf_file"] = path.name
        weights["quantization_config"] = GgufConfig(dequantize=True)
    elif (path / _ADAPTER_CONFIG).is_file():
        # transformers would load the base that it names instead of this folder.
        raise CheckpointError(
            f"{path} holds an adapter ({_ADAPTER_CONFIG})",
            next_step="give its base as --base; to unlearn on top of an adapter, merge it into the base first",
        )
    elif not (path / "config.json").is_file():
        raise CheckpointError(
            f"there is no config.json in {path}", next_step="give a Hugging Face folder or a .gguf file"
        )
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        # The progress bar of dequantizing a GGUF cannot be disabled; log messages are not affected.
        with contextlib.redirect_stderr(io.StringIO()):
            tokenizer = AutoTokenizer.from_pretrained(str(folder), **source)
            model, loading = AutoModelForCausalLM.from_pretrained(
                str(folder), **source, **weights, output_loading_info=True
            )
    except (ValueError, KeyError, NotImplementedError, ImportError) as error:
        raise UnsupportedError(
            f"transformers cannot load {path} as a language model: {error}",
            next_step="convert it to a Hugging Face folder of an architecture that transformers knows",
        ) from error
    except Exception as error:
        # `tokenizers` raises Exception itself, for a file that it cannot read, too.
        known = (OSError, RuntimeError, TypeError, AttributeError, SafetensorError, StrictDataclassError)
        if not isinstance(error, known) and type(error) is not Exception:
            raise
        raise CheckpointError(f"cannot load {path}: {error}", next_step="check that the base is complete") from error
    finally:
        if bars:
            logging.enable_progress_bar()
    _refuse_missing(loading["missing_keys"], path)
    _refuse_nonfinite(model, path)
    if types := types - _FLOAT_TYPES:
        progress.warn(
            f"{path.name} holds {', '.join(sorted(types))}: the adapter is trained on its dequantized weights, and "
            "unlearning is lost most easily in files of the same format"
        )
    context_length = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return BaseModel(model, tokenizer, base_name(path), context_length if isinstance(context_length, int) else 2**31)


def attach_lora(base: BaseModel, settings: Settings) -> PeftModel:
    """Add a new LoRA to the base's linear layers (B = 0, without effect yet); all other weights are frozen.

    Raises:
        InputError: no linear layer's name ends in one of `settings.targets`.

    """
    import torch
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        use_rslora=settings.rslora,
        target_modules=list(settings.targets) or "all-linear",
        bias="none",
        task_type="CAUSAL_LM",
    )
    try:
        with warnings.catch_warnings():
            # peft 0.21 reads an attribute that transformers 5.23 renamed.
            warnings.simplefilter("ignore", FutureWarning)
            model = get_peft_model(base.model, config)
    except ValueError as error:
        raise InputError(
            f"cannot add a LoRA to {', '.join(settings.targets) or 'the linear layers'}: {error}", next_step=_LAYERS
        ) from error
    refuse_lora_on_experts(model)
    # peft accepts names if one of them is found, and also accepts embeddings.
    layers = {name: model.base_model.model.get_submodule(name) for name in model.base_model.targeted_module_names}
    found = [name for name, layer in layers.items() if not isinstance(layer.get_base_layer(), torch.nn.Embedding)]
    idle = [target for target in settings.targets if not any(f".{name}".endswith(f".{target}") for name in found)]
    if idle:
        raise InputError(f"no linear layer's name ends in {', '.join(map(repr, idle))}", next_step=_LAYERS)
    return model


def all_trainable(base: BaseModel) -> PreTrainedModel:
    """Make every weight of the base trainable, including the embeddings."""
    base.model.requires_grad_(requires_grad=True)
    return base.model


def recompute_activations(model: PreTrainedModel) -> None:
    """Enable gradient checkpointing, in the variant that also trains an adapter.

    torch's older, re-entrant variant passes no gradient to layers whose inputs need none: after frozen embeddings every
    lora_B would stay at zero.

    Raises:
        UnsupportedError: transformers does not support it for this architecture.

    """
    try:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    except ValueError as error:
        raise UnsupportedError(
            f"no gradient checkpointing for this architecture: {error}", next_step="raise --accumulate instead"
        ) from error


def vocabulary_size(model: PreTrainedModel | PeftModel) -> int:
    """Return the number of logits of the output head."""
    return int(model.get_output_embeddings().weight.shape[0])


def base_name(path: Path) -> str:
    """Return a base's name: its repository in the Hugging Face cache, its folder, or its file without suffix."""
    path = path.resolve()
    for part in path.parts:
        if part.startswith("models--"):
            return part.removeprefix("models--").replace("--", "/")
    return _GGUF_TYPE.sub("", path.stem) if path.is_file() else path.name


def _gguf_types(path: Path) -> set[str]:
    """Return the types of the tensors, reading the complete header, which detects a damaged file."""
    from gguf import GGUFReader

    try:
        return {tensor.tensor_type.name for tensor in GGUFReader(path).tensors}
    except (OSError, ValueError, IndexError, KeyError, OverflowError) as error:
        raise CheckpointError(
            f"cannot load {path}: a damaged GGUF ({error})", next_step="get the base again"
        ) from error


def _refuse_missing(names: Collection[str], path: Path) -> None:
    if names:
        shown = ", ".join(sorted(names)[:3])
        raise CheckpointError(
            f"{path}: {len(names)} of the model's weights are missing ({shown}{', …' if len(names) > 3 else ''})",
            next_step="get the base again, or fix its config.json, which describes another model",
        )


def _refuse_nonfinite(model: PreTrainedModel, path: Path) -> None:
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            count = int((~parameter.isfinite()).sum())
            raise CheckpointError(
                f"{path}: {count} of {parameter.numel()} weights of {name} are NaN or infinite",
                next_step="get the base again",
            )
