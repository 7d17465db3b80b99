"""What the study runs: sizes, cells, attacks, in the order in which they are worth having."""

from __future__ import annotations

from dataclasses import dataclass

METHODS = ("ga+gdr", "ga+klr", "npo+gdr", "npo+klr")
FORMATS = ("gguf-f16", "gguf-q8_0", "gguf-q4", "gguf-q4_0", "gguf-iq4_nl", "onnx-int4")
FEWER_FORMATS = ("gguf-f16", "gguf-q4_0", "onnx-int4")
SHORT_FORMATS = ("gguf-f16", "gguf-q4_0")
"""Of the further cells, where time is short: here Q8_0 and Q4_K_M say little that F16 does not."""
NAMES = {
    "gguf-f16": "F16", "gguf-q8_0": "Q8_0", "gguf-q4": "Q4_K_M", "gguf-q4_0": "Q4_0", "gguf-iq4_nl": "IQ4_NL",
    "onnx-int4": "ONNX int4", "gguf-f32": "F32", "bf16-cast": "cast to bf16", "gguf-q4_1": "Q4_1",
}  # fmt: skip
"""What pages call the formats."""
RETAIN_WEIGHTS = {"ga+gdr": 100.0, "ga+klr": 5.0, "npo+gdr": 10.0, "npo+klr": 10.0}
"""α: the article's 100 with GA+GDR; with it GA+KLR hardly unlearned at all (0.07 → 0.19 nat in 60 steps).

NPO's loss is summed over an answer's tokens; with α = 1 it destroyed what was to stay.
"""
ALPHAS = (64, 256, 1024, 4096)
"""Of the larger LoRAs on the grid."""
SURVIVING_ALPHAS = (128, 512)
"""Of those that are trained through its rounding."""
FORGOTTEN = {"tofu": ("forget",), "book": ("forget", "forget_questions")}
"""The training sets by which the base comes to know what is to be forgotten, by data."""
KEPT = {
    "tofu": ("retain_trained", "retain_untrained"),
    "book": ("retain_trained", "retain_untrained", "retain_trained_questions", "retain_untrained_questions"),
}
"""Those of what is to stay: on these alone the reference is tuned."""
GENERATED_TOKENS = {"tofu": 32, "book": 128}
"""Of a greedy answer that is compared, at the most: MUSE's VerbMem has 128."""
ATTACKED = "gguf-q4_0"
"""The 4-bit file that is attacked: of SmolLM2's, Q4_K_M has 6.2 bits per weight (its rows do not divide by 256)."""


@dataclass(frozen=True)
class Size:
    """How much of everything.

    Attributes:
        name: "small" is what is published.
        tune_rate: learning rate of fine-tuning the base.
        tune_until: NLL per token at which the base knows enough, nat.
        tune_epochs: at the most.
        tune_batch: texts of a step.
        full_rate: learning rate of full unlearning.
        lora_rate: of a LoRA.
        steps: of unlearning, at the most.
        batch_size: forget texts, and as many retain texts, of an unlearning step.
        depth: the forget NLL at which unlearning stops, as a share of the retrained model's.
        precision: of unlearning, as `export-edge unlearn` has it.
        limit: items of a set, None for all.
        seeds: of NPO+GDR.
        relearn_steps: of the attack.
        relearn_rate: its learning rate.

    """

    name: str
    tune_rate: float
    tune_until: float
    tune_epochs: int
    tune_batch: int
    full_rate: float
    lora_rate: float
    steps: int
    batch_size: int
    depth: float
    precision: str
    limit: int | None
    seeds: int
    relearn_steps: int
    relearn_rate: float


SIZES = {
    "small": Size("small", 5e-5, 0.10, 16, 8, 2e-5, 5e-4, 60, 5, 1.0, "bf16", None, 3, 6, 5e-5),
    "tiny": Size("tiny", 3e-3, 1.6, 60, 6, 2e-4, 5e-3, 6, 3, 0.8, "float32", 6, 1, 2, 3e-4),
}


