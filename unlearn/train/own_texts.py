"""Texts that the base itself writes, as a measure of what else unlearning changes.

The NLL of such texts rises by an estimate of KL(π_base ‖ π): small where the model has stayed what it was, several nat
per token where it is ruined. They need no data, and no training set holds them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.unlearn.data.encoding import EncodedText

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TEXTS, TOKENS = 16, 32
"""Number of texts, and tokens of each."""


def own_texts(
    model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase, seed: int
) -> tuple[EncodedText, ...]:
    """Sample texts from the model at temperature 1, after its BOS token; torch's random state stays as it was.

    Args:
        model: the base (with an adapter disabled by the caller).
        tokenizer: the base's.
        seed: seed of the run.

    """
    import torch
    from transformers import GenerationConfig

    start = next((t for t in (tokenizer.bos_token_id, tokenizer.eos_token_id) if isinstance(t, int)), 0)
    # All of them: a checkpoint's own settings may narrow the choice of tokens.
    config = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        repetition_penalty=1.0,
        max_new_tokens=TOKENS,
        min_new_tokens=TOKENS,
        pad_token_id=start,
    )
    was_training = model.training
    model.eval()
    devices: list[int] | None = None if model.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices), torch.inference_mode():
            torch.manual_seed(seed)
            ids = torch.full((TEXTS, 1), start, device=model.device)
            out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config)
    finally:
        model.train(was_training)
    return tuple(EncodedText(tuple(row), 1) for row in out.tolist())
