"""`export-edge phone build` runs a checkout's own make, and says what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from edgeproof.cli import run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "android_demo").mkdir()
    for name in ("build.py", "apk.py"):
        (tmp_path / "android_demo" / name).touch()
    (tmp_path / "Makefile").write_text("phone apk:\n\t@echo $@ >> made\n")
    return tmp_path


def test_it_builds_the_programs_and_the_app(checkout, capfd):
    assert run(["phone", "build", str(checkout)]) == 0
    assert (checkout / "made").read_text() == "phone\napk\n"
    assert f"Built: {checkout}/.cache/apk" in capfd.readouterr().err


def test_a_failed_build_and_another_folder_are_told(checkout, tmp_path_factory, capfd):
    (checkout / "Makefile").write_text("phone apk:\n\t@echo no compiler >&2; exit 7\n")
    assert run(["phone", "build", str(checkout)]) == 3
    assert "`make phone apk` ended with 2" in capfd.readouterr().err
    assert run(["phone", "build", str(tmp_path_factory.mktemp("other"))]) == 3
    assert "is no checkout of edgeproof: it has no Makefile" in capfd.readouterr().err
