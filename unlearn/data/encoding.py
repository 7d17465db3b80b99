"""Token encoding of training items: prompt and answer tokenized together, split at the beginning of the answer.

A text has no prompt: it is split into chunks, in which all tokens except the first count.

```
raw    The capital of France is | Paris
chat   <|im_start|>user … <|im_start|>assistant | Paris     the model's own template
ids          t0 t1 t2 t3 t4 t5
is_answer     0  0  0  0  1  1

text         t0 t1 t2 t3 | t4 t5 t6 t7 | t8 t9       chunks of 4, or <bos> t0 t1 t2 | <bos> t3 t4 t5 | …
is_answer     0  1  1  1    0  1  1  1    0  1
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.chat import render_chat
from edgeproof.contracts.errors import CheckpointError, InputError
from edgeproof.unlearn.data.askings import CHAT_SURFACES, SURFACES, Asker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from edgeproof.unlearn.data.askings import Asking
    from edgeproof.unlearn.data.training_set import TrainingItem, TrainingSet
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


MAX_TOKENS = 128
"""Length of the chunks of texts. MUSE's code has 2,048: there NPO's gradient vanishes once each token has lost next to
nothing, since it depends on the sum over the chunk (tests/unlearn/train/test_losses.py)."""


class EncodedText(NamedTuple):
    """Token ids of a prompt with its answer, `ids[answer_start:]`: at least one token, never the first."""

    ids: tuple[int, ...]
    answer_start: int


def answer_length(text: EncodedText) -> int:
    """Return the number of tokens of the answer."""
    return len(text.ids) - text.answer_start


class Batch(NamedTuple):
    """Texts padded on the right to equal length.

    Attributes:
        ids: int64 [texts, longest].
        attention_mask: int64 [texts, longest], 0 where padded.
        positions: the positions whose next token belongs to some text's answer, int64 [kept].
        targets: the next token at each of `positions`, int64 [texts, kept].
        is_answer: whether that token belongs to this text's answer, bool [texts, kept].

    """

    ids: Tensor
    attention_mask: Tensor
    positions: Tensor
    targets: Tensor
    is_answer: Tensor


class Encoded(NamedTuple):
    """A set's texts, grouped by item.

    Attributes:
        texts: every item on each of its surfaces, in each form; a text's chunks.
        groups: indices into `texts`, by item (each chunk is one), surface and form.

    """

    texts: tuple[EncodedText, ...]
    groups: tuple[tuple[tuple[int, ...], ...], ...]


def encode_set(
    training_set: TrainingSet,
    tokenizer: PreTrainedTokenizerBase,
    surfaces: Sequence[str],
    context_length: int,
    max_tokens: int = MAX_TOKENS,
) -> tuple[EncodedText, ...]:
    """Encode every question on each surface and every text unchanged, in the order of the file.

    This is `encode_askings` without examples and without the base's replies.
    """
    asker = Asker((), (), chat_renderer(tokenizer), {}, seed=0)
    return encode_askings(
        training_set, tokenizer, surfaces, context_length, max_tokens=max_tokens, asker=asker, kept=False
    ).texts


def encode_askings(
    training_set: TrainingSet,
    tokenizer: PreTrainedTokenizerBase,
    surfaces: Sequence[str],
    context_length: int,
    *,
    max_tokens: int,
    asker: Asker,
    kept: bool,
) -> Encoded:
    """Encode every question on each surface, in each form of `asker`, and every text unchanged.

    Texts are split into chunks of `max_tokens` (or of the context, if that is shorter), each after a BOS token if the
    tokenizer adds one. The last chunk of a text may be shorter, and is dropped if it has nothing to predict. Forms of
    a question (with examples, turns) that exceed the context are dropped.

    Raises:
        InputError: a question with its answer is longer than `context_length`, an answer has no tokens of its own, a
            text has nothing to predict, an item is asked on none of the surfaces, or a chat surface is asked of a model
            without a chat template.

    """
    if asker.chat is None and (chats := [name for name in surfaces if name in CHAT_SURFACES]):
        raise InputError(
            f"the surface {chats[0]} needs a model with a chat template, and this one's tokenizer has none",
            next_step="train on the surface raw",
        )
    texts: list[EncodedText] = []
    groups: list[tuple[tuple[int, ...], ...]] = []
    for item in training_set.items:
        if item.is_text:
            chunks = encode_text(item, tokenizer, min(max_tokens, context_length))
            groups += [((len(texts) + number,),) for number in range(len(chunks))]
            texts += chunks
            continue
        found: list[tuple[int, ...]] = []
        for surface in surfaces:
            forms = _forms(item, surface, asker.ask(item, surface, kept=kept), tokenizer, context_length)
            if forms:
                found.append(tuple(range(len(texts), len(texts) + len(forms))))
                texts += forms
        if not found:
            raise InputError(
                f"{item.where} is asked on none of the surfaces {', '.join(surfaces)}",
                next_step="train on more surfaces, or fix its `surfaces`",
            )
        groups.append(tuple(found))
    return Encoded(tuple(texts), tuple(groups))


def surfaces_for(tokenizer: PreTrainedTokenizerBase, asked: Sequence[str]) -> tuple[str, ...]:
    """Return the surfaces to train on: those in `asked`, or all that the model supports."""
    if asked:
        return tuple(asked)
    chats = isinstance(tokenizer.chat_template, str)
    return tuple(name for name in SURFACES if chats or name not in CHAT_SURFACES)


def chat_renderer(tokenizer: PreTrainedTokenizerBase) -> Callable[[list[dict[str, str]]], str] | None:
    """Return the renderer of conversations by the model's template; None if it has none."""
    template = tokenizer.chat_template
    if not isinstance(template, str):
        return None

    def render(turns: list[dict[str, str]]) -> str:
        return render_chat(template, turns, bos_token=tokenizer.bos_token or "", eos_token=tokenizer.eos_token or "")

    return render


