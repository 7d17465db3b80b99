"""Builds of the checkout: wheel and sdist hold each file once and no links, and an editable install leads to it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STATIONS = tuple(sorted(path.name for path in (ROOT / "src/edgeproof").iterdir() if path.is_symlink()))
PACKAGED = ("src", *STATIONS)
FILES = ("pyproject.toml", "README.md", "LICENSE", "NOTICE", "MANIFEST.in", "constraints.txt")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what is built, links as links."""
    copy = tmp_path_factory.mktemp("packaging") / "checkout"
    copy.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in PACKAGED:
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, copy)
    (copy / "tests").mkdir()
    shutil.copy(__file__, copy / "tests")
    return copy


def build(folder: Path, what: str, out: Path, *, code: int = 0) -> str:
    """Call a hook of the build backend in `folder`; return what it printed, or the file's name where it succeeds."""
    script = f"import setuptools.build_meta as backend; print('made', backend.build_{what}({str(out)!r}))"
    out.mkdir(exist_ok=True)
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False, env=_clean()
    )
    assert run.returncode == code, run.stdout + run.stderr
    return run.stdout.rpartition("made ")[2].strip() if code == 0 else run.stdout + run.stderr


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    out = tmp_path_factory.mktemp("packaging") / "wheel"
    return out / build(checkout, "wheel", out)


def test_the_wheel_holds_every_file_once_and_no_link(wheel):
    with zipfile.ZipFile(wheel) as archive:
        entries = [entry for entry in archive.infolist() if ".dist-info/" not in entry.filename]
    assert max(Counter(entry.filename for entry in entries).values()) == 1
    assert not [entry.filename for entry in entries if (entry.external_attr >> 16) & 0o170000 == 0o120000]
    assert {entry.filename.partition("/")[0] for entry in entries} == {"edgeproof"}
    shipped = {entry.filename for entry in entries}
    modules = {path.relative_to(ROOT) for name in STATIONS for path in (ROOT / name).rglob("*.py")}
    installed = {f"edgeproof/{path.as_posix()}" for path in modules if (ROOT / path).with_name("__init__.py").is_file()}
    assert {name for name in shipped if name.endswith(".py")} == {"edgeproof/__init__.py", *installed}
    assert {name for name in shipped if not name.endswith(".py")} == _data()
    assert all((ROOT / "src" / name).is_file() for name in shipped)


def _data() -> set[str]:
    """All that stands in the stations beside modules, and what of the examples is read at run time."""
    capitals = ROOT / "examples/capitals"
    read = {capitals / "baseline.json", *(capitals / "pack").iterdir(), *(capitals / "adapter").iterdir()}
    beside = {
        path
        for name in STATIONS
        for path in (ROOT / name).rglob("*")
        if path.is_file() and path.suffix != ".py" and path.parent.name != "__pycache__"
    }
    found = {
        path for path in beside if path in read or path.name == "py.typed" or not path.is_relative_to(ROOT / "examples")
    }
    return {f"edgeproof/{path.relative_to(ROOT).as_posix()}" for path in found} | {"edgeproof/py.typed"}


def test_the_sdist_builds_the_same_wheel_without_links(checkout, wheel, tmp_path):
    with tarfile.open(tmp_path / "sdist" / build(checkout, "sdist", tmp_path / "sdist")) as archive:
        members = archive.getmembers()
        archive.extractall(tmp_path, filter="data")
    assert not [member.name for member in members if member.issym() or member.islnk()]
    (folder,) = {member.name.partition("/")[0] for member in members}
    assert {member.name.split("/")[1] for member in members if member.isfile()} == {
        *FILES, "PKG-INFO", "setup.cfg", "src"
    }, "tests of the checkout, or a file that its README names"  # fmt: skip
    again = tmp_path / "again" / build(tmp_path / folder, "wheel", tmp_path / "again")
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        names = [name for name in first.namelist() if not name.endswith("/RECORD")]
        assert sorted(second.namelist()) == sorted(first.namelist())
        assert all(first.read(name) == second.read(name) for name in names)


def test_a_checkout_without_links_is_not_built(checkout, tmp_path):
    """As git for Windows makes it where links are switched off: a file with the link's target in its place."""
    flat = shutil.copytree(checkout, tmp_path / "flat", symlinks=True, ignore=shutil.ignore_patterns("*.egg-info"))
    link = flat / "src/edgeproof/eval"
    link.unlink()
    link.write_text("../../eval")
    assert "src/edgeproof/eval" in build(flat, "wheel", tmp_path / "out", code=1)


def test_an_editable_install_leads_to_the_checkout_and_to_no_plain_names(checkout, tmp_path):
    """`pip install -e .` into an environment of its own: programs and tools find `edgeproof` alone."""
    python, ours = tmp_path / "venv/bin/python", sysconfig.get_path("purelib")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    install = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-build-isolation"]
    # Build backend and dependencies are those of this environment: nothing is downloaded.
    subprocess.run([*install, "-e", checkout], env=_clean() | {"PYTHONPATH": ours}, check=True)
    script = (
        "import importlib.util\n"
        "import edgeproof\n"
        "from edgeproof.contracts import errors\n"
        f"plain = [name for name in {PACKAGED!r} if importlib.util.find_spec(name)]\n"
        "print(edgeproof.__file__, errors.__file__, edgeproof.gate.__module__, plain)"
    )
    found = subprocess.run(
        [python, "-P", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True, env=_clean()
    )
    package = checkout / "src/edgeproof"
    assert found.stdout.split() == [
        str(package / "__init__.py"), str(package / "contracts/errors.py"), "edgeproof.release.gate", "[]",
    ]  # fmt: skip
    (added,) = (tmp_path / "venv").rglob("__editable__*.pth")
    assert added.read_text().strip() == str(checkout / "src"), "mypy and pyright read paths, no import hooks"
    assert python.with_name("export-edge").is_file()


def test_the_import_graph_has_arrows(checkout):
    """Tools that read imports see the stations through the links."""
    pytest.importorskip("grimp")
    script = (
        "import grimp\n"
        "graph = grimp.build_graph('edgeproof', cache_dir=None)\n"
        "print(graph.direct_import_exists(importer='edgeproof.cli', imported='edgeproof.release', as_packages=True),\n"
        "      graph.direct_import_exists(importer='edgeproof.release', imported='edgeproof.eval', as_packages=True),\n"
        "      graph.direct_import_exists(importer='edgeproof.eval', imported='edgeproof.export', as_packages=True))"
    )
    run = subprocess.run(
        [sys.executable, "-P", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=_clean() | {"PYTHONPATH": str(checkout / "src")},
    )
    assert run.stdout.split() == ["True", "True", "False"]
