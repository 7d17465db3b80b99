"""Weights of the graph, with onnxruntime-genai's names, and the checkpoint rows that they consist of.

Rows keep the checkpoint's order. q, k and v become one matrix, stored fused or not; Phi-3's fused gate and up
projections become two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.export.architectures.placing import OUTPUT, TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgeproof.export.onnx.description import OnnxDescription

HEAD = "lm_head"
EMBEDDING = "model.embed_tokens"


class Part(NamedTuple):
    """Rows `start` to `stop` of the checkpoint's tensor `source`, written to the rows from `at` on."""

    source: str
    start: int
    stop: int
    at: int


class Matrix(NamedTuple):
    """A matrix [rows, columns] in the checkpoint's layout: the projection multiplies by its transpose."""

    name: str
    rows: int
    columns: int
    parts: tuple[Part, ...]


class Vector(NamedTuple):
    """A norm's weight or a bias, float32 [size]; `parts` count values instead of rows, `offset` is added."""

    name: str
    size: int
    parts: tuple[Part, ...]
    offset: float = 0.0


class Weights(NamedTuple):
    """All weights of a graph. `embedding` is None if tied to the head."""

    matrices: tuple[Matrix, ...]
    vectors: tuple[Vector, ...]
    embedding: Matrix | None


def list_weights(description: OnnxDescription) -> Weights:
    """List the weights in the graph's order."""
    model, sources = description.model, description.sources
    table = _matrix(HEAD, model.hidden, [(sources[TABLE], 0, model.vocabulary)])
    head = _matrix(HEAD, model.hidden, [(sources[OUTPUT], 0, model.vocabulary)]) if OUTPUT in sources else table
    matrices: list[Matrix] = []
    vectors: list[Vector] = []
    for layer in range(model.layers):
        matrices += _matrices(description, layer)
        vectors += _vectors(description, layer)
    last = f"model.layers.{model.layers}.final_norm_layernorm.weight"
    vectors.append(_vector(last, model.hidden, sources["model.norm.weight"], model.norm_offset))
    embedding = table._replace(name=EMBEDDING) if OUTPUT in sources else None
    return Weights((*matrices, head), tuple(vectors), embedding)


def _matrices(description: OnnxDescription, layer: int) -> Iterator[Matrix]:
    model, sources = description.model, description.sources
    hidden, wide = model.hidden, model.feed_forward
    queries, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    plain, name = f"model.layers.{layer}", f"model.layers.{layer}"
    fused = sources.get(f"{plain}.self_attn.qkv_proj.weight")
    qkv = [(fused, 0, queries + 2 * keys)] if fused else [
        (sources[f"{plain}.self_attn.{which}_proj.weight"], 0, rows)
        for which, rows in (("q", queries), ("k", keys), ("v", keys))
    ]  # fmt: skip
    yield _matrix(f"{name}.attn.qkv_proj", hidden, qkv)
    yield _matrix(f"{name}.attn.o_proj", queries, [(sources[f"{plain}.self_attn.o_proj.weight"], 0, hidden)])
    both = sources.get(f"{plain}.mlp.gate_up_proj.weight")
    for number, which in enumerate(("gate", "up")):
        start = number * wide if both else 0
        source = both or sources[f"{plain}.mlp.{which}_proj.weight"]
        yield _matrix(f"{name}.mlp.{which}_proj", hidden, [(source, start, start + wide)])
    yield _matrix(f"{name}.mlp.down_proj", wide, [(sources[f"{plain}.mlp.down_proj.weight"], 0, hidden)])


def _vectors(description: OnnxDescription, layer: int) -> Iterator[Vector]:
    model, sources = description.model, description.sources
    plain, name = f"model.layers.{layer}", f"model.layers.{layer}"
    queries, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    norms = ["input_layernorm", "post_attention_layernorm"]
    norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"] if model.post_norms else []
    for norm in norms:
        yield _vector(f"{name}.{norm}.weight", model.hidden, sources[f"{plain}.{norm}.weight"], model.norm_offset)
    for which in ("q", "k") if model.query_key_norm else ():
        source = sources[f"{plain}.self_attn.{which}_norm.weight"]
        yield _vector(f"{name}.attn.{which}_norm.layernorm.weight", model.head_dim, source, model.norm_offset)
    if model.attention_bias:
        biases = [sources[f"{plain}.self_attn.{which}_proj.bias"] for which in "qkv"]
        parts = (
            Part(biases[0], 0, queries, 0),
            Part(biases[1], 0, keys, queries),
            Part(biases[2], 0, keys, queries + keys),
        )
        yield Vector(f"{name}.attn.qkv_proj.Add.bias", queries + 2 * keys, parts)
    if model.output_bias:
        yield _vector(f"{name}.attn.o_proj.Add.bias", model.hidden, sources[f"{plain}.self_attn.o_proj.bias"])
    if model.mlp_bias:
        for which, size in (("gate", model.feed_forward), ("up", model.feed_forward), ("down", model.hidden)):
            yield _vector(f"{name}.mlp.{which}_proj.Add.bias", size, sources[f"{plain}.mlp.{which}_proj.bias"])


def _matrix(name: str, columns: int, ranges: list[tuple[str, int, int]]) -> Matrix:
    parts: list[Part] = []
    rows = 0
    for source, start, stop in ranges:
        parts.append(Part(source, start, stop, rows))
        rows += stop - start
    return Matrix(name, rows, columns, tuple(parts))


def _vector(name: str, size: int, source: str, offset: float = 0.0) -> Vector:
    return Vector(name, size, (Part(source, 0, size, 0),), offset)
