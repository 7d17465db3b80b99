"""Fixtures and hooks of all tests.

Tests import the shared modules of this folder as `edgeproof_tests.…` (`from edgeproof_tests.models import save_model`):
this folder is never on sys.path, where its `export` and `eval` could be taken for the checkout's.
"""

from __future__ import annotations

import functools
import signal
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

_package = ModuleType("edgeproof_tests", "The shared modules of the tests folder.")
_package.__path__ = [str(Path(__file__).resolve().parent)]
sys.modules["edgeproof_tests"] = _package

pytest_plugins = [
    "edgeproof_tests.browser",
    "edgeproof_tests.cpu_times",
    "edgeproof_tests.phone",
    "edgeproof_tests.smollm2",
    "edgeproof_tests.world",
]

# A shell's background job begins with SIGINT ignored, one under nohup with SIGHUP, and its children inherit that: no
# interruption could be seen there.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


# No test depends on a clock: a busy machine is slow, not wrong.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


UNITS = (
    "tests/unlearn/test_study.py",
    "tests/export/gguf/test_families.py",
    "tests/cli/",
    "tests/demo/",
    "tests/android_demo/lib/",
    "tests/export/onnx/",
    "tests/export/tokenizer/",
)
"""What one process runs whole where several share the tests, the longest first: a file, or a folder whose files share a
fixture that takes long. All other files are units of their own, in pytest's order."""


def unit(nodeid: str) -> str:
    """The unit of a test."""
    file = nodeid.partition("::")[0]
    return next((name for name in UNITS if file.endswith(name) or f"/{name}" in f"/{file}"), file)


@pytest.fixture(autouse=True, scope="session")
def own_answers(tmp_path_factory):
    """Keep answers of stopped runs out of the user's cache; child processes inherit it."""
    patch = pytest.MonkeyPatch()
    patch.setenv("EDGEPROOF_ANSWERS", str(tmp_path_factory.mktemp("answers")))
    yield
    patch.undo()


def pytest_collection_modifyitems(config, items):
    """Start with the longest units if several processes share them, so that all end together."""
    if config.getoption("numprocesses", None) or hasattr(config, "workerinput"):
        order = {name: index for index, name in enumerate(UNITS)}
        items.sort(key=lambda item: order.get(unit(item.nodeid), len(UNITS)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Hand out units with `--dist loadfile`."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class LoadUnits(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return unit(nodeid)

    return LoadUnits(config, log)


@pytest.fixture(scope="session")
def official():
    """llama.cpp's own tools and converter, built once (`edgeproof_tests.official.tools.Official`)."""
    from edgeproof_tests.official.build import build

    return build()


@pytest.fixture(scope="session")
def llama_server():
    """Run llama.cpp's own server on a model: `with llama_server(path, "-c", 1024) as url`."""
    from edgeproof_tests.official.server import build_server, running

    return functools.partial(running, build_server())
