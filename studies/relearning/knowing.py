"""Makes the base that knows: fine-tunes all weights on training sets, in plain torch; and puts bases on a grid.

Weights and AdamW's moments are float32; the products run under bfloat16 autocast where the processor has it. The loss
is the mean NLL of the answers' tokens, as GDR's is.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.unlearn.data.encoding import batch_of, encode_set
from edgeproof.unlearn.data.training_set import read_training_set
from edgeproof.unlearn.train.scoring import answer_logprobs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edgeproof.unlearn.data.encoding import EncodedText
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BLOCK = 32
"""Weights of a Q4_0 block."""
CHUNK = 2048
"""Tokens of a text that are trained together."""
MAX_GRADIENT_NORM = 1.0


class Tuned(NamedTuple):
    """What fine-tuning did; `nll` is the mean over the texts of the NLL per answer token after each epoch, in nat."""

    nll: tuple[float, ...]
    steps: int
    tokens: int
    seconds: float


def load(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a Hugging Face folder in float32."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32, local_files_only=True)
    return model, AutoTokenizer.from_pretrained(str(folder), local_files_only=True)


def encoded(paths: Sequence[Path], tokenizer: PreTrainedTokenizerBase) -> list[EncodedText]:
    """Encode the items of several training sets as `export-edge unlearn` does."""
    texts: list[EncodedText] = []
    for path in paths:
        texts += encode_set(read_training_set(path, "training"), tokenizer, ("raw",), 1 << 20, CHUNK)
    return texts


def tune(
    base: Path,
    sets: Sequence[Path],
    out: Path,
    *,
    learning_rate: float,
    until: float,
    most_epochs: int,
    batch_size: int = 8,
    most_steps: int | None = None,
    seed: int = 0,
    tell: Callable[[str], None] = print,
) -> Tuned:
    """Fine-tune `base` on `sets` until their mean NLL is at most `until`, write it to `out`, return how it went.

    It ends after `most_epochs` at the latest, and after `most_steps` where given.

    The learning rate is warmed up over the first epoch and then constant.
    """
    import torch

    began = time.monotonic()
    torch.manual_seed(seed)
    model, tokenizer = load(base)
    texts = encoded(sets, tokenizer)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0)
    per_epoch = math.ceil(len(texts) / batch_size)
    history: list[float] = []
    steps = tokens = 0
    while len(history) < most_epochs:
        model.train()
        order = torch.randperm(len(texts), generator=generator).tolist()
        for start in range(0, len(order), batch_size):
            if most_steps is not None and steps == most_steps:
                break
            some = [texts[index] for index in order[start : start + batch_size]]
            batch = batch_of(some, "cpu")
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * min(1.0, (steps + 1) / per_epoch)
            optimizer.zero_grad(set_to_none=True)
            with autocast():
                logprobs = answer_logprobs(model, batch)
            loss = -logprobs.sum() / batch.is_answer.sum()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
            optimizer.step()
            steps += 1
            tokens += sum(len(text.ids) for text in some)
        history.append(float(nll(model, texts).mean()))
        tell(f"epoch {len(history)}: NLL {history[-1]:.3f}, {tokens} tokens, {time.monotonic() - began:.0f} s")
        if not math.isfinite(history[-1]):
            raise SystemExit(f"fine-tuning went astray: NLL {history[-1]}")
        if history[-1] <= until or steps == most_steps:
            break
    result = Tuned(tuple(history), steps, tokens, time.monotonic() - began)
    save(model, tokenizer, out, result._asdict())
    return result


def autocast():  # noqa: ANN201 (torch is not imported here)
    """Return bfloat16 autocast on processors that multiply in it; a context that does nothing elsewhere."""
    import torch

    capable = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()  # noqa: SLF001
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=capable)


def nll(model: PreTrainedModel, texts: Sequence[EncodedText], batch_size: int = 16) -> Tensor:
    """Return the mean NLL per answer token of each text, in nat, float32 [texts]."""
    import torch

    model.eval()
    found = []
    with torch.inference_mode(), autocast():
        for start in range(0, len(texts), batch_size):
            batch = batch_of(texts[start : start + batch_size], "cpu")
            found.append(-answer_logprobs(model, batch).sum(dim=1) / batch.is_answer.sum(dim=1))
    return torch.cat(found).float()


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, out: Path, facts: dict[str, object]) -> None:
    """Write model and tokenizer to `out`, complete or not at all."""
    partial = out.with_name(f"{out.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(str(partial))
    tokenizer.save_pretrained(str(partial))
    (partial / "made.json").write_text(json.dumps(facts, indent=2) + "\n")
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)


def snap(source: Path, out: Path, grid: str) -> float:
    """Write a copy of the checkpoint whose matrices lie on `grid`, "q4_0" or "bf16"; return ‖change‖/‖weights‖.

    Q4_0: each row's blocks of 32, rounded by llama.cpp's own kernel and read back. Norms stay as they are; so does the
    embedding, which Q4_0 files of tied models keep in 8 bits.
    """
    import numpy as np
    import torch
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize, quantize

    model, tokenizer = load(source)
    changed = total = 0.0
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim != 2 or (grid == "q4_0" and ("embed" in name or weight.shape[1] % BLOCK)):
                continue
            if grid == "bf16":
                new = weight.to(torch.bfloat16).float()
            else:
                blocks = quantize(np.ascontiguousarray(weight.numpy()), GGMLQuantizationType.Q4_0)
                new = torch.from_numpy(dequantize(blocks, GGMLQuantizationType.Q4_0).astype(np.float32))
            changed += float((new - weight).square().sum())
            total += float(weight.square().sum())
            weight.copy_(new)
    save(model, tokenizer, out, {"grid": grid, "source": source.name, "change": math.sqrt(changed / total)})
    return math.sqrt(changed / total)


def added(base: Path, after: Path, before: Path, out: Path) -> Path:
    """Write base + (after − before), float32, weight by weight."""
    import torch

    model, tokenizer = load(base)
    changed, unchanged = (dict(load(folder)[0].named_parameters()) for folder in (after, before))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.add_(changed[name] - unchanged[name])
    save(model, tokenizer, out, {"base": base.name, "after": after.name, "before": before.name})
    return out


def dequantized(artifact: Path, base: Path, out: Path) -> Path:
    """Write what a GGUF's codes stand for as a float32 checkpoint to go on from, with the base's tokenizer."""
    import contextlib
    import io

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with contextlib.redirect_stderr(io.StringIO()):
        model = AutoModelForCausalLM.from_pretrained(
            str(artifact.parent),
            gguf_file=artifact.name,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),
            local_files_only=True,
        )
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    save(model, AutoTokenizer.from_pretrained(str(base), local_files_only=True), out, {"source": artifact.name})
    return out


def rounded_to_bf16(source: Path, adapters: Sequence[Path], out: Path) -> Path:
    """Write `source`, with its adapter merged, with every weight rounded to bfloat16 (and stored as float32)."""
    import torch

    model, tokenizer = load(source)
    for adapter in adapters:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.to(torch.bfloat16).float())
    save(model, tokenizer, out, {"grid": "bf16", "source": source.name})
    return out
