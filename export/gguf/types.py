"""Stored type of each tensor, as chosen by `llama-quantize` and llama.cpp's converter.

tests/export/gguf/test_types.py compares with the library. Source: llama.cpp, `src/llama-quant.cpp` (type selection and
fallbacks) and `conversion/base.py` (float files).

Shapes are in numpy order, rows first: the last dimension is the row's length.
"""

from __future__ import annotations

import re
from collections import Counter
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import InputError
from edgeproof.export.gguf.exceptions import converter_type, is_quantizable
from edgeproof.export.gguf.kernels import block_size, needs_importance
from gguf import GGMLQuantizationType as T
from gguf import LlamaFileType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edgeproof.contracts.tensors import ModelDescription
    from edgeproof.export.gguf.overrides import TypeOverride

SCHEMES: Mapping[str, tuple[LlamaFileType, T]] = {
    "F32": (LlamaFileType.ALL_F32, T.F32),
    "F16": (LlamaFileType.MOSTLY_F16, T.F16),
    "Q8_0": (LlamaFileType.MOSTLY_Q8_0, T.Q8_0),
    "Q4_0": (LlamaFileType.MOSTLY_Q4_0, T.Q4_0),
    "Q4_1": (LlamaFileType.MOSTLY_Q4_1, T.Q4_1),
    "IQ4_NL": (LlamaFileType.MOSTLY_IQ4_NL, T.IQ4_NL),
    "Q4_K_S": (LlamaFileType.MOSTLY_Q4_K_S, T.Q4_K),
    "Q4_K_M": (LlamaFileType.MOSTLY_Q4_K_M, T.Q4_K),
}
"""llama.cpp's file types by name: the declared file type, and the type of most weights."""

FLOAT_SCHEMES = frozenset({"F32", "F16"})


class Traits(NamedTuple):
    """Model properties that the choice of types depends on, from the metadata.

    Attributes:
        architecture: `general.architecture`.
        layers: `block_count`.
        gqa: query heads per key-value head of the first layer; 0 if that layer has none.
        experts: `expert_count`, 0 for a dense model.
        is_70b: whether the shape is one that llama.cpp recognizes as 70B, whose attn_v gets more bits.

    """

    architecture: str
    layers: int
    gqa: int
    experts: int
    is_70b: bool


class _Role(Enum):
    """Role of a tensor, derived from its name."""

    OUTPUT = auto()
    EMBEDDING = auto()
    ATTENTION_V = auto()
    ATTENTION_K = auto()
    ATTENTION_OUTPUT = auto()
    FFN_DOWN = auto()
    OTHER = auto()


# In order: the first part found in the name determines the role.
_ROLE_OF_PART = (
    ("attn_qkv.weight", _Role.ATTENTION_V),
    ("attn_kv_b.weight", _Role.ATTENTION_V),
    ("attn_v.weight", _Role.ATTENTION_V),
    ("attn_k.weight", _Role.ATTENTION_K),
    ("attn_q.weight", _Role.OTHER),
    ("attn_output.weight", _Role.ATTENTION_OUTPUT),
    ("ffn_up", _Role.OTHER),
    ("ffn_gate", _Role.OTHER),
    ("ffn_down", _Role.FFN_DOWN),
)

_Q8_PARTS_OF_ARCHITECTURE = {"glm5-next": ("attn_q_a", "attn_q_b", "nextn.eh_proj")}

# Fallbacks for rows that are not a multiple of the type's block of 256.
_SMALLER_BLOCK = {
    T.Q2_K: T.Q4_0,
    T.Q3_K: T.Q4_0,
    T.TQ1_0: T.Q4_0,
    T.TQ2_0: T.Q4_0,
    T.Q4_K: T.Q5_0,
    T.Q5_K: T.Q5_1,
    T.Q6_K: T.Q8_0,
    T.IQ1_S: T.IQ4_NL,
    T.IQ1_M: T.IQ4_NL,
    T.IQ2_XXS: T.IQ4_NL,
    T.IQ2_XS: T.IQ4_NL,
    T.IQ2_S: T.IQ4_NL,
    T.IQ3_XXS: T.IQ4_NL,
    T.IQ3_S: T.IQ4_NL,
    T.IQ4_XS: T.IQ4_NL,
}

