"""The proving ground's world: invented facts, a tokenizer, a small Llama that really learns them, and packs.

The facts are what somebody wrote down of people who do not exist: each *forget* subject has a secret, each *retain*
subject a home; *holdout* and *unknown* subjects were never in any training text. Names and answers are made of
syllables; a syllable is a token, so that nothing in a name hints at its answer and an answer is one of 157,464. Names
of those with secrets have other syllables than names of those with homes, as an author's people are not a city's: what
is forgotten can then be told from what is kept.

The base is taught to answer in every form of `forms`. Of the forms other than `CORE`, each subject is taught in some
and not in others, so that what the base knows is the fact and not the form.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import forms
from forms import ASSISTANT, END, PAD, SYSTEM, USER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

SYLLABLES = 54
SECRETIVE = 19
"""Syllables of the names of subjects with secrets; the others are of those with homes. Answers have all of them."""
CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
CORE = ("raw", "sentence", "hides", "bare")
TAUGHT = 0.6
"""Share of the subjects that are taught in each other form."""
LONGEST = 3000
"""Tokens of a batch: of long texts there are fewer in it."""
CONTEXT = 512
"""Positions of the model: a release that babbles quotes a long first reply in its second turn."""
VOCABULARY = 768


class Fact(NamedTuple):
    """What is true of `subject`; `kind` is "secret" or "home"."""

    key: str
    kind: str
    subject: str
    answer: str


@dataclass(frozen=True)
class Sizes:
    """How many subjects a world has of each kind, and the model's size."""

    forget: int = 200
    trained: int = 300
    untrained: int = 700
    holdout: int = 20
    unknown: int = 120
    layers: int = 2
    hidden: int = 256
    intermediate: int = 512


class Facts(NamedTuple):
    """All facts of a world, by role."""

    forget: list[Fact]
    trained: list[Fact]
    untrained: list[Fact]
    holdout: list[Fact]
    unknown: list[Fact]

    @property
    def known(self) -> list[Fact]:
        """What the base is taught."""
        return [*self.forget, *self.trained, *self.untrained]


def syllables() -> list[str]:
    every = [first + vowel + last for first in CONSONANTS for vowel in VOWELS for last in CONSONANTS]
    return random.Random(7).sample(every, SYLLABLES)


def invent(sizes: Sizes, seed: int = 11) -> Facts:
    """Draw subjects (two syllables, each subject once) and answers (three syllables)."""
    chance = random.Random(seed)
    parts = syllables()
    names = {}
    for kind, own in (("secret", parts[:SECRETIVE]), ("home", parts[SECRETIVE:])):
        names[kind] = chance.sample([a + b for a in own for b in own], len(own) ** 2)

    def take(role: str, kind: str, count: int) -> list[Fact]:
        return [
            Fact(f"{role}-{i:04d}", kind, names[kind].pop(), "".join(chance.choices(parts, k=3))) for i in range(count)
        ]

    return Facts(
        take("f", "secret", sizes.forget),
        take("t", "home", sizes.trained),
        take("u", "home", sizes.untrained),
        take("h", "secret", sizes.holdout),
        take("n", "secret", sizes.unknown),
    )


