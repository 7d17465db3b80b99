"""An interruption that Python swallows, in a finalizer for one, still ends the command as interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

SWALLOWING = """
import gc, os, sys
from edgeproof import cli

class Finalized:
    def __del__(self):
        os.kill(os.getpid(), {number})
        for _ in range(10**6):
            pass

def run(arguments):
    Finalized()
    print("went on", flush=True)
    return 0

cli.run = run
cli.main([])
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_swallowed_interruption_is_no_success(sent):
    script = SWALLOWING.format(number=int(sent))
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "went on\n"
    assert done.returncode == 130
    assert done.stderr.rstrip() == "Interrupted; what has its final name is whole."


def test_an_ignored_signal_stays_ignored():
    script = SWALLOWING.format(number=int(signal.SIGINT))
    ignoring = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{script}"
    done = subprocess.run([sys.executable, "-P", "-c", ignoring], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "went on\n", "")