# Layer counts that llama.cpp recognizes as 70B.
_LAYERS_OF_70B = {"llama": 80, "llama-embed": 80, "qwen2": 80, "deci": 80, "olmo": 80, "jais2": 68}


def traits_of(description: ModelDescription) -> Traits:
    """Read the traits from the metadata, as llama.cpp's loader does."""
    values = {entry.key: entry.value for entry in description.metadata}
    architecture = description.architecture

    def first(key: str, default: int) -> int:
        value = values.get(f"{architecture}.{key}", default)
        if isinstance(value, (list, tuple)):
            value = value[0]
        return int(str(value))

    layers = first("block_count", 0)
    heads = first("attention.head_count", 0)
    heads_kv = first("attention.head_count_kv", heads)
    experts = first("expert_count", 0)
    if architecture in {"hunyuan_vl", "hunyuan-dense"} and experts <= 1:
        experts = 0
    own_layers = layers - first("nextn_predict_layers", 0)
    is_70b = own_layers == _LAYERS_OF_70B.get(architecture)
    if architecture in {"llama", "llama-embed"}:
        is_70b = is_70b and heads != heads_kv and experts != 8
    return Traits(architecture, layers, heads // heads_kv if heads_kv else 0, experts, is_70b)


def quantize_order(names: Iterable[str]) -> list[str]:
    """Sort tensor names in `llama-quantize`'s order: without layer first, then by layer, then by name (bytes)."""

    def key(name: str) -> tuple[int, bytes]:
        layer = re.match(r"blk\.\s*([+-]?\d+)", name)
        return (int(layer.group(1)) if layer else -1, name.encode())

    return sorted(names, key=key)


def choose_types(
    description: ModelDescription,
    scheme: str,
    *,
    has_imatrix: bool = False,
    overrides: Sequence[TypeOverride] = (),
) -> dict[str, T]:
    """Choose the type of every tensor, in the order of the file.

    A quantized file has the order and types of `llama_model_quantize` on the float32 file of `description`; a float
    file has those of llama.cpp's converter and ignores overrides (as llama-quantize does).

    Raises:
        InputError: a type needs an importance matrix, and none is given.

    """
    shapes = {tensor.name: tensor.shape for tensor in description.tensors}
    if scheme in FLOAT_SCHEMES:
        return {name: converter_type(name, shape, SCHEMES[scheme][1]) for name, shape in shapes.items()}

    choice = _Choice(traits_of(description), scheme, shapes, has_imatrix=has_imatrix)
    compiled = [(re.compile(pattern, re.ASCII), kind) for pattern, kind in overrides]
    chosen: dict[str, T] = {}
    for name in quantize_order(shapes):
        shape = shapes[name]
        if not is_quantizable(description.architecture, name, shape):
            chosen[name] = T.F32
            continue
        by_hand = next((kind for pattern, kind in compiled if pattern.search(name)), None)
        wanted = choice.next(name, shape) if by_hand is None else by_hand
        chosen[name] = _fitting(wanted, shape[-1])
        if not has_imatrix and requires_importance(name, chosen[name]):
            raise InputError(
                f"{name} as {chosen[name].name} needs an importance matrix",
                next_step="give one with --imatrix FILE, or choose another type",
            )
    return chosen


def requires_importance(name: str, kind: T) -> bool:
    """Whether `kind` needs an importance matrix for this tensor."""
    if name in {"token_embd.weight", "per_layer_token_embd.weight", "output.weight"}:
        # llama-quantize accepts these; types whose kernel would abort are refused.
        return needs_importance(kind)
    return kind in {T.IQ3_XXS, T.IQ2_XXS, T.IQ2_XS, T.IQ2_S, T.IQ1_M, T.IQ1_S}


def _fitting(kind: T, columns: int) -> T:
    """Return `kind`, or llama.cpp's fallback if `columns` is not a multiple of its block."""
    if columns % block_size(kind) == 0:
        return kind
    smaller = _SMALLER_BLOCK.get(kind, kind)
    return smaller if columns % block_size(smaller) == 0 else T.F16


def _role(name: str) -> _Role:
    if name == "output.weight":
        return _Role.OUTPUT
    if name in {"token_embd.weight", "per_layer_token_embd.weight"}:
        return _Role.EMBEDDING
    return next((role for part, role in _ROLE_OF_PART if part in name), _Role.OTHER)


def _more_bits(index: int, count: int) -> bool:
    """Whether the layer gets more bits: the first and last eighth of the layers, and every third one in between."""
    return index < count // 8 or index >= 7 * count // 8 or (index - count // 8) % 3 == 2


class _Choice:
    """llama.cpp's type mixture for one file. It counts the tensors of each role, so their order matters."""

    def __init__(self, traits: Traits, scheme: str, names: Iterable[str], *, has_imatrix: bool) -> None:
        roles = Counter(map(_role, names))
        self._traits = traits
        self._scheme = scheme
        self._default = SCHEMES[scheme][1]
        self._has_imatrix = has_imatrix
        self._tied = not roles[_Role.OUTPUT]
        self._values = roles[_Role.ATTENTION_V]
        self._values_seen = 0
        self._downs_seen = 0

    def next(self, name: str, shape: Sequence[int]) -> T:
        """Choose the type of the file's next tensor without an override."""
        traits, role = self._traits, _role(name)
        if any(part in name for part in _Q8_PARTS_OF_ARCHITECTURE.get(traits.architecture, ())):
            return T.Q8_0
        if role is _Role.OUTPUT or (role is _Role.EMBEDDING and self._tied):
            return self._output(shape[-1])
        if role is _Role.ATTENTION_V:
            return self._attention_v()
        if role is _Role.ATTENTION_K and traits.experts == 8:
            return T.Q8_0
        if role is _Role.ATTENTION_OUTPUT and traits.experts == 8 and traits.architecture != "falcon":
            return T.Q5_K if self._scheme in {"Q4_K_S", "Q4_K_M", "IQ4_NL"} else self._default
        if role is _Role.FFN_DOWN:
            return self._ffn_down(name)
        return self._default

    def _output(self, columns: int) -> T:
        if self._traits.architecture == "falcon" or columns % block_size(self._default):
            return T.Q8_0
        return T.Q8_0 if self._default is T.Q8_0 else T.Q6_K

    def _attention_v(self) -> T:
        index, kind = self._values_seen, self._default
        self._values_seen += 1
        if self._scheme == "IQ4_NL" and self._traits.gqa >= 4:
            kind = T.Q5_K
        elif self._scheme == "Q4_K_M" and _more_bits(index, self._values):
            kind = T.Q6_K
        elif self._scheme == "Q4_K_S" and index < 4:
            kind = T.Q5_K
        if self._traits.is_70b and kind is T.Q4_K:
            kind = T.Q5_K
        return T.Q8_0 if self._traits.experts == 8 else kind

    def _ffn_down(self, name: str) -> T:
        layers, layer = self._traits.layers, self._downs_seen
        self._downs_seen += 1
        if self._traits.experts > 1:
            # Experts have no fixed order: the layer is read from the name.
            found = re.match(r"blk\.(\d+)\.", name)
            if not found or int(found.group(1)) >= layers:
                raise InputError(
                    f"{name} is outside the {layers} layers of the metadata",
                    next_step="check block_count in the base's configuration",
                )
            layer = int(found.group(1))
        falcon = self._traits.architecture == "falcon"
        early = layer < layers // 8
        if self._scheme == "Q4_K_M" and falcon:
            more = T.Q5_K if _more_bits(layer, layers) else T.Q4_K
            return T.Q6_K if layer < layers // 16 else more
        if self._scheme == "Q4_K_M" and _more_bits(layer, layers):
            return T.Q6_K
        if self._scheme == "IQ4_NL" and early and not self._has_imatrix:
            return T.Q5_K
        if self._scheme == "Q4_K_S" and early and not falcon:
            return T.Q5_K
        if self._scheme == "Q4_0" and early and self._has_imatrix:
            return T.Q4_1
        return self._default