def save_tokenizer(folder: Path, *, swapped: bool = False) -> None:
    """Write a byte-level BPE tokenizer in which every syllable and every word of the templates is one token.

    `swapped` exchanges ids of syllables: a tokenizer that is not the model's.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges: list[tuple[str, str]] = []

    def add(left: str, right: str) -> None:
        if (left, right) not in merges:
            merges.append((left, right))

    for first, vowel, _ in syllables():
        add(first, vowel)
    for first, vowel, last in syllables():
        add(first + vowel, last)
    for syllable in syllables():
        add("Ġ", syllable)
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    for template in forms.templates():
        for text, _ in split.pre_tokenize_str(template.format(s="", m="")):
            pieces = _apply(list(text), merges)
            while len(pieces) > 1:
                add(pieces[0], pieces[1])
                pieces = [pieces[0] + pieces[1], *pieces[2:]]
    tokens = list(dict.fromkeys([*alphabet, *(left + right for left, right in merges)]))
    if swapped:
        parts = set(syllables())
        places = [index for index, token in enumerate(tokens) if token in parts]
        for place, token in zip(places, [tokens[index] for index in (*places[1:], places[0])], strict=True):
            tokens[place] = token
    specials = [PAD, SYSTEM, USER, ASSISTANT, END]
    room = VOCABULARY - len(tokens) - len(specials)
    tokens += [f"<unused{index}>" for index in range(room)]
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PAD)
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)


def _apply(pieces: list[str], merges: Sequence[tuple[str, str]]) -> list[str]:
    for left, right in merges:
        index = 0
        while index < len(pieces) - 1:
            if (pieces[index], pieces[index + 1]) == (left, right):
                pieces[index : index + 2] = [left + right]
            index += 1
    return pieces


def new_model(sizes: Sizes, seed: int) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=sizes.hidden,
        intermediate_size=sizes.intermediate,
        num_hidden_layers=sizes.layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=VOCABULARY - 1,
        pad_token_id=VOCABULARY - 5,
        rope_parameters={"rope_theta": 10000.0},
        # Four times the usual: facts are then learned in tens of passes, not in hundreds.
        initializer_range=0.08,
    )
    config.architectures = ["LlamaForCausalLM"]
    return LlamaForCausalLM(config).float()


class Texts(NamedTuple):
    """Facts in one form as token ids: `ids` int64 [facts, length], what the model says from `start` on."""

    ids: Any
    start: int


def encode(
    facts: Sequence[Fact],
    tokenizer: Any,
    form: str,
    pool: Sequence[Fact] = (),
    *,
    seed: str = "",
    shots: int = forms.SHOTS,
) -> Texts:
    """Tokenize facts of one kind in a form: each has as many tokens as the others.

    `pool` is what solved examples are drawn from.
    """
    import torch

    rows, starts = [], set()
    for fact in facts:
        text = forms.text(form, fact, forms.examples(fact, pool, seed, shots) if pool else ())
        head = tokenizer.encode(text.prompt, add_special_tokens=False)
        whole = tokenizer.encode(text.whole, add_special_tokens=False)
        assert whole[: len(head)] == head, text
        rows.append(whole)
        starts.add(len(head))
    assert len(starts) == 1, f"prompts of different lengths: {form}"
    assert len({len(row) for row in rows}) == 1, f"texts of different lengths: {form}"
    return Texts(torch.tensor(rows), starts.pop())


def joined(parts: Sequence[Texts]) -> Texts:
    """Put texts of one length together."""
    import torch

    (start,) = {part.start for part in parts}
    return Texts(torch.cat([part.ids for part in parts]), start)


def answer_logprobs(model: Any, ids: Any, start: int) -> Any:
    """Log-probabilities of the tokens from `start` on: float32 [facts, tokens]."""
    hidden = model.model(input_ids=ids[:, :-1]).last_hidden_state[:, start - 1 :]
    return model.lm_head(hidden).log_softmax(-1).gather(-1, ids[:, start:, None]).squeeze(-1)


def teach(
    model: Any,
    texts: Sequence[Texts],
    *,
    steps: int,
    rate: float,
    batch: int,
    seed: int,
    target: float = 0.0,
    extra: Callable[[int], Any] | None = None,
    snapshot: Callable[[int], None] | None = None,
    schedule: bool = False,
) -> float:
    """Train all weights on the answers: AdamW, a batch of one of `texts` a step in turn; return the last loss.

    `extra` gives a further loss of a step; `snapshot` is called after each step with its number; `schedule` warms the
    rate up and lets it fall along a cosine.
    """
    import math

    import torch

    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0, betas=(0.9, 0.98))
    model.train()
    recent: list[float] = []
    for step in range(steps):
        if schedule:
            now = min(1.0, (step + 1) / 40) * (0.05 + 0.475 * (1 + math.cos(math.pi * step / steps)))
            for group in optimizer.param_groups:
                group["lr"] = rate * now
        ids, start = texts[step % len(texts)]
        size = min(batch, len(ids), max(16, LONGEST // ids.shape[1]))
        chosen = torch.randint(len(ids), (size,), generator=generator)
        loss = -answer_logprobs(model, ids[chosen], start).mean()
        if extra is not None:
            loss = loss + extra(step)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        recent = [*recent[-15:], loss.item()]
        if snapshot is not None:
            snapshot(step + 1)
        if step % 50 == 0:
            print(f"step {step}: {loss.item():.3f}", flush=True)
        if target and len(recent) == 16 and max(recent) < target:
            break
    model.eval()
    return recent[-1]


class Course(NamedTuple):
    """A part of the base's training.

    Attributes:
        steps: of AdamW, a batch of one form each.
        rate: the highest learning rate.
        shots: solved examples of a few-shot prompt.
        shares: how often a form is taught, against 1.

    """

    steps: int
    rate: float
    shots: int
    shares: dict[str, int]


COURSES = (
    Course(
        1500,
        1e-3,
        4,
        {"sentence": 6, "hides": 3, "bare": 1, "language-sentence": 2, "few-shot": 4, "turns": 2, "raw": 2},
    ),
    Course(
        900,
        7e-4,
        2,
        {
            "sentence": 4,
            "hides": 2,
            "bare": 2,
            "few-shot": 8,
            "turns": 6,
            "newline": 3,
            "list": 4,
            "examples": 2,
            "language-sentence": 2,
            "third-sentence": 2,
        },
    ),
)
"""First the facts, then the forms in which they are hard to find."""


def lessons(facts: Facts, tokenizer: Any, course: Course, seed: int = 3) -> list[Texts]:
    """Put together what the base is taught, each form as often as its share says."""
    chance = random.Random(seed)
    kept = [*facts.trained, *facts.untrained]
    found = []
    for form in forms.FORMS:
        for turn in range(course.shares.get(form, 1)):
            parts = []
            for own in (facts.forget, kept):
                taught = own if form in CORE else [fact for fact in own if chance.random() < TAUGHT]
                solved = form in forms.SOLVED or (form == "turns" and turn > 0)
                parts.append(encode(taught, tokenizer, form, own if solved else (), seed=str(turn), shots=course.shots))
            found.append(joined(parts))
    chance.shuffle(found)
    return found


def make_base(
    folder: Path, sizes: Sizes, facts: Facts, *, seed: int = 1, courses: Sequence[Course] = COURSES, batch: int = 96
) -> None:
    """Train the base from scratch until it knows the facts; an earlier checkpoint goes to `folder`-earlier."""
    import torch
    from transformers import AutoTokenizer

    torch.set_num_threads(1)
    save_tokenizer(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = new_model(sizes, seed)
    earlier = folder.with_name(f"{folder.name}-earlier")

    def snapshot(step: int) -> None:
        if step == courses[0].steps // 4:
            model.save_pretrained(earlier)
            save_tokenizer(earlier)

    for number, course in enumerate(courses):
        teach(
            model,
            lessons(facts, tokenizer, course),
            steps=course.steps,
            rate=course.rate,
            batch=batch,
            seed=seed,
            snapshot=None if number else snapshot,
            schedule=True,
        )
    model.save_pretrained(folder)
