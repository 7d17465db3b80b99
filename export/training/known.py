"""Names that a record of a training run may hold: those of public methods, settings, models and data sets.

A config is free text, and a run's names may say whom the data are about. So a record keeps numbers and what is listed
here, and `NOT_NAMED` stands for the rest.
Source: https://github.com/locuslab/open-unlearning (src/trainer/__init__.py, configs/trainer, docs/results.md).
"""

from __future__ import annotations

import re

from edgeproof.contracts.training import NOT_NAMED

HANDLERS = frozenset(
    {"GradAscent", "GradDiff", "NPO", "DPO", "SimNPO", "RMU", "UNDIAL", "CEU", "SatImp", "WGA", "PDU"}
    | {"IdkDPO", "IdkNLL", "AltPO"}
)
"""Trainers of OpenUnlearning, and methods in the names of its models."""
ARGUMENTS = frozenset(
    {"alpha", "beta", "beta1", "beta2", "gamma", "delta", "layer", "steering_coeff", "adaptive", "retain_loss_type"}
    | {"retain_loss_eps", "primal_dual", "dual_step_size", "dual_warmup_epochs", "ignore_first_n_answer_tokens"}
)
"""Keys of `trainer.method_args`."""
SETTINGS = frozenset(
    {"lr", "alpha", "beta", "gamma", "delta", "a", "b", "d", "g", "ep", "epoch", "layer", "scoeff", "s"}
)
"""Settings in the names of OpenUnlearning's models."""
VALUES = frozenset(
    {"NLL", "KL", "EMBED_DIFF", "linear", "cosine", "cosine_with_restarts", "polynomial", "constant"}
    | {"constant_with_warmup", "inverse_sqrt", "adamw_torch", "adamw_torch_fused", "adamw_hf", "adamw_8bit"}
    | {"adamw_bnb_8bit", "paged_adamw_32bit", "paged_adamw_8bit", "adafactor", "sgd", "lion_32bit", "float32"}
    | {"float16", "bfloat16", "bf16", "fp16"}
)
"""Loss types, schedules, optimizers and dtypes."""
ORGANIZATIONS = "open-unlearning|locuslab|muse-bench|cais|meta-llama|Qwen|google|microsoft|mistralai|HuggingFaceTB"
_HUB = re.compile(rf"(?:{ORGANIZATIONS})/[A-Za-z0-9][A-Za-z0-9._-]{{0,95}}")
_MODEL = re.compile(
    r"(?:(?:meta-)?llama|smollm\d?|qwen|tinyllama|gemma|phi|mistral|zephyr|olmo|pythia)"
    r"(?:[-_.]?(?:v?\d{1,3}(?:[._]\d{1,2})*[bmk]?|instruct|chat|it|hf|mini|small|medium|base|beta|full|tofu|gguf)){0,12}",
    re.IGNORECASE,
)
_PART = re.compile(r"(?:forget|retain|holdout|full|raw|test|val|knowmem|verbmem|scal|sust|privleak)(?:[_-]?\d{1,2})?")
_NUMBER = re.compile(r"[-+]?[0-9][0-9.]*(?:e[-+]?[0-9]+)?")
_WORDS = frozenset(
    {"none", "nat", "per", "token", "or", "more", "all", "of", "them", "in", "float32", "bf16", "cpu", "cuda", "mps"}
    | {"alpha", "rank", "√rank", "rsLoRA", "linear", "layers", "but", "the", "output", "head", "that", "base", "data"}
    | {"AdamW", "learning", "rate", "constant", "at", "most", "forget", "target", "survives", "and", "retain", "texts"}
    | {"steps", "activations", "computed", "again", "have", "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj"}
    | {"up_proj", "down_proj"}
)
_WORDS_APART = re.compile(r"[\s,;:()/]+")


def is_public(name: str) -> bool:
    """Whether a name is one on the hub, of an organization that publishes models or data of unlearning."""
    return _HUB.fullmatch(name) is not None


def model_name(name: str) -> str:
    """Return a model's name if it is public: on the hub, or of a known family with nothing but its size and kind."""
    return name if is_public(name) or is_model(name) else NOT_NAMED


def is_model(name: str) -> bool:
    """Whether a name without an organization is of a known family of models."""
    return _MODEL.fullmatch(name) is not None


def is_part(name: str) -> bool:
    """Whether a name is of a part of a public data set ("forget10")."""
    return _PART.fullmatch(name) is not None


def is_plain(value: str) -> bool:
    """Whether a value of a card's recipe has only numbers and the words that `unlearn` writes."""
    words = _WORDS_APART.split(value)
    return all(not word or word in _WORDS or _NUMBER.fullmatch(word) for word in words)
