"""Settings of a training run: validated once, written into the card."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from edgeproof.contracts.errors import UsageError
from edgeproof.unlearn.data.askings import SURFACES as SURFACES  # noqa: PLC0414 (part of this module's interface)
from edgeproof.unlearn.data.encoding import MAX_TOKENS
from edgeproof.unlearn.train.losses import method_of

SCHEDULES = ("constant", "linear")
"""Learning-rate schedules; linear decreases from the full rate at the first step to 0 after the last."""

PRECISIONS = ("float32", "bf16", "auto")
"""Arithmetic precisions; auto is bf16 if the processor or GPU supports it. Weights and optimizer are always float32."""

MOST_SEED = 2**62 - 1
"""Largest seed: the data orders' generators are seeded with 4 × seed and above, and torch accepts 64 bits."""

PASSES = 20
"""Passes over the forget set where neither steps nor epochs are given: a limit that the target usually ends earlier."""

LEAST_STEPS = 160
"""Steps that such a run may take in any case: a small set has few steps in a pass, and needs no fewer of them."""

IGNORANCE = "ignorance"
"""Target of `until_forget_nll`: what the answers cost a model that does not know them (unlearn/ignorance.py)."""

HINGE_MARGIN = 2.0
"""Nat by which the default hinge lies above the ignorance level: room for what rounding to 4 bits gives back."""

LORA_LEARNING_RATE, FULL_LEARNING_RATE = 5e-4, 1e-5
"""Where none is given: within, and as, arXiv 2602.13151's."""


