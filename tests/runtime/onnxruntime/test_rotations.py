"""Rotary tables: what transformers computes is one, and a row that is turned otherwise is found."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from edgeproof.contracts.errors import ArtifactError
from edgeproof.runtime.onnxruntime.rotations import check_rotations
from onnx import TensorProto, helper, numpy_helper

FLOAT32, FLOAT16, BFLOAT16 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16
TYPES = {FLOAT32: np.float32, FLOAT16: np.float16, BFLOAT16: ml_dtypes.bfloat16}


def table(positions, theta=10000.0, columns=16, scale=1.0):
    """Cosines and sines in float32, as transformers computes them."""
    angles = np.outer(
        np.arange(positions, dtype=np.float32),
        (1.0 / theta ** (np.arange(0, 2 * columns, 2) / (2 * columns))).astype(np.float32),
    )
    return np.cos(angles) * np.float32(scale), np.sin(angles) * np.float32(scale)


def model_of(*tables, kind=FLOAT32, operator="GroupQueryAttention"):
    """A graph that turns by one table, or by that of a choice."""
    arrays = [numpy_helper.from_array(one.astype(TYPES[kind]), f"a{n}") for n, one in enumerate(sum(tables, ()))]
    names, nodes = ["a0", "a1"], []
    if len(tables) == 2:
        branches = []
        for number in (0, 2):
            made = [helper.make_node("Identity", [f"a{number + n}"], [f"b{number + n}"]) for n in (0, 1)]
            outputs = [helper.make_tensor_value_info(f"b{number + n}", kind, None) for n in (0, 1)]
            branches.append(helper.make_graph(made, f"g{number}", [], outputs))
        nodes = [helper.make_node("If", ["is"], ["c", "s"], then_branch=branches[0], else_branch=branches[1])]
        names = ["c", "s"]
    before = {"GroupQueryAttention": ["x"] * 7, "RotaryEmbedding": ["x"] * 2}[operator]
    nodes.append(helper.make_node(operator, [*before, *names], ["y"], domain="com.microsoft"))
    return helper.make_model(helper.make_graph(nodes, "g", [], [], arrays))


def refused(model, tmp_path, words):
    with pytest.raises(ArtifactError, match=words):
        check_rotations(tmp_path / "model.onnx", model)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("positions", [1, 2, 3, 100, 512, 8192, 40_000])
@pytest.mark.parametrize("theta", [10000.0, 1e6])
def test_a_table_of_any_length_and_type_is_one(tmp_path, kind, positions, theta):
    for operator in ("GroupQueryAttention", "RotaryEmbedding"):
        model = model_of(table(positions, theta, scale=1.19), kind=kind, operator=operator)
        check_rotations(tmp_path / "model.onnx", model)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("place", [5, 100, 300, 511])
@pytest.mark.parametrize("which", [0, 1])
def test_one_number_that_is_another_is_found(tmp_path, kind, place, which):
    changed = table(512)
    changed[which][place, 3] += 0.1 if kind == BFLOAT16 else 0.02
    words = f"'a0' is not a rotary table: position {place} is not turned as the others are"
    refused(model_of(changed, kind=kind), tmp_path, words)


def test_another_table_from_some_position_on_is_found(tmp_path):
    first, second = table(512), table(512, theta=20000.0)
    mixed = tuple(np.concatenate((one[:150], other[150:])) for one, other in zip(first, second, strict=True))
    refused(model_of(mixed), tmp_path, r"position \d+ is not turned")


def test_both_tables_of_a_choice_are_looked_at(tmp_path):
    good, bad = (table(512), table(512, theta=20000.0)), table(512)
    bad[1][400] = 0
    check_rotations(tmp_path / "model.onnx", model_of(*good))
    for pair in ((good[0], bad), (bad, good[1])):
        refused(model_of(*pair), tmp_path, "position 400 is not turned")


def test_weights_in_another_file_are_read(tmp_path):
    for damaged in (False, True):
        changed = table(512)
        changed[0][300, 0] += damaged
        path = tmp_path / "model.onnx"
        onnx.save(model_of(changed), path, save_as_external_data=True, size_threshold=0, location=f"data{damaged}")
        model = onnx.load(path, load_external_data=False)
        if damaged:
            refused(model, tmp_path, "position 300")
        else:
            check_rotations(path, model)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c, s: (c, s[:-1]), "its shapes are"),
        (lambda c, s: (c[:, 0], s[:, 0]), "its shapes are"),
        (lambda c, s: (c * 0, s), "position 0 "),
        (lambda c, s: (s, c), "position 0 "),
    ],
)
def test_what_is_no_table_at_all_is_refused(tmp_path, change, words):
    refused(model_of(change(*table(64))), tmp_path, words)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("place", [64, 70, 256])
def test_an_infinite_row_switches_nothing_off(tmp_path, kind, place):
    changed = table(512)
    for one in changed:
        one[64:] = 0
        one[place] = np.inf
    refused(model_of(changed, kind=kind), tmp_path, f"position {place} is not turned")


def constants(model, names):
    """Store tables as Constant nodes in place of initializers."""
    for name in names:
        tensor = next(one for one in model.graph.initializer if one.name == name)
        model.graph.node.insert(0, helper.make_node("Constant", [], [name], value=tensor))
        model.graph.initializer.remove(tensor)
    return model


@pytest.mark.parametrize("way", ["constant", "identity", "cast", "branches", "sparse", "one of two"])
def test_a_table_is_found_wherever_it_is_stored(tmp_path, way):
    for damaged in (False, True):
        changed = table(512)
        changed[1][300] *= not damaged
        model = model_of(table(512), changed) if way == "branches" else model_of(changed)
        if way in {"constant", "branches"}:
            model = constants(model, [one.name for one in model.graph.initializer])
        elif way in {"identity", "cast"}:
            options = {"to": FLOAT16} if way == "cast" else {}
            model.graph.node.insert(0, helper.make_node(way.title(), ["a1"], ["passed"], **options))
            model.graph.node[-1].input[8] = "passed"
        elif way == "sparse":
            model.graph.node[0].op_type = "SparseAttention"
            model.graph.node[0].input[:] = ["x"] * 9 + ["a0", "a1"]
        elif way == "one of two" and damaged:
            model.graph.node[0].input[8] = "computed"
        if damaged:
            words = "1 of cosines and 0 of sines" if way == "one of two" else "position 300 is not turned"
            refused(model, tmp_path, words)
        else:
            check_rotations(tmp_path / "model.onnx", model)


@pytest.mark.slow
def test_a_context_of_a_million_tokens_is_one(tmp_path):
    for theta in (1e4, 1e7):
        check_rotations(tmp_path / "model.onnx", model_of(table(1_010_000, theta, columns=8)))


def test_a_table_that_the_graph_computes_is_not_looked_at(tmp_path):
    model = model_of(table(64))
    model.graph.node[0].input[7:9] = ["computed", "too"]
    check_rotations(tmp_path / "model.onnx", model)
