"""What must hold beside onnxruntime-genai, the engine by which devices run the same folder: the same greedy tokens."""

from __future__ import annotations

import shutil

import pytest
from edgeproof.contracts.backend import GenerateRequest
from edgeproof.contracts.errors import ArtifactError
from edgeproof.runtime.onnxruntime.backend import OnnxRuntime
from edgeproof.runtime.onnxruntime.loadable import TYPES
from edgeproof_tests.runtime.tiny_onnx import change_config

genai = pytest.importorskip("onnxruntime_genai")


def _greedy(folder, contexts, count):
    """The next `count` tokens of each context, by onnxruntime-genai, one after the other."""
    model = genai.Model(str(folder))
    for context in contexts:
        options = genai.GeneratorParams(model)
        options.set_search_options(do_sample=False, max_length=len(context) + count)
        generator = genai.Generator(model, options)
        generator.append_tokens(list(context))
        while not generator.is_done():
            generator.generate_next_token()
        yield [int(token) for token in generator.get_sequence(0)[len(context) :]]


@pytest.mark.parametrize("options", [{}, {"bits": 4}, {"window": 24}])
def test_greedy_tokens_equal_those_of_onnxruntime_genai(tiny_folder, mixed_requests, options):
    folder = tiny_folder(**options)
    contexts = [request.context for request in mixed_requests[:20]]
    with OnnxRuntime(folder, threads=1) as backend:
        ends = backend._config.ends
        made = list(backend.generate([GenerateRequest(context, 12) for context in contexts]))
    for generation, tokens in zip(made, _greedy(folder, contexts, 12), strict=True):
        assert list(generation.tokens) == [token for token in tokens if token not in ends]


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_every_type_that_is_accepted_is_one_that_onnxruntime_genai_loads(tiny_folder, tmp_path, kind):
    folder = shutil.copytree(tiny_folder(bits=4), tmp_path / "model")
    change_config(folder, lambda values: values["model"].update(type=kind))
    OnnxRuntime(folder, threads=1).close()
    genai.Model(str(folder))


@pytest.mark.parametrize("kind", [None, "", "bert", "whisper", "Llama", "llama ", 7])
def test_a_type_that_onnxruntime_genai_does_not_load_is_refused(tiny_folder, tmp_path, kind):
    folder = shutil.copytree(tiny_folder(bits=4), tmp_path / "model")
    change_config(
        folder, lambda values: values["model"].pop("type") if kind is None else values["model"].update(type=kind)
    )
    with pytest.raises(ArtifactError, match=r"model\.type is"):
        OnnxRuntime(folder, threads=1)
    with pytest.raises(Exception, match=r"."):
        genai.Model(str(folder))
