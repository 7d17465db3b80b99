"""Fixtures: the Java library, compiled for this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from edgeproof_tests.android_demo.java import Library, compiled_library
from edgeproof_tests.android_demo.tiny_job import TinyJob, tiny_job

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """The library, compiled with every warning an error."""
    return compiled_library(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="session")
def program() -> Path:
    """The probe program, built for this machine."""
    from edgeproof_tests.official.probe import build_probe

    return build_probe()


@pytest.fixture(scope="session")
def clean(program: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyJob:
    """A job in which nothing leaks."""
    return tiny_job(tmp_path_factory.mktemp("clean"), program)


@pytest.fixture(scope="session")
def packages() -> dict[str, Path]:
    """What `make apk` wrote, here or where EDGEPROOF_APK says."""
    folder = Path(os.environ.get("EDGEPROOF_APK") or ROOT / ".cache" / "apk")
    found = {variant: folder / f"edgeproof-{variant}.apk" for variant in ("debug", "release")}
    if not all(path.is_file() for path in found.values()):
        why = f"{folder} has no edgeproof-debug.apk and edgeproof-release.apk: run `make apk`"
        (pytest.fail if os.environ.get("EDGEPROOF_APK") else pytest.skip)(why)
    return found
