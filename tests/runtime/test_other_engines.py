"""An engine of another version or commit has another name, whichever backend it is: a gate tells such differences.

What a gate says of them: tests/cli/test_whole_artifact.py, tests/cli/test_onnx_end_to_end.py.
"""

from __future__ import annotations

import shlex

import pytest
from edgeproof.eval.baselines.fit import backend_differences
from edgeproof.eval.measuring.results import flat_info
from edgeproof.runtime.llama.backend import LlamaCpp
from edgeproof.runtime.onnxruntime.backend import OnnxRuntime
from edgeproof.runtime.probe.backend import Probe
from edgeproof.runtime.probe.launch import Launch
from edgeproof.runtime.server.backend import HttpServer
from edgeproof_tests.runtime.server.fake import Fake

SPEED = "speed at the start"
"""What a probe says of its speed is measured, and never the same."""


def described(backend):
    with backend as engine:
        return {name: value for name, value in flat_info(engine.info).items() if name != SPEED}


def only_the_engine(then, now):
    """The engine's names then and now; nothing else may differ."""
    ((key, before, after),) = backend_differences(then, now)
    assert key == "engine"
    return before, after


def test_llama_cpp_of_another_package_or_commit(tiny_file, monkeypatch):
    import llama_cpp
    from llama_cpp import _ggml

    model = tiny_file("Q8_0")
    then = described(LlamaCpp(model, threads=1))
    with monkeypatch.context() as patch:
        patch.setattr(llama_cpp, "__version__", "99.1")
        before, after = only_the_engine(then, described(LlamaCpp(model, threads=1)))
    assert after == before.replace(llama_cpp.__version__, "99.1")

    monkeypatch.setattr(_ggml.libggml, "ggml_commit", Commit())
    before, after = only_the_engine(then, described(LlamaCpp(model, threads=1)))
    assert after.startswith("llama.cpp 0000000 (")
    assert not before.startswith("llama.cpp 0000000")


class Commit:
    """A C function with a result type, as ctypes has it."""

    restype = None

    def __call__(self):
        return b"0000000"


def test_onnxruntime_of_another_version(tiny_folder, monkeypatch):
    import onnxruntime

    folder = tiny_folder(bits=4)
    then = described(OnnxRuntime(folder, threads=1))
    real = onnxruntime.__version__
    monkeypatch.setattr(onnxruntime, "__version__", "99.1.0")
    assert only_the_engine(then, described(OnnxRuntime(folder, threads=1))) == (
        f"onnxruntime {real}",
        "onnxruntime 99.1.0",
    )


def test_a_server_of_another_build(tiny_file):
    model = tiny_file("Q8_0")
    with Fake(model) as fake:
        then = described(HttpServer(model, url=fake.url))
        fake.build = "b1-fake"
        now = described(HttpServer(model, url=fake.url))
    assert only_the_engine(then, now) == ("llama-server b0-fake", "llama-server b1-fake")


@pytest.mark.official
def test_a_probe_of_another_commit_on_a_device_or_emulated(tiny_file, tmp_path):
    """The program is the same on every processor, but for its compiler; what it says of itself stands in the report."""
    from edgeproof_tests.official.probe import build_probe

    model, program, other = tiny_file("Q8_0"), build_probe(), tmp_path / "other"
    lie = 's/"engine":"llama.cpp [^" ]*/"engine":"llama.cpp 0000000/'
    other.write_text(f"#!/bin/sh\n{shlex.quote(str(program))} | sed -u '{lie}'\n")
    other.chmod(0o700)
    then, now = (
        described(Probe(model, Launch([str(command)], str(model), "", "this machine", {}), threads=1))
        for command in (program, other)
    )
    before, after = only_the_engine(then, now)
    assert after.startswith("llama.cpp 0000000")
    assert before.startswith("llama.cpp ")
