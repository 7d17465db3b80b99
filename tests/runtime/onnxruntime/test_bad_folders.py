"""What must hold of folders that are no complete model: each is an `ArtifactError` with its own message, exit 3."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from edgeproof.contracts.backend import ScoreRequest
from edgeproof.contracts.errors import ArtifactError, InputError
from edgeproof.runtime import open_backend
from edgeproof.runtime.onnxruntime.backend import OnnxRuntime
from edgeproof_tests.runtime import tiny_gguf, tiny_onnx
from edgeproof_tests.runtime.tiny_onnx import change_config, change_graph

DATA = "model.onnx.data"


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A copy of the tiny model that may be spoilt."""
    return shutil.copytree(tiny_folder(bits=4), tmp_path / "model")


def _refused(folder, told):
    with pytest.raises(ArtifactError, match=told) as caught:
        OnnxRuntime(folder, threads=1)
    assert caught.value.exit_code == 3
    assert caught.value.next_step
    return caught.value


def test_no_folder(tmp_path):
    _refused(tmp_path / "none", "no such folder")


def test_a_file_in_place_of_a_folder(folder):
    _refused(folder / "model.onnx", "is a file")


def test_an_empty_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    _refused(tmp_path / "empty", "is empty")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("model.onnx", r"the graph that genai_config\.json names is missing"),
        (DATA, r"the data of 'cos_cache' is missing: .*model\.onnx\.data: no such file"),
        ("genai_config.json", r"genai_config\.json: no such file"),
        ("tokenizer.json", r"tokenizer\.json: no such file"),
    ],
)
def test_a_missing_file(folder, name, told):
    (folder / name).unlink()
    _refused(folder, told)


@pytest.mark.parametrize("text", [b"", b"no graph at all, but words", b"\x08\x0a\xff\xff\xff\xff", b"\x08\x0a"])
def test_a_graph_that_is_no_onnx_file(folder, text):
    (folder / "model.onnx").write_bytes(text)
    _refused(folder, r"model\.onnx \(\d+ bytes\) is not an ONNX file")


def test_names_that_are_no_utf_8(folder):
    data = (folder / "model.onnx").read_bytes()
    for name in (b"model.onnx.data", b"attention_mask"):
        (folder / "model.onnx").write_bytes(data.replace(name, b"\xff" + name[1:]))
        with pytest.raises(ArtifactError):
            OnnxRuntime(folder, threads=1)


