"""JSON of a model or an adapter whose values are of other types than they should be: an error of ours, or right."""

from __future__ import annotations

import copy
import json
import shutil

import pytest
from edgeproof.contracts.errors import EdgeproofError
from edgeproof.export.adapter.load import load_adapter
from edgeproof.export.architectures import describe
from edgeproof.export.base.checkpoint import open_checkpoint
from edgeproof.export.onnx.description import describe_onnx
from edgeproof.export.onnx.genai_config import genai_config
from edgeproof.export.onnx.tokenizer_files import read_tokenizer_files, write_tokenizer_files
from edgeproof.export.tokenizer.metadata import tokenizer_metadata

pytestmark = pytest.mark.torch

ODD = [None, [], {}, "", "x", 0, -1, 1.5, True, [None], [[]], ["x"], {"type": []}, {"x": {}}, 10**30]
MANY = 20
"""Of a table or list with more entries than this, the first alone is changed: a vocabulary has thousands alike."""


def places(value, where=()):
    """The path of every value below `value`, and that of the whole."""
    yield where
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for number, (key, inner) in enumerate(entries):
        if number == 0 or len(value) <= MANY:
            yield from places(inner, (*where, key))


def changed(content, where, value):
    if not where:
        return value
    made = copy.deepcopy(content)
    inner = made
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    return made


def described(base, _scratch):
    """All that an export reads of the folder before it reads a weight."""
    checkpoint = open_checkpoint(base)
    describe(checkpoint, tokenizer_metadata(base, checkpoint.config), name="tiny")


def described_for_onnx(base, scratch):
    description = describe_onnx(open_checkpoint(base), read_tokenizer_files(base))
    genai_config(description)
    write_tokenizer_files(description.tokenizer, scratch, context_length=512)


def stumbles(read, folder, name, scratch):
    """What happens other than an error of ours, by the value that it happens for."""
    path = folder / name
    content, found = json.loads(path.read_text()), {}
    for where in places(content):
        for value in ODD:
            path.write_text(json.dumps(changed(content, where, value)))
            try:
                read(folder, scratch)
            except EdgeproofError:
                pass
            except Exception as error:  # noqa: BLE001 (that is what is looked for)
                found[where, repr(value)] = f"{type(error).__name__}: {error}"
    return found


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"])
@pytest.mark.parametrize("read", [described, described_for_onnx])
def test_no_value_of_a_models_files_is_an_internal_error(base, tmp_path, read, name):
    folder, scratch = tmp_path / "model", tmp_path / "scratch"
    shutil.copytree(base, folder)
    scratch.mkdir()
    assert not stumbles(read, folder, name, scratch)


def test_no_value_of_an_adapters_config_is_an_internal_error(base, make_adapter, tmp_path):
    folder = tmp_path / "adapter"
    shutil.copytree(make_adapter(base), folder)
    assert not stumbles(lambda folder, _: load_adapter(folder), folder, "adapter_config.json", tmp_path)
