"""Phi-3's two pairs of rotary tables in an ONNX graph: a short text can be computed with the long ones, too."""

from __future__ import annotations

import json
import math
import random
import shutil

import numpy as np
import onnx
import pytest
from edgeproof.contracts.backend import ScoreRequest
from edgeproof.contracts.errors import ArtifactError, UnsupportedError
from edgeproof.contracts.progress import Silent
from edgeproof.runtime import original_context
from edgeproof.runtime.onnxruntime.backend import OnnxRuntime
from edgeproof_tests.models import VOCABULARY, save_model
from onnx import TensorProto, helper, numpy_helper

pytestmark = pytest.mark.torch

ORIGINAL = 256
"""Original context of the tiny model."""
FORMATS = ("onnx-fp32", "onnx-int4")


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """The tiny model, and the same weights with the long factors in both places."""
    folder = tmp_path_factory.mktemp("longrope")
    base = save_model("phi3-longrope", folder / "tiny")
    long = shutil.copytree(base, folder / "long")
    config = json.loads((long / "config.json").read_text())
    rope = next(config[key] for key in ("rope_parameters", "rope_scaling") if key in config)
    rope["short_factor"] = rope["long_factor"]
    (long / "config.json").write_text(json.dumps(config))
    return base, long


@pytest.fixture(scope="module")
def folders(bases, tmp_path_factory):
    """ONNX folders of both, by format."""
    from edgeproof.export.pipeline import export

    found = []
    for base in bases:
        out = tmp_path_factory.mktemp("out")
        made = export(base, (), FORMATS, out, threads=1, progress=Silent())
        found.append(dict(zip(FORMATS, (one.path for one in made), strict=True)))
    return found


def request(length: int) -> ScoreRequest:
    chance = random.Random(length)
    tokens = [chance.randrange(VOCABULARY - 2) for _ in range(length)]
    return ScoreRequest(tuple(tokens[:20]), tuple(tokens[20:]))


def logprobs(folder, length, **options):
    with OnnxRuntime(folder, threads=1, **options) as backend:
        (score,) = backend.score([request(length)])
        return np.asarray(score.logprobs), backend.info.options


@pytest.mark.parametrize("form", FORMATS)
def test_a_short_text_is_computed_with_either_pair(folders, form):
    (own, said), (long, said_long) = (logprobs(folders[0][form], 90, long_rope=flag) for flag in (False, True))
    (other, _) = logprobs(folders[1][form], 90)
    np.testing.assert_array_equal(long, other)
    assert np.abs(own - long).mean() > 0.01
    assert said["rope_factors"] == f"short in contexts of up to {ORIGINAL} tokens, long beyond"
    assert said_long["rope_factors"] == "long"
    assert {one["accuracy_level_of"] for one in (said, said_long)} == {"the graph"}


def test_the_long_pair_is_torchs(bases, folders):
    from edgeproof.runtime.torch_reference import TorchReference

    with TorchReference(bases[1], threads=1) as backend:
        (expected,) = backend.score([request(90)])
    found, _ = logprobs(folders[0]["onnx-fp32"], 90, long_rope=True)
    assert np.abs(found - expected.logprobs).max() < 2e-3


def test_rounding_can_be_left_out_beside_it(folders):
    found, said = logprobs(folders[0]["onnx-int4"], 90, long_rope=True, accuracy_level=0)
    expected, _ = logprobs(folders[1]["onnx-int4"], 90, accuracy_level=0)
    np.testing.assert_array_equal(found, expected)
    assert (said["accuracy_level"], said["accuracy_level_of"], said["rope_factors"]) == ("0", "the twin", "long")


def test_the_length_at_which_a_file_changes_is_read_from_its_graph(folders, tmp_path):
    assert original_context(folders[0]["onnx-int4"]) == ORIGINAL
    from edgeproof.export.pipeline import export

    plain = export(save_model("qwen3", tmp_path / "tiny"), (), ("onnx-fp32",), tmp_path, threads=1, progress=Silent())
    assert original_context(plain[0].path) is None
    with pytest.raises(UnsupportedError, match="one pair of rotary tables"):
        OnnxRuntime(plain[0].path, long_rope=True)


ODD = {
    "float": numpy_helper.from_array(np.array(255.9, np.float32)),
    "none": helper.make_tensor("none", TensorProto.FLOAT, [], [math.nan]),
    "text": helper.make_tensor("text", TensorProto.STRING, [], [b"256"]),
    "several": numpy_helper.from_array(np.array([256, 512])),
    "cut": TensorProto(data_type=TensorProto.INT64, raw_data=b"\x00"),
    "type": TensorProto(data_type=99, raw_data=b"\x00" * 8),
}


@pytest.mark.parametrize("change", ["operator", "computed", "no input", "one input", "two choices", *ODD])
def test_a_choice_by_something_else_than_a_length_is_refused(folders, tmp_path, change):
    folder = shutil.copytree(folders[0]["onnx-fp32"], tmp_path / "model")
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    choice = next(node for node in model.graph.node if node.op_type == "If")
    made = next(node for node in model.graph.node if choice.input[0] in node.output)
    if change in ODD:
        model.graph.node.insert(0, helper.make_node("Constant", [], ["odd"], value=ODD[change]))
        made.input[1] = "odd"
    elif change == "operator":
        made.op_type = "Equal"
    elif change == "no input":
        del choice.input[:]
    elif change == "one input":
        del made.input[1]
    elif change == "two choices":
        other = model.graph.node.add()
        other.CopyFrom(made)
        other.input[0], other.output[0] = "input_ids", "other"
        second = model.graph.node.add()
        second.CopyFrom(choice)
        second.input[0] = "other"
    else:
        made.input[1] = made.input[0]
    onnx.save(model, folder / "model.onnx")
    with pytest.raises(ArtifactError, match="does not compare one length with one number"):
        original_context(folder)