def test_a_graph_cut_short(folder):
    data = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(data[: len(data) // 2])
    _refused(folder, "is not an ONNX file")


def test_data_cut_short(folder):
    size = (folder / DATA).stat().st_size
    os.truncate(folder / DATA, size // 2)
    _refused(folder, rf"is truncated: .* the file has {size // 2:,}")


@pytest.mark.parametrize("location", ["../elsewhere.data", "/etc/passwd", "sub/../../elsewhere.data", "C:\\x.data", ""])
def test_data_outside_the_folder_by_its_path(folder, location):
    (folder.parent / "elsewhere.data").write_bytes((folder / DATA).read_bytes())
    change_graph(folder, lambda model: _place(model, "location", location))
    _refused(folder, "outside")


def test_data_outside_the_folder_by_a_link(folder):
    (folder / DATA).rename(folder.parent / "elsewhere.data")
    (folder / DATA).symlink_to("../elsewhere.data")
    _refused(folder, "is a link that leads out of the folder")


def test_a_graph_outside_the_folder(folder):
    (folder / "model.onnx").rename(folder.parent / "model.onnx")
    change_config(folder, lambda config: config["model"]["decoder"].update(filename="../model.onnx"))
    _refused(folder, "outside")


@pytest.mark.parametrize(
    ("key", "value"), [("offset", "-64"), ("length", "7"), ("length", "many"), ("offset", "9" * 12)]
)
def test_an_extent_that_cannot_be(folder, key, value):
    change_graph(folder, lambda model: _place(model, key, value))
    _refused(folder, r"cos_cache")


@pytest.mark.parametrize(("domain", "told"), [("", "ai.onnx:Mystery"), ("com.microsoft", "com.microsoft:Mystery")])
def test_an_unknown_operator(folder, domain, told):
    def change(model):
        node = next(node for node in model.graph.node if node.op_type == "Sigmoid")
        node.op_type, node.domain = "Mystery", domain

    change_graph(folder, change)
    _refused(folder, rf"has the operator {told}")


def test_an_operator_of_an_unknown_domain(folder):
    def change(model):
        model.graph.node[3].domain = "my.own"
        model.opset_import.add(domain="my.own", version=1)

    change_graph(folder, change)
    _refused(folder, r"my\.own:")


def test_an_opset_that_is_too_new(folder):
    change_graph(folder, lambda model: setattr(model.opset_import[0], "version", 999))
    _refused(folder, r"opset 999 of ai\.onnx; version \d+ is the latest")


def test_an_ir_version_that_is_too_new(folder):
    change_graph(folder, lambda model: setattr(model, "ir_version", 99))
    _refused(folder, r"IR version 99; onnx [\d.]+ knows up to \d+")


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("num_hidden_layers", 3, r"the graph lacks 'past_key_values\.2\.key'"),
        ("num_hidden_layers", 1, r"does not name 'past_key_values\.1\.key'"),
        (
            "num_key_value_heads",
            4,
            r"shape \[batch_size, 2, length, 64\]; by genai_config\.json it must be \[batch, 4,",
        ),
        ("num_attention_heads", 8, r"has 4 heads and 2 key-value heads; genai_config\.json says 8 and 2"),
        ("head_size", 128, r"it must be \[batch, 2, length, 128\]"),
        ("head_size", 0, r"model\.decoder\.head_size is 0"),
        ("filename", 7, r"model\.decoder\.filename is 7"),
    ],
)
def test_another_models_decoder_in_genai_config(folder, key, value, told):
    change_config(folder, lambda config: config["model"]["decoder"].update({key: value}))
    _refused(folder, told)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("vocab_size", 999, r"logits has the shape .*; by genai_config\.json it must be \[batch, length, 999\]"),
        ("eos_token_id", None, r"model\.eos_token_id is None"),
        ("eos_token_id", [], r"model\.eos_token_id is \[\]"),
        ("context_length", "long", r"model\.context_length is 'long'"),
        ("decoder", None, r"has no table 'model\.decoder'"),
    ],
)
def test_another_models_sizes_in_genai_config(folder, key, value, told):
    change_config(folder, lambda config: config["model"].update({key: value}))
    _refused(folder, told)


@pytest.mark.parametrize(
    ("place", "key", "value", "told"),
    [
        ("inputs", "input_ids", "tokens", "the graph lacks 'tokens'"),
        ("inputs", "past_key_names", "cache.%d.k", r"the graph lacks 'cache\.0\.k'"),
        ("inputs", "past_key_names", "cache.k", r"without its one %d"),
        ("outputs", "logits", "scores", "the graph lacks 'scores'"),
        ("outputs", "present_value_names", "new.%d.v", r"the graph lacks 'new\.0\.v'"),
    ],
)
def test_names_that_do_not_fit(folder, place, key, value, told):
    change_config(folder, lambda config: config["model"]["decoder"][place].update({key: value}))
    _refused(folder, told)


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_genai_config_that_is_none(folder, text):
    (folder / "genai_config.json").write_text(text)
    _refused(folder, r"genai_config\.json is not (a )?JSON")


def test_a_memory_of_the_wrong_shape_or_type(folder):
    def three(model):
        del model.graph.input[2].type.tensor_type.shape.dim[3]

    change_graph(folder, three)
    _refused(folder, r"past_key_values\.0\.key has the shape \[batch_size, 2, length\]")


def test_a_memory_of_the_wrong_type(folder):
    change_graph(folder, lambda model: setattr(model.graph.input[2].type.tensor_type, "elem_type", 3))
    _refused(folder, r"past_key_values\.0\.key has the type int8")


def test_a_head_size_that_only_a_run_can_find(folder):
    """The builder leaves the width of a head open in the graph."""

    def change(model):
        for value in (*model.graph.input[2:], *model.graph.output[1:]):
            value.type.tensor_type.shape.dim[3].dim_param = "kv_cache_dim"

    change_graph(folder, change)
    OnnxRuntime(folder, threads=1).close()
    change_config(folder, lambda config: config["model"]["decoder"].update(head_size=32))
    _refused(folder, r"does not run with the values of genai_config\.json")


