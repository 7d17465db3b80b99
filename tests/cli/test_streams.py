"""Exit 1 is a verdict and nothing else, and 0 a success: neither comes of a message that nobody could read."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

ERRORS = {
    "missing file": ("gate", "nowhere.gguf", "--probes", "nowhere", "--baseline", "nowhere.json"),
    "missing option": ("gate", "nowhere.gguf"),
    "unknown option": ("gate", "--no-such-option"),
    "unknown verb": ("gates",),
    "nothing to inspect": ("inspect", "nowhere"),
}


def started(arguments, redirection, **options):
    """The command's exit code, its stderr as the shell's `redirection` has it."""
    command = [sys.executable, "-P", "-m", "edgeproof.cli", *map(str, arguments)]
    script = f'exec "$@" {redirection}'
    done = subprocess.run(["sh", "-c", script, "sh", *command], capture_output=True, check=False, **options)
    return done.returncode


def into_a_closed_pipe(arguments):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-P", "-m", "edgeproof.cli", *map(str, arguments)]
    try:
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=write, check=False).returncode
    finally:
        os.close(write)


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
@pytest.mark.parametrize("name", ERRORS)
def test_an_error_that_cannot_be_told_is_exit_code_3(name, redirection):
    assert started(ERRORS[name], redirection) == 3


@pytest.mark.parametrize("name", ["missing file", "unknown option"])
def test_a_closed_pipe_is_exit_code_3(name):
    assert into_a_closed_pipe(ERRORS[name]) == 3


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("gate", "--help")])
def test_output_that_cannot_be_written_is_no_success(arguments):
    assert started(arguments, ">/dev/full") == 3
    assert started(arguments, "") == 0


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path):
    """Descriptor 2 would be the first file opened: native code's messages would be written into it."""
    code = (
        "import os, sys\n"
        "from edgeproof.cli.streams import hold_closed\n"
        "hold_closed()\n"
        f"file = open({str(tmp_path / 'artifact')!r}, 'w')\n"
        "sys.exit(0 if file.fileno() > 2 else 9)\n"
    )
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-P", "-c", code]
    assert subprocess.run(command, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
def test_a_fail_that_cannot_be_told_is_exit_code_3_and_its_reports_are_whole(world, tmp_path, redirection):
    from edgeproof_tests.cli.test_end_to_end import export, words

    assert export(world, tmp_path / "dist", "--format", "gguf-q8_0", "--quiet", adapters=False) == 0
    (artifact,) = (tmp_path / "dist").glob("*.gguf")
    report = tmp_path / "report"
    where = words("gate", artifact, "--probes", world.pack, "--baseline", world.baseline, "--report", report)
    assert started([*where, "--threads", "1", "--quiet"], redirection) == 3
    if report.exists():
        names = sorted(path.name for path in report.iterdir())
        assert names in ([], ["junit.xml", "report.html", "report.json", "summary.md"])
        assert not names or json.loads((report / "report.json").read_text())["verdict"] == "FAIL"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems limit no address space")
def test_too_few_addresses_are_exit_code_3_before_a_library_ends_the_process():
    """numpy's OpenBLAS calls exit(1) where it gets no memory."""
    command = [sys.executable, "-P", "-m", "edgeproof.cli", "inspect", "nowhere"]
    script = 'ulimit -v 204800; exec "$@"'
    done = subprocess.run(["sh", "-c", script, "sh", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "200 MiB of address space, and needs 300" in done.stderr
    assert "ulimit -v unlimited" in done.stderr
