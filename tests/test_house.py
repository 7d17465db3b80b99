"""The house rules that no linter holds: packages and folders agree, nothing of the checkout leaks into the tests."""

from __future__ import annotations

import ast
import graphlib
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STATIONS = ("contracts", "export", "runtime", "eval", "unlearn", "release", "demo", "cli", "examples")
FORBIDDEN = ("torch", "transformers", "peft", "safetensors", "accelerate")


def declared_packages() -> set[str]:
    return set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])


def test_package_list_and_folders_agree():
    folders = {
        "edgeproof." + ".".join(path.parent.relative_to(ROOT).parts)
        for station in STATIONS
        for path in (ROOT / station).rglob("__init__.py")
    }
    assert declared_packages() == {"edgeproof", *folders}


def test_the_package_links_to_every_station():
    links = {path.name: str(path.readlink()) for path in (ROOT / "src/edgeproof").iterdir() if path.is_symlink()}
    assert links == {station: f"../../{station}" for station in STATIONS}


def test_every_python_folder_is_a_package():
    for station in set(STATIONS) - {"examples"}:
        for path in (ROOT / station).rglob("*.py"):
            assert (path.parent / "__init__.py").is_file(), f"{path} would not be installed"


def test_every_station_says_that_it_is_typed():
    for folder in ("src/edgeproof", *STATIONS):
        assert (ROOT / folder / "py.typed").is_file()


def test_nothing_but_tests_of_the_command_line_imports_it():
    """Benchmarks, studies, examples and other tests use the Python API; the hunt for faults runs commands."""
    allowed = {"cli", "demo", "faults", "release", "test_documents.py", "test_house.py", "test_packaging.py"}
    files = [
        path for path in (ROOT / "tests").rglob("*.py") if path.relative_to(ROOT / "tests").parts[0] not in allowed
    ]
    files += [
        path for folder in ("benchmarks", "docs", "examples", "studies") for path in (ROOT / folder).rglob("*.py")
    ]
    files = [path for path in files if path.parent != ROOT / "benchmarks" / "faults"]
    importing = re.compile(r"^\s*(from|import) edgeproof\.cli\b", re.MULTILINE)
    assert not [str(path) for path in files if importing.search(path.read_text())]


def test_no_modules_import_each_other_in_a_circle():
    """Not even for types, or within functions."""
    files = {
        ".".join(("edgeproof", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
        for station in STATIONS
        for path in (ROOT / station).rglob("*.py")
    }
    imported = {
        name: {
            f"{node.module}.{one.name}" if f"{node.module}.{one.name}" in files else node.module
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom)
            for one in node.names
        }
        for name, path in files.items()
    }
    graphlib.TopologicalSorter(imported).prepare()


@pytest.mark.parametrize("name", STATIONS)
def test_no_plain_folder_name_resolves(name):
    assert importlib.util.find_spec(name) is None


def test_the_tests_run_against_the_installed_package():
    origin = importlib.util.find_spec("edgeproof.export").origin
    if os.environ.get("CI"):
        assert not Path(origin).resolve().is_relative_to(ROOT / "export")
    assert Path.cwd() != ROOT


@pytest.fixture(scope="module")
def slim_python():
    python = os.environ.get("EDGEPROOF_SLIM_PYTHON")
    if not python:
        pytest.skip("EDGEPROOF_SLIM_PYTHON names no environment without torch; `make test` makes one")
    return python


@pytest.mark.parametrize("module", FORBIDDEN)
def test_the_slim_environment_has_no_torch(slim_python, module):
    find = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is not None)"
    assert subprocess.run([slim_python, "-P", "-c", find], check=False).returncode == 0


@pytest.mark.parametrize(
    "verb",
    [
        [],
        *(
            [verb]
            for verb in ("export", "probe", "baseline", "gate", "verify", "waive", "compare", "history", "evaluate")
        ),
        *([verb] for verb in ("unlearn", "inspect", "quickstart")),
        ["pack", "new"],
    ],
)
def test_help_works_without_torch(slim_python, verb):
    run = subprocess.run(
        [slim_python, "-P", "-m", "edgeproof.cli", *verb, "--help"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "Usage: export-edge" in run.stdout


def test_help_answers_at_once_for_it_loads_little():
    """Counted, not timed: of what is not Python's own, only click; a fourteenth of a second on a quiet machine."""
    script = (
        "import atexit, sys\n"
        "loaded = lambda: print(*sorted(sys.modules), file=sys.stderr)\n"
        "atexit.register(loaded)\n"
        "from edgeproof.cli import main\n"
        "main(['--help'])\n"
    )
    run = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    assert "Usage: export-edge" in run.stdout
    modules = run.stderr.split()
    foreign = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names - {"__main__", "edgeproof"}
    assert "click" in foreign
    assert not foreign & {*FORBIDDEN, "numpy", "scipy", "llama_cpp", "onnx", "onnxruntime", "gguf", "jinja2", "rich"}
    assert len(modules) < 250
