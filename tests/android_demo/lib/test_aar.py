"""The library packed for other apps: whole, the same bytes each time, and enough for an app to compile against."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROGRAMS = {"v8.0": "libprobe_v8_0.so", "dotprod": "libprobe_dotprod.so", "i8mm": "libprobe_i8mm.so"}


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    for name in PROGRAMS:
        (folder / f"probe-{name}").write_bytes(f"the program {name}".encode())
    (folder / "licences.txt").write_text("of all that is linked into them")
    return folder


@pytest.fixture(scope="module")
def aar(library, programs, tmp_path_factory):  # noqa: ARG001 (skips without a JDK)
    return build(programs, tmp_path_factory.mktemp("aar"))


def build(programs, out):
    command = [sys.executable, "-P", ROOT / "android_demo" / "aar.py", "--programs", programs, out]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PYTHONPATH": ROOT / "android_demo"}
    )
    assert run.returncode == 0, run.stderr
    return out / "edgeproof-lib.aar"


def test_it_holds_classes_manifest_and_programs(aar, programs):
    with zipfile.ZipFile(aar) as opened:
        names = set(opened.namelist())
        manifest = opened.read("AndroidManifest.xml").decode()
        for name, so in PROGRAMS.items():
            assert opened.read(f"jni/arm64-v8a/{so}") == (programs / f"probe-{name}").read_bytes()
    assert names == {
        "AndroidManifest.xml",
        "R.txt",
        "classes.jar",
        "assets/edgeproof-licences.txt",
        *(f"jni/arm64-v8a/{so}" for so in PROGRAMS.values()),
    }
    assert 'package="org.edgeproof.lib"' in manifest
    assert 'android:extractNativeLibs="true"' in manifest
    assert "permission" not in manifest


def test_the_same_sources_give_the_same_bytes(aar, programs, tmp_path):
    assert build(programs, tmp_path).read_bytes() == aar.read_bytes()


def test_a_missing_program_ends_the_build(library, programs, tmp_path):  # noqa: ARG001 (skips without a JDK)
    command = [sys.executable, "-P", ROOT / "android_demo" / "aar.py", "--programs", tmp_path, tmp_path / "out"]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PYTHONPATH": ROOT / "android_demo"}
    )
    assert run.returncode == 3
    assert "has no probe-v8.0: run `make phone`" in run.stderr
    assert not (tmp_path / "out").exists()


@pytest.fixture
def jar(aar, tmp_path):
    with zipfile.ZipFile(aar) as opened:
        return Path(opened.extract("classes.jar", tmp_path))


def test_an_app_with_an_engine_of_its_own_compiles_against_it(jar, tmp_path):
    sources = sorted((Path(__file__).parent / "foreign").rglob("*.java"))
    command = ["javac", "--release", "7", "-Xlint:all,-options", "-Werror", "-cp", jar, "-d", tmp_path, *sources]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "com/example/OwnEngine.class").is_file()


def test_classes_outside_one_package_need_no_android(jar):
    """They therefore run on a host, as the other tests run them."""
    with zipfile.ZipFile(jar) as opened:
        for name in opened.namelist():
            code = opened.read(name)
            assert int.from_bytes(code[6:8], "big") == 51, "class files of Java 7, as dx reads them"
            if "/android/" not in name:
                assert not re.search(rb"\bandroid/(?!demo)|\bandroidx/|\bkotlin/", code.replace(b"lib/android", b"")), (
                    name
                )


def test_nothing_logs(jar):
    """A log is read by others: what the library has to say, it tells its listener."""
    with zipfile.ZipFile(jar) as opened:
        for name in opened.namelist():
            code = opened.read(name)
            assert not re.search(
                rb"android/util/Log|java/util/logging|printStackTrace|java/lang/System\x01\x00.out", code
            )
            assert b"PrintStream" not in code, name
