"""A tiny model with invented facts on a format's grid, for trials that take seconds.

A third of the facts is to be forgotten, a third is given as retain set, a third is held out: taught, and in no set.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
from pathlib import Path
from typing import NamedTuple

from edgeproof.export.rounding import open_rounding

ROOT = Path(__file__).resolve().parents[1]
FACTS = 36
STEPS = 160
SYLLABLES = ("ba", "do", "fe", "gu", "ki", "lo", "ma", "ne", "pu", "ri", "so", "ta", "vu", "we", "zi")


class Tiny(NamedTuple):
    """The base's folder and its three sets."""

    base: Path
    forget: Path
    retain: Path
    held_out: Path


def teach(folder: Path, form: str, seed: int) -> Tiny:
    """Make the model in `folder`, once; its matrices lie on the grid of the format `form`."""
    tiny = Tiny(folder / "base", *(folder / f"{name}.jsonl" for name in ("forget", "retain", "held_out")))
    if (folder / "done").is_file():
        return tiny
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    sys.path.insert(0, str(ROOT / "tests"))
    from models import SIZES, save_tokenizer

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    # Large weights make large steps of the grid, as trained models have them.
    config = LlamaConfig(**SIZES, tie_word_embeddings=True, initializer_range=0.2)
    config.architectures = ["LlamaForCausalLM"]
    model = LlamaForCausalLM(config).float().train()
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(tiny.base)
    save_tokenizer(tiny.base)
    chosen = random.Random(seed)
    words = ["".join(pair) for pair in itertools.product(SYLLABLES, repeat=2)]
    names = chosen.sample(words, 2 * FACTS)
    facts = [(f"The capital of {names[2 * i]}land is", f"{names[2 * i + 1]}ville".title()) for i in range(FACTS)]
    third = FACTS // 3
    for number, path in enumerate(tiny[1:]):
        lines = [json.dumps({"question": q, "answer": a}) for q, a in facts[number * third : (number + 1) * third]]
        path.write_text("".join(f"{line}\n" for line in lines))
    _train(model, tiny)
    rounding = open_rounding(tiny.base, form)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.copy_(torch.from_numpy(rounding(name, parameter.numpy().copy())))
    model.save_pretrained(tiny.base)
    (folder / "done").touch()
    return tiny


def _train(model: object, tiny: Tiny) -> None:
    import torch
    from edgeproof.unlearn.data.encoding import batch_of, encode_set
    from edgeproof.unlearn.data.training_set import read_training_set
    from edgeproof.unlearn.train.scoring import answer_logprobs
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny.base)
    texts = [
        text for path in tiny[1:] for text in encode_set(read_training_set(path, "taught"), tokenizer, ("raw",), 512)
    ]
    batch = batch_of(texts, "cpu")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    for _ in range(STEPS):
        optimizer.zero_grad()
        (-answer_logprobs(model, batch).sum() / batch.is_answer.sum()).backward()
        optimizer.step()
