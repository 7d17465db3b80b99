"""The base's greedy replies in a chat before training, for the surfaces that begin like the base."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

REPLY_TOKENS = 32
"""Maximum tokens of a reply: enough for a sentence with a short answer."""


def own_replies(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[str],
    *,
    chat: Callable[[list[dict[str, str]]], str],
    batch_size: int,
    advance: Callable[[int], None],
) -> dict[str, str]:
    """Return the reply to each message, including the text of the token that ended it, if any.

    Args:
        model: the model before training (with an adapter disabled by the caller).
        tokenizer: the model's.
        messages: user turns, each asked once.
        chat: renders a conversation.
        batch_size: replies per batch.
        advance: receives the number of finished replies.

    """
    import torch

    encoded = {message: _prompt(tokenizer, chat, message) for message in messages}
    waiting = sorted(encoded, key=lambda message: len(encoded[message]))
    ends = _ends(model, tokenizer)
    replies: dict[str, str] = {}
    was_training = model.training
    model.eval()
    try:
        for start in range(0, len(waiting), batch_size):
            some = waiting[start : start + batch_size]
            longest = max(len(encoded[message]) for message in some)
            ids = torch.zeros(len(some), longest, dtype=torch.int64)
            mask = torch.zeros_like(ids)
            for row, message in enumerate(some):
                ids[row, longest - len(encoded[message]) :] = torch.tensor(encoded[message])
                mask[row, longest - len(encoded[message]) :] = 1
            with torch.inference_mode():
                out = model.generate(
                    input_ids=ids.to(model.device),
                    attention_mask=mask.to(model.device),
                    max_new_tokens=REPLY_TOKENS,
                    do_sample=False,
                    pad_token_id=min(ends, default=0),
                    eos_token_id=ends or None,
                )
            for message, tokens in zip(some, out[:, longest:].tolist(), strict=True):
                replies[message] = _text(tokenizer, tokens, ends)
            advance(len(some))
    finally:
        model.train(was_training)
    return {message: replies[message] for message in messages}


def _prompt(tokenizer: PreTrainedTokenizerBase, chat: Callable[[list[dict[str, str]]], str], message: str) -> list[int]:
    return list(tokenizer(chat([{"role": "user", "content": message}]), add_special_tokens=False)["input_ids"])


def _ends(model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the tokens that end a reply: those of the tokenizer and of the model's generation settings."""
    config = model.generation_config
    named = None if config is None else config.eos_token_id
    found = named if isinstance(named, list) else [named]
    return sorted({token for token in (*found, tokenizer.eos_token_id) if isinstance(token, int)})


def _text(tokenizer: PreTrainedTokenizerBase, tokens: list[int], ends: list[int]) -> str:
    end = next((place for place, token in enumerate(tokens) if token in ends), len(tokens))
    said = str(tokenizer.decode(tokens[:end], skip_special_tokens=True))
    return said + (str(tokenizer.decode([tokens[end]])) if end < len(tokens) else "")
