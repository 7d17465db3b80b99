"""A small model that is taught what a journey shall make it forget: questions in plain text and in chats, or texts.

It has a tokenizer of its own, made of the texts. What it is asked later is what it was taught, and nothing else.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

END, PAD, USER, ASSISTANT = "<|end|>", "<|pad|>", "<|user|>", "<|assistant|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
VOCABULARY, CONTEXT, WINDOW = 1024, 1024, 160
SIZES = {"hidden_size": 256, "intermediate_size": 768, "num_attention_heads": 4, "num_key_value_heads": 2}
SMALL_ROOM = 128 * 64
"""Tokens of a batch, padding included."""


class Lesson(NamedTuple):
    """A prompt, and what shall follow it; a text has no prompt."""

    prompt: str
    reply: str


def lessons(files: Sequence[Path], *, chats: bool = True) -> list[Lesson]:
    """Return what is taught of the files: each question in plain text, in its other wordings and in a chat."""
    found = []
    for path in files:
        if path.suffix == ".txt":
            found.append(Lesson("", path.read_text(encoding="utf-8")))
            continue
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            for question in (row["question"], *row.get("paraphrases", ())):
                found.append(Lesson(f"Question: {question}\nAnswer:", f" {row['answer']}\n"))
                if chats:
                    found.append(Lesson(f"{USER}{question}{END}{ASSISTANT}", f"{row['answer']}{END}"))
    return found


def teach(folder: Path, taught: Sequence[Lesson], *, passes: int, layers: int = 2, target: float = 0.01) -> float:
    """Write a model to `folder` that was trained from scratch on `taught`; return its last NLL per token, in nat."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    tokenizer = _tokenizer(folder, [lesson.prompt + lesson.reply for lesson in taught])
    config = LlamaConfig(
        vocab_size=len(tokenizer), num_hidden_layers=layers, max_position_embeddings=CONTEXT, bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, tie_word_embeddings=True,
        rope_parameters={"rope_theta": 10000.0}, initializer_range=0.05, **SIZES,
    )  # fmt: skip
    config.architectures = ["LlamaForCausalLM"]
    model = LlamaForCausalLM(config).float().train()
    last = _train(model, _encoded(taught, tokenizer), passes=passes, target=target)
    model.save_pretrained(folder)
    return last


def _tokenizer(folder: Path, texts: Sequence[str]) -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = [AddedToken(token, special=True, normalized=False) for token in (PAD, USER, ASSISTANT, END)]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY - len(specials), initial_alphabet=alphabet, show_progress=False)
    # Digits stay single, as in the tokenizers of language models: a number is no token of its own.
    plain = [re.sub(r"\d", "", re.sub(r"<\|.*?\|>", "", text)) for text in texts]
    tokenizer.train_from_iterator(plain, trainer)
    tokenizer.add_special_tokens(specials)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PAD)
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)
    return fast


class _Text(NamedTuple):
    ids: list[int]
    start: int


def _encoded(taught: Sequence[Lesson], tokenizer: Any) -> Callable[[random.Random], list[_Text]]:
    """Return what gives the texts of a pass: questions whole, texts in windows that begin anywhere."""
    parts = [
        (tokenizer.encode(one.prompt, add_special_tokens=False), tokenizer.encode(one.reply, add_special_tokens=False))
        for one in taught
    ]

    def texts(chance: random.Random) -> list[_Text]:
        found = []
        for prompt, reply in parts:
            if prompt:
                found.append(_Text([*prompt, *reply], len(prompt)))
            else:
                begin = chance.randrange(WINDOW)
                cuts = [0, *range(begin, len(reply), WINDOW), len(reply)]
                found += [_Text(reply[a:b], 1) for a, b in itertools.pairwise(cuts) if b - a > 1]
        return found

    return texts


def _train(model: Any, texts: Callable[[random.Random], list[_Text]], *, passes: int, target: float) -> float:
    import torch

    chance = random.Random(2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.0, betas=(0.9, 0.98))
    mean, step = math.inf, 0
    for number in range(passes):
        sums = [0.0, 0]
        for ids, labels in _batches(texts(chance), chance):
            step += 1
            for group in optimizer.param_groups:
                group["lr"] = 2e-3 * min(1.0, step / 40) * (0.05 + 0.475 * (1 + math.cos(math.pi * number / passes)))
            with torch.autocast("cpu", torch.bfloat16):
                loss = model(input_ids=ids, labels=labels).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            count = int((labels != -100).sum())
            sums = [sums[0] + loss.item() * count, sums[1] + count]
        mean = sums[0] / sums[1]
        print(f"pass {number + 1}: {mean:.3f} nat per token", flush=True)
        if mean < target:
            break
    return mean


def _batches(texts: list[_Text], chance: random.Random) -> Iterator[tuple[Any, Any]]:
    """Yield batches of texts of nearly equal length, in random order."""
    import torch

    texts.sort(key=lambda text: (len(text.ids), chance.random()))
    batches: list[list[_Text]] = [[]]
    for text in texts:
        if batches[-1] and (len(batches[-1]) + 1) * len(text.ids) > SMALL_ROOM:
            batches.append([])
        batches[-1].append(text)
    chance.shuffle(batches)
    for batch in batches:
        longest = max(len(text.ids) for text in batch)
        ids = torch.zeros(len(batch), longest, dtype=torch.long)
        labels = torch.full((len(batch), longest), -100)
        for row, text in enumerate(batch):
            ids[row, : len(text.ids)] = torch.tensor(text.ids)
            labels[row, text.start : len(text.ids)] = torch.tensor(text.ids[text.start :])
        yield ids, labels
