"""Reader for rope settings: transformers 5's `rope_parameters`, or `rope_theta` and `rope_scaling`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.errors import CheckpointError

from .config import LAYER_KINDS, Config, unsupported
from .hyper_parameters import Rope
from .rope import longrope_attention_factor, yarn_attention_factor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .hyper_parameters import RopeScaling

SCALINGS: Mapping[str, RopeScaling] = {
    "default": "none",
    "linear": "linear",
    "llama3": "llama3",
    "yarn": "yarn",
    "longrope": "longrope",
    "su": "longrope",
}

SAME = 1e-4
"""Tolerance between stated and derived factors, for rounding."""


def rope_section(config: Config) -> Config:
    """Return the rope's settings, flat: `rope_parameters` (transformers 5) or `rope_scaling` and `rope_theta`.

    Raises:
        UnsupportedError: the settings differ by kind of layer, which only Gemma 3 supports.

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
    return Config(merged, section.where, config.gguf)


def read_rope(
    section: Config, head_dim: int, context_length: int, *, theta: float, allowed: tuple[RopeScaling, ...]
) -> Rope:
    """Read one rope from its settings; `theta` is the default of the family's class.

    Raises:
        UnsupportedError: the scaling is not in `allowed` (those of the family's graph), or has an option that the
            graph ignores.
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
    section.refuse_for_gguf("beta_fast", unless=32, why="llama.cpp's graph computes 32")
    section.refuse_for_gguf("beta_slow", unless=1, why="llama.cpp's graph computes 1")
    factor = section.number("factor")
    stated = section.optional_number("attention_factor" if section.has("attention_factor") else "attn_factor")
    if section.gguf and stated is not None and abs(stated - yarn_attention_factor(factor)) > SAME:
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
            f"{context_length}, by {factor:.6f}, which GGUF assumes"
        )
    derived = longrope_attention_factor(stretched)
    if abs(section.number("attention_factor", derived) - derived) > SAME:
        raise unsupported(
            f"{section.where}: attention_factor is {section.number('attention_factor')}; GGUF files hold that of "
            f"longrope's formula, {derived:.6f}"
        )
    wanted = rope.dimensions // 2
    for key, factors in (("short_factor", stretched.short_factors), ("long_factor", stretched.long_factors)):
        if len(factors) != wanted:
            raise CheckpointError(
                f"{section.where}: {key} has {len(factors)} numbers, not {wanted} for {rope.dimensions} dimensions",
                next_step="fix config.json",
            )
    return stretched