@dataclass(frozen=True)
class Settings:
    """The recipe. The defaults are arXiv 2602.13151's for NPO+GDR, except `retain_weight` (docs/unlearn.md).

    Attributes:
        method: a name of `losses.METHODS`.
        full: train all weights and write a model instead of a LoRA.
        rank: rank of the LoRA matrices.
        alpha: the adapter's weights are scaled by alpha / rank, or by alpha / √rank with `rslora`.
        dropout: share of a LoRA's inputs that are dropped in training.
        targets: name suffixes of the linear layers with a LoRA ("q_proj"); empty for all except the output head.
        rslora: rank-stabilised scaling (Kalajdzievski 2023, arXiv 2312.03732).
        learning_rate: AdamW's learning rate, without weight decay; None means 5e-4, or 1e-5 with `full`.
        schedule: one of `SCHEDULES`.
        steps: number of optimizer steps; None means `epochs`.
        epochs: passes over the forget set, each with every item once, in batches of nearly equal size; None means
            `PASSES` unless `steps` is given, but as many as make `LEAST_STEPS`.
        batch_size: forget texts per step, over all processes; with `epochs` the largest number.
        retain_batch_size: retain texts per step; None means as many as forget texts.
        max_tokens: chunk length of texts, at most the context.
        accumulate: number of sequential parts of a batch; the step is the same.
        gradient_checkpointing: recompute activations in the backward pass instead of storing them.
        precision: one of `PRECISIONS`.
        beta: β of the forget loss; None means the method's default, or that of `for_texts`.
        retain_weight: the α in forget + α·retain; None means the method's default (its record in `losses`), or that of
            `for_texts`.
        hinge: NLL per token (nat) above which a forget text stops counting; infinite means never. None means never
            either, or `HINGE_MARGIN` above the ignorance level where that is the target.
        until_forget_nll: stop when the forget set's mean NLL per token reaches this (nat), or `IGNORANCE`: the base's
            ignorance level of the set; checked on the whole set after every step whose batch reached it; None means
            never.
        leak_logprob: summed log-probability from which on an answer counts as known whatever it costs per token: with
            `IGNORANCE` as target, training goes on until no answer reaches it, and the hinge spares none that does.
        retain_nll_rise: abort when the retain set's mean NLL per token rises by more than this; None means never.
        surfaces: from `SURFACES`; each pass asks a question on one of them, drawn at random. Empty means all that base
            and data support: chat surfaces need a chat template, paraphrase needs paraphrases.
        seed: seed of the adapter's initial weights, the data order and the dropout.
        threads: number of processor threads; None for torch's choice. It affects the order of summation.
        device: torch's device name ("cpu", "cuda"); "auto" for a GPU if there is one.

    """

    method: str = "npo+gdr"
    full: bool = False
    rank: int = 16
    alpha: float = 16.0
    dropout: float = 0.05
    targets: tuple[str, ...] = ()
    rslora: bool = False
    learning_rate: float | None = None
    schedule: str = "constant"
    steps: int | None = None
    epochs: int | None = None
    batch_size: int = 32
    retain_batch_size: int | None = None
    max_tokens: int = MAX_TOKENS
    accumulate: int = 1
    gradient_checkpointing: bool = False
    precision: str = "float32"
    beta: float | None = None
    retain_weight: float | None = None
    hinge: float | None = None
    until_forget_nll: float | str | None = None
    leak_logprob: float | None = None
    retain_nll_rise: float | None = None
    surfaces: tuple[str, ...] = ()
    seed: int = 0
    threads: int | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        method_of(self.method)
        _whole("rank", self.rank, least=1)
        _positive("alpha", self.alpha)
        if not 0.0 <= self.dropout < 1.0:
            raise UsageError(f"dropout is {self.dropout}", next_step="give a share from 0 to below 1")
        if self.full and (self.targets or self.rslora):
            raise UsageError("--full trains all weights, and --target and --rslora are a LoRA's", next_step="give one")
        _positive("learning rate", self.rate)
        if self.schedule not in SCHEDULES:
            raise UsageError(f"no such schedule: {self.schedule!r}", next_step=f"one of: {', '.join(SCHEDULES)}")
        if self.steps is not None and self.epochs is not None:
            raise UsageError(f"both steps ({self.steps}) and epochs ({self.epochs}) are given", next_step="give one")
        _whole("steps", 1 if self.steps is None else self.steps, least=1)
        _whole("epochs", 1 if self.epochs is None else self.epochs, least=1)
        _whole("batch size", self.batch_size, least=1)
        _whole("retain batch size", self.retain_size, least=1)
        _whole("max tokens", self.max_tokens, least=2)
        _whole("accumulate", self.accumulate, least=1)
        if self.accumulate > self.batch_size:
            raise UsageError(
                f"a batch of {self.batch_size} texts cannot be computed in {self.accumulate} parts",
                next_step="give --accumulate the batch size at most",
            )
        if self.precision not in PRECISIONS:
            raise UsageError(f"no such precision: {self.precision!r}", next_step=f"one of: {', '.join(PRECISIONS)}")
        if self.beta is not None:
            _positive("beta", self.beta)
            if method_of(self.method).forget.beta is None:
                raise UsageError(f"{self.method} has no β", next_step="leave --beta out, or give another --method")
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise UsageError(f"the retain weight is {self.weight}", next_step="give a number from 0 up")
        for name, value in (
            ("hinge", None if self.hinge == math.inf else self.hinge),
            ("the forget target", self.target),
            ("the retain NLL's rise", self.retain_nll_rise),
        ):
            if value is not None:
                _positive(name, value)
        if isinstance(self.until_forget_nll, str) and self.until_forget_nll != IGNORANCE:
            raise UsageError(f"the forget target is {self.until_forget_nll!r}", next_step=f"a number, or {IGNORANCE}")
        if any(name not in SURFACES for name in self.surfaces):
            raise UsageError(f"surfaces: {', '.join(self.surfaces)}", next_step=f"of {', '.join(SURFACES)}")
        if len(set(self.surfaces)) < len(self.surfaces):
            raise UsageError(f"surfaces: {', '.join(self.surfaces)}", next_step="name each once")
        _whole("seed", self.seed, least=0)
        if self.seed > MOST_SEED:
            raise UsageError(f"seed is {self.seed}", next_step=f"give a whole number of at most {MOST_SEED}")
        _whole("threads", 1 if self.threads is None else self.threads, least=1)

    @property
    def rate(self) -> float:
        """The effective learning rate."""
        if self.learning_rate is not None:
            return self.learning_rate
        return FULL_LEARNING_RATE if self.full else LORA_LEARNING_RATE

    @property
    def weight(self) -> float:
        """The effective α."""
        return method_of(self.method).retain_weight if self.retain_weight is None else self.retain_weight

    @property
    def sharpness(self) -> float:
        """The effective β; 0 for a loss without one."""
        return (method_of(self.method).forget.beta or 0.0) if self.beta is None else self.beta

    @property
    def target(self) -> float | None:
        """The forget target as a number; None for none, and before `at_level`."""
        return None if isinstance(self.until_forget_nll, str) else self.until_forget_nll

    def for_texts(self, longest: int) -> Settings:
        """Return the settings with the β and α that chunks of up to `longest` tokens need, where they are not given."""
        span = method_of(self.method).forget.span
        if span is None or longest <= span:
            return self
        longer = longest / span
        return replace(
            self,
            beta=self.sharpness / longer if self.beta is None else self.beta,
            retain_weight=self.weight * longer if self.retain_weight is None else self.retain_weight,
        )

    def at_level(self, level: float | None) -> Settings:
        """Return the settings with the ignorance level in place of `IGNORANCE`, and the hinge that follows from it.

        Raises:
            UsageError: the target is the level, and there is none.

        """
        if self.until_forget_nll != IGNORANCE:
            return replace(self, leak_logprob=None)
        if level is None:
            raise UsageError(
                "the forget set has no ignorance level: the two sets hold no other question or text to compare with",
                next_step="give --until-forget-nll a number, or --until-forget-nll never with --steps",
            )
        return replace(self, until_forget_nll=level, hinge=level + HINGE_MARGIN if self.hinge is None else self.hinge)

    @property
    def retain_size(self) -> int:
        """Number of retain texts per step."""
        return self.batch_size if self.retain_batch_size is None else self.retain_batch_size

    @property
    def part_size(self) -> int:
        """Number of texts in memory at a time."""
        return math.ceil(self.batch_size / self.accumulate)

    def rate_at(self, step: int, steps: int) -> float:
        """Return the learning rate of step `step` (from 1) of `steps`."""
        return self.rate * (1 - (step - 1) / steps) if self.schedule == "linear" else self.rate

    @property
    def whole_passes(self) -> bool:
        """Whether batches end with each pass over the forget set, instead of continuing across passes."""
        return self.steps is None

    def smallest_batch(self, texts: int) -> int:
        """Return the smallest number of forget texts in a step, for `texts` forget texts."""
        return texts // math.ceil(texts / self.batch_size) if self.whole_passes else self.batch_size

    def steps_for(self, texts: int) -> int:
        """Return the number of optimizer steps for `texts` forget texts."""
        if self.steps is not None:
            return self.steps
        in_a_pass = math.ceil(texts / self.batch_size)
        return (self.epochs or max(PASSES, math.ceil(LEAST_STEPS / in_a_pass))) * in_a_pass


def _whole(name: str, value: int, *, least: int) -> None:
    if value < least:
        raise UsageError(f"{name} is {value}", next_step=f"give a whole number of at least {least}")


def _positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise UsageError(f"{name} is {value}", next_step="give a number above 0")
