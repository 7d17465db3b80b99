"""Writes a fully fine-tuned model as a Hugging Face folder that the exporter takes as a base: float32, no adapter.

Rounding to bf16 alone can bring back what was unlearned, so that the weights stay as they were trained.
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
    """Return the tokenizer's files by name: a folder's own, as they are, or what `of_gguf` makes of a GGUF's.

    What transformers reads from a GGUF has tokens of its own beside the file's; it is not written.

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
    # What a GGUF was dequantized by is no property of the weights any more.
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