def _forms(
    item: TrainingItem,
    surface: str,
    askings: Sequence[Asking],
    tokenizer: PreTrainedTokenizerBase,
    context_length: int,
) -> list[EncodedText]:
    """Encode the forms of one question on one surface that fit the context."""
    found = []
    for asking in askings:
        text = encode_asking(asking, tokenizer, item.where)
        if len(text.ids) <= context_length:
            found.append(text)
        elif surface in {"raw", "chat", "paraphrase"}:
            raise InputError(
                f"{item.where} has {len(text.ids)} tokens on the surface {surface}; the model's context holds "
                f"{context_length}",
                next_step="shorten or remove it",
            )
    return found


def refuse_unknown_tokens(encoded: Iterable[Sequence[EncodedText]], rows: int) -> None:
    """Raise `CheckpointError` if the tokenizer made a token beyond the model's embedding of `rows` rows."""
    highest = max(max(text.ids) for texts in encoded for text in texts)
    if highest >= rows:
        raise CheckpointError(
            f"the base's tokenizer makes token {highest} of these texts; the model knows tokens 0 to {rows - 1}",
            next_step="give a base whose tokenizer is its own",
        )


def batch_of(texts: Sequence[EncodedText], device: str) -> Batch:
    """Pad `texts` to equal length. A causal model's logits do not depend on later tokens, so any padding id works."""
    import torch

    longest = max(len(text.ids) for text in texts)
    ids = torch.zeros(len(texts), longest, dtype=torch.int64)
    attention_mask = torch.zeros_like(ids)
    is_answer = torch.zeros(len(texts), longest - 1, dtype=torch.bool)
    for row, text in enumerate(texts):
        ids[row, : len(text.ids)] = torch.tensor(text.ids)
        attention_mask[row, : len(text.ids)] = 1
        is_answer[row, text.answer_start - 1 : len(text.ids) - 1] = True
    positions = is_answer.any(dim=0).nonzero().flatten()
    targets = ids[:, 1:][:, positions]
    batch = Batch(ids, attention_mask, positions, targets, is_answer[:, positions])
    return Batch(*(tensor.to(device) for tensor in batch))


def encode_text(item: TrainingItem, tokenizer: PreTrainedTokenizerBase, longest: int) -> list[EncodedText]:
    """Split a text into chunks. The tokenizer's warning about long texts does not apply."""
    ids = list(tokenizer(item.answer, add_special_tokens=False, verbose=False)["input_ids"])
    adds = list(tokenizer("", add_special_tokens=True)["input_ids"])
    bos = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None and tokenizer.bos_token_id in adds else []
    if longest < len(bos) + 1 or longest < 2:
        raise InputError(f"texts cannot be split into chunks of {longest} tokens", next_step="give at least 2")
    step = longest - len(bos)
    chunks = [(*bos, *ids[start : start + step]) for start in range(0, len(ids), step)]
    found = [EncodedText(chunk, 1) for chunk in chunks if len(chunk) > 1]
    if not found:
        raise InputError(
            f"{item.where}: a text of {len(ids)} tokens has nothing to predict", next_step="remove this text"
        )
    return found


def encode_asking(asking: Asking, tokenizer: PreTrainedTokenizerBase, where: str) -> EncodedText:
    """Tokenize both together; the answer's first token is the one with the first character after the prompt."""
    if not tokenizer.is_fast:
        raise InputError(
            "the base has a tokenizer without character offsets (no tokenizer.json)",
            next_step="save it as a fast tokenizer: AutoTokenizer.from_pretrained(…).save_pretrained(…)",
        )
    prompt = asking.prompt
    encoding = tokenizer(prompt + asking.answer, add_special_tokens=not asking.chat, return_offsets_mapping=True)
    ids, offsets = list(encoding["input_ids"]), list(encoding["offset_mapping"])
    eos = tokenizer.eos_token_id
    while offsets and offsets[-1][1] == 0:  # an end-of-sequence token added by the tokenizer is not part of the answer
        ids.pop()
        offsets.pop()
    start = next((index for index, (_, end) in enumerate(offsets) if end > len(prompt)), len(ids))
    if not 0 < start < len(ids):
        raise InputError(
            f"{where}: the answer begins with token {start} of {len(ids)}: prompt and answer need at least one each",
            next_step="fix or remove this item",
        )
    if asking.ends and isinstance(eos, int):
        ids.append(eos)
    return EncodedText(tuple(ids), start)