def test_a_tokenizer_larger_than_the_logits(folder):
    tokens = tiny_gguf.vocabulary()
    tiny_onnx.write_tokenizer(folder, [*tokens[:-2], "one", "two", "three", *tokens[-2:]])
    _refused(folder, rf"the tokenizer has {len(tiny_gguf.vocabulary()) + 1} tokens, the graph 262 logits")


def test_a_special_token_beyond_the_logits_is_no_fault(folder):
    """Gemma 3's text models have a tokenizer with a mark for images that their embedding lacks."""
    with OnnxRuntime(folder, threads=1) as backend:
        digest = backend.info.tokenizer_digest
    content = json.loads((folder / "tokenizer.json").read_text())
    beyond = {**content["added_tokens"][-1], "id": len(tiny_gguf.vocabulary()), "content": "<image_soft_token>"}
    content["added_tokens"].append(beyond)
    (folder / "tokenizer.json").write_text(json.dumps(content))
    with OnnxRuntime(folder, threads=1) as backend:
        assert backend.info.tokenizer_digest == digest
        tokens = backend.tokenize("<image_soft_token>", special=False, parse_special=True)
        assert tokens == (len(tiny_gguf.vocabulary()),)
        with pytest.raises(InputError, match="the vocabulary ends at 261"):
            backend.score([ScoreRequest(tokens, tokens)])


def test_a_tokenizer_that_is_none(folder):
    (folder / "tokenizer.json").write_text("{}")
    _refused(folder, r"tokenizer\.json is not a tokenizer")


def test_weights_whose_shapes_do_not_fit_the_graph(tmp_path):
    weights = tiny_gguf.weights()
    weights["blk.1.ffn_down.weight"] = np.ones((tiny_gguf.HIDDEN, 96), np.float32)
    _refused(tiny_onnx.write(tmp_path / "odd", weights), r"onnxruntime [\d.]+ cannot load|does not run")


def test_a_bad_folder_is_the_same_error_through_the_child_process(folder):
    (folder / DATA).unlink()
    with pytest.raises(ArtifactError, match=r"model\.onnx\.data: no such file"):
        open_backend("onnxruntime", folder, threads=1)


@pytest.mark.parametrize("name", ["other.onnx", "MODEL.ONNX", "decoder.ort"])
def test_a_second_graph_in_the_folder(folder, name):
    shutil.copyfile(folder / "model.onnx", folder / name)
    _refused(folder, "1 graphs beside model.onnx")


def test_a_genai_config_that_names_another_graph(folder):
    """onnxruntime-genai runs what it names; what lies beside it under the usual name is a decoy."""
    shutil.copyfile(folder / "model.onnx", folder / "leaking.onnx")
    change_config(folder, lambda config: config["model"]["decoder"].update(filename="leaking.onnx"))
    _refused(folder, "1 graphs beside leaking.onnx: model.onnx")


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("decoder", {"pipeline": [{"part": {"filename": "model.onnx"}}]}, r"model\.decoder\.pipeline"),
        ("decoder", {"pipeline": ["model.onnx"]}, r"model\.decoder\.pipeline"),
        ("decoder", {"session_options": {"custom_ops_library": "x.so"}}, "custom_ops_library"),
        (
            "decoder",
            {"session_options": {"session.model_external_initializers_file_folder_path": "/elsewhere"}},
            "external_initializers",
        ),
        ("encoder", {"filename": "encoder.onnx"}, r"model\.encoder\.filename"),
        ("vision", {"filename": "vision.onnx"}, r"model\.vision\.filename"),
        ("speech", {"adapter_filename": "x.onnx_adapter"}, r"model\.speech\.adapter_filename"),
    ],
)
def test_a_genai_config_that_leads_to_more_than_the_decoder(folder, place, value, told):
    change_config(folder, lambda config: config["model"].setdefault(place, {}).update(value))
    _refused(folder, told)


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        ("decoder", "hidden_size", -1),
        ("decoder", "hidden_size", None),
        ("decoder", "num_key_value_heads", 1.5),
        ("model", "context_length", 2**31),
        ("model", "bos_token_id", None),
        ("model", "pad_token_id", 2**31),
        ("search", "num_beams", 0),
        ("search", "max_length", None),
    ],
)
def test_numbers_that_onnxruntime_genai_does_not_load(folder, place, key, value):
    def change(config):
        table = {"model": config["model"], "decoder": config["model"]["decoder"], "search": config["search"]}[place]
        table[key] = value

    change_config(folder, change)
    _refused(folder, rf"{key} is {value!r}")


