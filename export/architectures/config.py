"""Typed reader for `config.json`, in the layout of transformers 5 and in the older one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import CheckpointError, UnsupportedError

if TYPE_CHECKING:
    from .hyper_parameters import Activation, LayerKind

WAYS_ROUND = (
    "two ways round it: make a float GGUF with a tool that knows this model and give it as --base model-f16.gguf, or "
    "give --converter DIR, a llama.cpp checkout of yours whose converter is then run"
)
ONNX_WAYS_ROUND = (
    "add --onnx-builder where onnxruntime-genai, torch and transformers are installed: its own builder then makes the "
    "ONNX formats of the merge; or ask for GGUF formats"
)
LARGEST = 3e38

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


def unsupported(what: str) -> UnsupportedError:
    """Return the error for a model that cannot be exported, with the alternatives."""
    return UnsupportedError(what, next_step=WAYS_ROUND)


@dataclass(frozen=True)
class Config:
    """One level of `config.json`. `None` equals a missing key, as for most of transformers' keys.

    Raises (every reader): CheckpointError: the value is missing or of another type.
    """

    values: Mapping[str, object]
    where: str = "config.json"
    gguf: bool = True
    """Refuse options that llama.cpp's graphs compute differently; ONNX graphs follow the configuration."""

    def has(self, key: str) -> bool:
        """Whether the key has a value."""
        return self.values.get(key) is not None

    def integer(self, key: str, default: int | None = None) -> int:
        """Return an integer above 0 and below 2³¹."""
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
        """Return an integer above 0, or None if the key is missing."""
        return self.integer(key) if self.has(key) else None

    def optional_number(self, key: str) -> float | None:
        """Return a number above 0, or None if the key is missing."""
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
        """Return a list, or None if the key is missing."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, list):
            raise self._wrong(key, value, "a list")
        return value

    def numbers(self, key: str) -> tuple[float, ...]:
        """Return a list of numbers; empty if the key is missing."""
        values: list[float] = []
        for value in self.items(key) or []:
            if not isinstance(value, int | float) or isinstance(value, bool):
                raise self._wrong(key, value, "a list of numbers")
            values.append(float(value))
        return tuple(values)

    def section(self, key: str) -> Config:
        """Return the nested level; empty if the key is missing."""
        value = self.values.get(key)
        value = {} if value is None else value
        if not isinstance(value, Mapping):
            raise self._wrong(key, value, "an object")
        return Config(value, f"{self.where}: {key}", self.gguf)

    def refuse(self, key: str, *, unless: object, why: str) -> None:
        """Refuse any value but `unless` (a missing key passes)."""
        value = self.values.get(key, unless)
        if value is not None and value != unless:
            raise self.unsupported(f"{key} is {value!r}; {why}")

    def refuse_for_gguf(self, key: str, *, unless: object, why: str) -> None:
        """Refuse the same for GGUF only, since llama.cpp's graph or file format lacks it."""
        if self.gguf:
            self.refuse(key, unless=unless, why=why)

    def unsupported(self, what: str) -> UnsupportedError:
        """Return the error for an option that cannot be exported, with its file and the alternatives."""
        return UnsupportedError(f"{self.where}: {what}", next_step=WAYS_ROUND if self.gguf else ONNX_WAYS_ROUND)

    def _wrong(self, key: str, value: object, wanted: str) -> CheckpointError:
        if value is None:
            return CheckpointError(f"{self.where} has no {key!r}, which must be {wanted}", next_step="fix config.json")
        return CheckpointError(f"{self.where}: {key} is {value!r}, not {wanted}", next_step="fix config.json")


def plain_head_dim(config: Config, hidden: int, heads: int, family: str, *, checked: bool = True) -> int:
    """Return hidden / heads; with `checked`, refuse heads of another size, which llama.cpp's graph does not have.

    Raises:
        UnsupportedError: heads × their size is not the hidden size.

    """
    head_dim = hidden // heads
    stated = config.integer("head_dim", head_dim)
    if checked and (stated != head_dim or head_dim * heads != hidden):
        raise unsupported(
            f"{config.where}: {heads} heads of {stated} for a hidden size of {hidden}; "
            f"llama.cpp's graph for {family} needs their product to be the hidden size"
        )
    return head_dim


def refuse_what_no_graph_has(config: Config) -> None:
    """Refuse options that no supported family's graph in llama.cpp computes.

    Raises:
        UnsupportedError: mixture of experts, quantized weights, bidirectional attention, …

    """
    if config.has("quantization_config"):
        method = config.section("quantization_config").values.get("quant_method", "an unnamed method")
        raise UnsupportedError(
            f"{config.where}: the weights are already quantized ({method}); requantizing them would add a hidden error",
            next_step="export from the original checkpoint in float32, bf16 or f16",
        )
    for key in ("num_local_experts", "num_experts", "n_routed_experts"):
        config.refuse(key, unless=0, why="mixtures of experts are not supported")
    config.refuse("is_causal", unless=True, why="only causal models generate text")
    config.refuse("use_bidirectional_attention", unless=False, why="only causal models generate text")
    config.refuse("is_encoder_decoder", unless=False, why="only decoders are supported")
    config.refuse("draft_vocab_size", unless=0, why="draft models are not supported")


def read_activation(config: Config, *keys: str, default: str, wanted: Activation) -> Activation:
    """Return the feed-forward gate's activation, from the first of `keys` that has a value.

    Raises:
        UnsupportedError: the activation is not `wanted`, that of llama.cpp's graph.

    """
    key = next((key for key in keys if config.has(key)), keys[0])
    value = config.text(key, default)
    if ACTIVATIONS.get(value) != wanted:
        raise unsupported(f"{config.where}: {key} is {value!r}; this family's graph computes {wanted}")
    return wanted


def read_layer_kinds(config: Config, layers: int, default: tuple[LayerKind, ...]) -> tuple[LayerKind, ...]:
    """Return [layers] kinds from `layer_types`, or `default`.

    Raises:
        UnsupportedError: no supported family has such a kind.
        CheckpointError: the number of kinds is not the number of layers.

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
            f"{config.where}: layer_types has {len(kinds)} entries for {layers} layers", next_step="fix config.json"
        )
    return tuple(kinds)