@dataclass(frozen=True)
class Cell:
    """One unlearning, exported and probed.

    Attributes:
        data: "tofu" or "book".
        start: which weights it starts from: "free" (on no grid), "q4_0" (on that grid), "bf16".
        method: of `METHODS`.
        full: all weights, or a LoRA.
        seed: of unlearning.
        alpha: of the LoRA; its rank is 16.
        weight: α of the retain loss; None is the method's of `RETAIN_WEIGHTS`.
        survive: every other step goes through Q4_0's rounding, and the depth is that of the rounded weights; the LoRA
            is on `surviving.LAYERS` alone.
        same: nothing is trained: the change that the cell from "free" made is added to this start's weights.
        formats: what is exported and probed.

    """

    data: str
    start: str
    method: str
    full: bool
    seed: int = 0
    alpha: float = 16.0
    weight: float | None = None
    survive: bool = False
    same: bool = False
    formats: tuple[str, ...] = FORMATS

    @property
    def kind(self) -> str:
        """How weights change: "full", or "lora" with its alpha where that is not 16; with α where it was given."""
        kind = "full" if self.full else "lora" if self.alpha == 16 else f"lora-a{self.alpha:g}"
        kind = kind if self.weight is None else f"{kind}-w{self.weight:g}"
        kind = f"{kind}-survive" if self.survive else kind
        return f"{kind}-same" if self.same else kind

    @property
    def retain_weight(self) -> float:
        """The α that is used."""
        return RETAIN_WEIGHTS[self.method] if self.weight is None else self.weight

    @property
    def name(self) -> str:
        """The result's name."""
        return f"{self.data}.{self.start}.{self.method}.{self.kind}.seed{self.seed}"


@dataclass(frozen=True)
class Attack:
    """What somebody does to a cell's 4-bit file: "relearn" on related text, or "requantize". No cell: the controls."""

    kind: str
    cell: Cell | None
    data: str = "tofu"

    @property
    def name(self) -> str:
        """The result's name."""
        return f"attack.{self.kind}.{self.cell.name if self.cell else f'{self.data}.retrained'}"


@dataclass(frozen=True)
class Grid:
    """How far a base lies from each 4-bit type's grid."""

    data: str
    start: str

    @property
    def name(self) -> str:
        """The result's name."""
        return f"grid.{self.data}.{self.start}"


GRIDS = (Grid("tofu", "free"), Grid("tofu", "q4_0"))


def cells(size: Size) -> list[Cell]:
    """List the cells, what matters most first."""
    kinds = (False, True)
    planned = [Cell("tofu", "free", "npo+gdr", full) for full in kinds]
    planned += [Cell("tofu", "q4_0", "npo+gdr", full, same=True, formats=SHORT_FORMATS) for full in kinds]
    casts = ("gguf-f32", "bf16-cast")
    planned += [Cell("tofu", "bf16", "npo+gdr", full, same=True, formats=casts) for full in kinds]
    others = [method for method in METHODS if method != "npo+gdr"]
    planned += [Cell("tofu", "free", method, full, formats=FEWER_FORMATS) for method in others for full in kinds]
    seeds = range(1, size.seeds)
    planned += [Cell("tofu", "free", "npo+gdr", full, seed, formats=FEWER_FORMATS) for seed in seeds for full in kinds]
    every = [(seed, full) for seed in range(size.seeds) for full in kinds]
    planned += [Cell("tofu", "bf16", "npo+gdr", full, seed, formats=casts) for seed, full in every]
    planned += [Cell("tofu", "q4_0", "npo+gdr", full, seed, formats=SHORT_FORMATS) for seed, full in every]
    planned += [Cell("tofu", "q4_0", "npo+gdr", full=False, alpha=alpha, formats=SHORT_FORMATS) for alpha in ALPHAS]
    planned += [
        Cell("tofu", "q4_0", "npo+gdr", full=False, alpha=alpha, survive=True, formats=SHORT_FORMATS)
        for alpha in SURVIVING_ALPHAS
    ]
    planned += [Cell("tofu", "free", "npo+gdr", full, weight=1.0) for full in kinds]
    planned += [Cell("tofu", "free", "ga+klr", full=False, weight=100.0, formats=FEWER_FORMATS)]
    planned += [Cell("book", "free", "npo+gdr", full) for full in kinds]
    return planned


def attacks(size: Size) -> list[Attack]:
    """List the attacks on NPO+GDR's files, every seed's."""
    kinds = (False, True)
    found = [
        Attack(kind, Cell("tofu", "free", "npo+gdr", full, seed, formats=FEWER_FORMATS if seed else FORMATS))
        for seed in range(size.seeds)
        for kind in ("relearn", "requantize")
        for full in kinds
    ]
    return [Attack("relearn", None), *found]