@pytest.mark.parametrize("ends", [-1, 262, [261, 999]])
def test_an_end_outside_the_vocabulary(folder, ends):
    change_config(folder, lambda config: config["model"].update(eos_token_id=ends))
    _refused(folder, "the vocabulary has the ids 0 to 261")


def test_functions_and_sparse_weights_that_no_check_looks_into(folder):
    import onnx

    function = onnx.helper.make_function(
        "local", "f", ["x"], ["y"], [onnx.helper.make_node("Identity", ["x"], ["y"])], []
    )
    change_graph(folder, lambda model: model.functions.append(function))
    _refused(folder, "1 functions of its own")
    change_graph(folder, lambda model: model.ClearField("functions"))
    change_graph(folder, lambda model: model.graph.sparse_initializer.add())
    _refused(folder, "1 sparse weights")


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_weight_or_scale_that_is_no_number(folder, number):
    import onnx

    graph = onnx.load(folder / "model.onnx", load_external_data=False).graph
    found = next(t for t in graph.initializer if t.data_type == 1 and t.data_location == 1 and "norm" in t.name)
    offset = int(next(entry.value for entry in found.external_data if entry.key == "offset"))
    content = bytearray((folder / DATA).read_bytes())
    content[offset : offset + 4] = np.float32(number).tobytes()
    (folder / DATA).write_bytes(content)
    _refused(folder, rf"{found.name}.*NaN or infinite")


def _place(model, key, value):
    """Change where the rotary table's data is said to lie."""
    tensor = next(one for one in model.graph.initializer if one.name == "cos_cache")
    next(entry for entry in tensor.external_data if entry.key == key).value = value


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("search.temperature", None),
        ("search.top_p", True),
        ("search.repetition_penalty", "1.0"),
        ("search.do_sample", 1),
        ("search.past_present_share_buffer", "true"),
        ("search.top_k", {}),
        ("search", []),
        ("model.bos_token_id", {}),
        ("model.decoder.hidden_size", {}),
        ("model.decoder.session_options", []),
        ("model.decoder.session_options.log_id", 1),
        ("model.decoder.session_options.provider_options", {}),
    ],
)
def test_a_value_that_onnxruntime_genai_does_not_load_is_refused_as_it_refuses_it(folder, place, value):
    genai = pytest.importorskip("onnxruntime_genai")
    from edgeproof.runtime.onnxruntime.config import read_config

    path = folder / "genai_config.json"
    values = json.loads(path.read_text())
    table, (*tables, key) = values, place.split(".")
    for name in tables:
        table = table.setdefault(name, {})
    table[key] = value
    path.write_text(json.dumps(values))
    with pytest.raises(Exception, match="genai_config"):
        genai.Config(str(folder)).clear_providers()
    with pytest.raises(ArtifactError, match=rf"{place} is .*: onnxruntime-genai does not load it"):
        read_config(folder)


@pytest.mark.parametrize(("place", "value"), [("model.decoder.hidden_size", -1)])
def test_a_value_that_onnxruntime_genai_loads_no_model_with_is_refused(folder, place, value):
    from edgeproof.runtime.onnxruntime.config import read_config

    path = folder / "genai_config.json"
    values = json.loads(path.read_text())
    table, (*tables, key) = values, place.split(".")
    for name in tables:
        table = table[name]
    table[key] = value
    path.write_text(json.dumps(values))
    with pytest.raises(ArtifactError, match=rf"{place} is .*: onnxruntime-genai does not load it"):
        read_config(folder)


def test_a_key_given_twice_is_refused_since_onnxruntime_genai_reads_both(folder):
    genai = pytest.importorskip("onnxruntime_genai")
    path = folder / "genai_config.json"
    values = path.read_text()
    path.write_text('{"model": {"decoder": {"hidden_size": "many"}}, ' + values[1:])
    assert json.loads(path.read_text()) == json.loads(values)
    with pytest.raises(Exception, match="Expected a number but saw a string"):
        genai.Config(str(folder)).clear_providers()
    _refused(folder, "it gives 'model' twice")
