"""Writer of a fully fine-tuned model as a float32 Hugging Face folder, which the exporter accepts as a base.

Rounding to bf16 alone can restore unlearned knowledge, so the weights are not rounded.
"""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import TrainingError, UsageError
from edgeproof.unlearn.output.folder import plain_mode, writing_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from edgeproof.unlearn.base_model import BaseModel
    from transformers import PreTrainedModel

_TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt", "chat_template.jinja", "chat_template.json",
)  # fmt: skip


def refuse_broken(model: PreTrainedModel, *, moved: bool) -> None:
    """Raise `TrainingError` if a weight is NaN or infinite, or if no step had a gradient."""
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            raise TrainingError(
                f"{int((~parameter.isfinite()).sum())} of {parameter.numel()} weights of {name} are NaN or infinite",
                next_step="train with a lower learning rate or fewer steps",
            )
    if not moved:
        raise TrainingError(
            "training changed nothing: the gradient was zero at every step",
            next_step="check that a forget text still counts (hinge), and that the retain weight is not 0",
        )


def tokenizer_files(base: Path, of_gguf: Callable[[Path], Mapping[str, bytes]] | None) -> dict[str, bytes]:
    """Return the tokenizer files by name: those of a folder, or those that `of_gguf` rebuilds from a GGUF.

    transformers' tokenizer of a GGUF is not written, since it has additional tokens.

    Raises:
        UsageError: the base is a GGUF and there is no `of_gguf`.

    """
    if not base.is_dir():
        if of_gguf is None:
            raise UsageError(
                f"{base} is a GGUF whose tokenizer must be rebuilt for a folder, and `gguf_tokenizer` is not given",
                next_step="pass a function that rebuilds it (the command line does), or give a Hugging Face folder",
            )
        return dict(of_gguf(base))
    return {name: (base / name).read_bytes() for name in _TOKENIZER_FILES if (base / name).is_file()}


def write_model(folder: Path, base: BaseModel, tokenizer: Mapping[str, bytes]) -> int:
    """Write config, float32 safetensors and the tokenizer's files into `folder`; return the weights' bytes."""
    from transformers.utils import logging

    model = base.model
    # The dequantization config of a GGUF does not apply to the written weights.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with contextlib.redirect_stderr(io.StringIO()), writing_weights():
            model.save_pretrained(folder)
    finally:
        if bars:
            logging.enable_progress_bar()
    for name, content in tokenizer.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    for path in folder.rglob("*"):
        if path.is_file():
            plain_mode(path)
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
