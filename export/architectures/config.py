"""Reads `config.json` with types, in the layout of transformers 5 and in the older one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import CheckpointError, UnsupportedError

from .hyper_parameters import Rope
from .rope import longrope_attention_factor, yarn_attention_factor

if TYPE_CHECKING:
    from .hyper_parameters import Activation, LayerKind, RopeScaling

WAYS_ROUND = (
    "two ways round it: make a float GGUF with a tool that knows this model and give it as --base model-f16.gguf, or "
    "give --converter DIR, a llama.cpp checkout of yours whose converter is then run"
)
LARGEST = 3e38
SAME = 1e-4
"""Stated factors that differ from the derived ones by less are the same, rounded."""

LAYER_KINDS: Mapping[str, LayerKind] = {
    "full_attention": "full",
    "sliding_attention": "sliding",
    "conv": "convolution",
}
ACTIVATIONS: Mapping[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu_pytorch_tanh": "gelu_tanh",
}
SCALINGS: Mapping[str, RopeScaling] = {
    "default": "none",
    "linear": "linear",
    "llama3": "llama3",
    "yarn": "yarn",
    "longrope": "longrope",
    "su": "longrope",
}


def unsupported(what: str) -> UnsupportedError:
    """Say that this cannot be exported, and what can be done instead."""
    return UnsupportedError(what, next_step=WAYS_ROUND)


@dataclass(frozen=True)
class Config:
    """One level of `config.json`. `None` and a missing key are the same, as they are for most of transformers' keys.

    Raises (every reader): CheckpointError: the value is missing or of another type.
    """

    values: Mapping[str, object]
    where: str = "config.json"

    def has(self, key: str) -> bool:
        """Whether the key is there with a value."""
        return self.values.get(key) is not None

    def integer(self, key: str, default: int | None = None) -> int:
        """Return a whole number above 0 and below 2³¹."""
        value = self.values.get(key)
        value = default if value is None else value
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**31:
            raise self._wrong(key, value, "a whole number above 0 and below 2³¹")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Return a number above 0, within float32's range."""
        value = self.values.get(key)
        value = default if value is None else value
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < LARGEST:
            raise self._wrong(key, value, "a number above 0 that float32 holds")
        return float(value)

    def optional_integer(self, key: str) -> int | None:
        """Return a whole number above 0, or None where the key is missing."""
        return self.integer(key) if self.has(key) else None

    def optional_number(self, key: str) -> float | None:
        """Return a number above 0, or None where the key is missing."""
        return self.number(key) if self.has(key) else None

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self.values.get(key)
        value = default if value is None else value
        if not isinstance(value, bool):
            raise self._wrong(key, value, "true or false")
        return value

    def text(self, key: str, default: str) -> str:
        """Return a string."""
        value = self.values.get(key)
        value = default if value is None else value
        if not isinstance(value, str):
            raise self._wrong(key, value, "a string")
        return value

    def items(self, key: str) -> list[object] | None:
        """Return a list, or None where the key is missing."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, list):
            raise self._wrong(key, value, "a list")
        return value

    def numbers(self, key: str) -> tuple[float, ...]:
        """Return a list of numbers; empty where the key is missing."""
        values: list[float] = []
        for value in self.items(key) or []:
            if not isinstance(value, int | float) or isinstance(value, bool):
                raise self._wrong(key, value, "a list of numbers")
            values.append(float(value))
        return tuple(values)

    def section(self, key: str) -> Config:
        """Return the level below; empty where the key is missing."""
        value = self.values.get(key)
        value = {} if value is None else value
        if not isinstance(value, Mapping):
            raise self._wrong(key, value, "an object")
        return Config(value, f"{self.where}: {key}")

    def refuse(self, key: str, *, unless: object, why: str) -> None:
        """Refuse any value but `unless` (a missing key passes)."""
        value = self.values.get(key, unless)
        if value is not None and value != unless:
            raise unsupported(f"{self.where}: {key} is {value!r}; {why}")

    def _wrong(self, key: str, value: object, wanted: str) -> CheckpointError:
        if value is None:
            return CheckpointError(f"{self.where} has no {key!r}, which must be {wanted}", next_step="mend config.json")
        return CheckpointError(f"{self.where}: {key} is {value!r}, not {wanted}", next_step="mend config.json")


def refuse_what_no_graph_has(config: Config) -> None:
    """Refuse the options that none of the supported families' graphs in llama.cpp computes.

    Raises:
        UnsupportedError: mixture of experts, quantized weights, attention that looks ahead, …

    """
    if config.has("quantization_config"):
        method = config.section("quantization_config").values.get("quant_method", "an unnamed method")
        raise UnsupportedError(
            f"{config.where}: the weights are already quantized ({method}); requantizing them would add error unseen",
            next_step="export from the original checkpoint in float32, bf16 or f16",
        )
    for key in ("num_local_experts", "num_experts", "n_routed_experts"):
        config.refuse(key, unless=0, why="mixtures of experts are not supported")
    config.refuse("is_causal", unless=True, why="only causal models generate text")
    config.refuse("use_bidirectional_attention", unless=False, why="only causal models generate text")
    config.refuse("is_encoder_decoder", unless=False, why="only decoders are supported")
    config.refuse("draft_vocab_size", unless=0, why="draft models are not supported")


def read_activation(config: Config, *keys: str, default: str, wanted: Activation) -> Activation:
    """Return the feed-forward gate's activation, from the first of `keys` that is there.

    Raises:
        UnsupportedError: it is another than `wanted`, the one of llama.cpp's graph.

    """
    key = next((key for key in keys if config.has(key)), keys[0])
    value = config.text(key, default)
    if ACTIVATIONS.get(value) != wanted:
        raise unsupported(f"{config.where}: {key} is {value!r}; this family's graph computes {wanted}")
    return wanted


def read_layer_kinds(config: Config, layers: int, default: tuple[LayerKind, ...]) -> tuple[LayerKind, ...]:
    """Return [layers] kinds from `layer_types`, or `default`.

    Raises:
        UnsupportedError: a kind that no supported family has.
        CheckpointError: not one for each layer.

    """
    names = config.items("layer_types")
    if names is None:
        return default
    kinds: list[LayerKind] = []
    for name in names:
        if not isinstance(name, str) or name not in LAYER_KINDS:
            raise unsupported(f"{config.where}: layer_types has {name!r}; known: {', '.join(LAYER_KINDS)}")
        kinds.append(LAYER_KINDS[name])
    if len(kinds) != layers:
        raise CheckpointError(
            f"{config.where}: layer_types has {len(kinds)} entries for {layers} layers", next_step="mend config.json"
        )
    return tuple(kinds)


def rope_section(config: Config) -> Config:
    """Return the rope's settings, flat: `rope_parameters` (transformers 5) or `rope_scaling` and `rope_theta`.

    Raises:
        UnsupportedError: one setting for each kind of layer, which only Gemma 3 has.

    """
    section = config.section("rope_scaling" if config.values.get("rope_scaling") else "rope_parameters")
    if any(key in section.values for key in LAYER_KINDS):
        raise unsupported(f"{section.where} differs by layer: {sorted(section.values)}")
    merged = dict(section.values)
    for key in ("rope_theta", "partial_rotary_factor"):
        if merged.get(key) is None and config.has(key):
            merged[key] = config.values[key]
    if config.has("original_max_position_embeddings"):
        merged["original_max_position_embeddings"] = config.values["original_max_position_embeddings"]
    return Config(merged, section.where)


def read_rope(
    section: Config, head_dim: int, context_length: int, *, theta: float, allowed: tuple[RopeScaling, ...]
) -> Rope:
    """Read one rope from its settings; `theta` is what the family's class takes where none is stated.

    Raises:
        UnsupportedError: a scaling that is not in `allowed`, those which the family's graph computes, or an option
            of it which the graph ignores.
        CheckpointError: a setting is missing or of another type.

    """
    name = section.text("rope_type", section.text("type", "default"))
    scaling = SCALINGS.get(name.lower())
    if scaling not in allowed:
        raise unsupported(f"{section.where}: rope type {name!r}; this family's graph computes {', '.join(allowed)}")
    fraction = section.number("partial_rotary_factor", 1.0)
    rope = Rope(section.number("rope_theta", theta), int(head_dim * fraction))
    original = section.integer("original_max_position_embeddings", context_length)
    for key in ("mscale", "mscale_all_dim", "extrapolation_factor", "mrope_section", "short_mscale", "long_mscale"):
        section.refuse(key, unless=None, why="llama.cpp's graph ignores it")
    if scaling == "linear":
        return Rope(rope.theta, rope.dimensions, "linear", section.number("factor"))
    if scaling == "llama3":
        return Rope(
            rope.theta,
            rope.dimensions,
            "llama3",
            section.number("factor"),
            original,
            low_frequency_factor=section.number("low_freq_factor"),
            high_frequency_factor=section.number("high_freq_factor"),
        )
    if scaling == "yarn":
        return _read_yarn(section, rope, original)
    if scaling == "longrope":
        return _read_longrope(section, rope, original, context_length)
    return rope


def _read_yarn(section: Config, rope: Rope, original: int) -> Rope:
    section.refuse("truncate", unless=True, why="llama.cpp always rounds the correction range")
    section.refuse("beta_fast", unless=32, why="llama.cpp's graph computes 32")
    section.refuse("beta_slow", unless=1, why="llama.cpp's graph computes 1")
    factor = section.number("factor")
    stated = section.optional_number("attention_factor" if section.has("attention_factor") else "attn_factor")
    if stated is not None and abs(stated - yarn_attention_factor(factor)) > SAME:
        raise unsupported(
            f"{section.where}: the attention factor is {stated}; llama.cpp's graph computes "
            f"0.1·ln({factor}) + 1 = {yarn_attention_factor(factor):.6f}"
        )
    return Rope(
        rope.theta,
        rope.dimensions,
        "yarn",
        factor,
        original,
        beta_fast=section.optional_number("beta_fast"),
        beta_slow=section.optional_number("beta_slow"),
        attention_factor=stated,
    )


def _read_longrope(section: Config, rope: Rope, original: int, context_length: int) -> Rope:
    factor = max(context_length / original, 1.0)
    stretched = Rope(
        rope.theta,
        rope.dimensions,
        "longrope",
        factor,
        original,
        short_factors=section.numbers("short_factor"),
        long_factors=section.numbers("long_factor"),
    )
    if abs(section.number("factor", factor) - factor) > SAME:
        raise unsupported(
            f"{section.where}: factor is {section.number('factor')}, but the context grew from {original} to "
            f"{context_length}, by {factor:.6f}, which is what GGUF assumes"
        )
    derived = longrope_attention_factor(stretched)
    if abs(section.number("attention_factor", derived) - derived) > SAME:
        raise unsupported(
            f"{section.where}: attention_factor is {section.number('attention_factor')}; GGUF files hold the one of "
            f"longrope's own formula, {derived:.6f}"
        )
    wanted = rope.dimensions // 2
    for key, factors in (("short_factor", stretched.short_factors), ("long_factor", stretched.long_factors)):
        if len(factors) != wanted:
            raise CheckpointError(
                f"{section.where}: {key} has {len(factors)} numbers, not {wanted} for {rope.dimensions} dimensions",
                next_step="mend config.json",
            )
    return stretched
