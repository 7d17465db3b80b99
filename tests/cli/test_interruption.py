"""Interruptions that come when Python swallows them, or when a command already ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest
from edgeproof import cli
from edgeproof.release import pack_check
from edgeproof.unlearn import run
from edgeproof.unlearn.train.checkpoints import told_how_to_go_on

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


INTERRUPTED_WHILE_BEGINNING = """
import os, signal
from edgeproof import cli
from edgeproof.cli import streams

def interrupted(real, sent=[]):
    def call(*arguments):
        result = real(*arguments)
        if not sent and (arguments or real is hold_closed) and signal.getsignal({number}) not in usual:
            sent.append(True)
            os.kill(os.getpid(), {number})
            for _ in range(10**6):
                pass
        return result
    return call

def run(arguments):
    print("began", flush=True)
    return 0

usual = (signal.SIG_DFL, signal.default_int_handler)
hold_closed = streams.hold_closed
cli.run = run
{module}.{call} = interrupted({module}.{call})
cli.main([])
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(("module", "call"), [("signal", "signal"), ("streams", "hold_closed")])
def test_an_interruption_before_the_command_begins_ends_it(module, call, sent):
    script = INTERRUPTED_WHILE_BEGINNING.format(module=module, call=call, number=int(sent))
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "Interrupted; what has its final name is whole.\n"


INTERRUPTED_WHILE_ENDING = """
import os
from edgeproof import cli
from edgeproof.cli import streams
from edgeproof.contracts.errors import EdgeproofError

def end(**_):
    {end}

def interrupted(real):
    def call(*arguments):
        if not sent:
            sent.append(True)
            os.kill(os.getpid(), {number})
            for _ in range(10**6):
                pass
        return real(*arguments)
    return call

sent = []
cli.group.main = end
streams.{call} = interrupted(streams.{call})
cli.main([])
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    ("end", "call", "code", "said"),
    [
        ("raise KeyboardInterrupt", "tell", 130, "Interrupted; what has its final name is whole.\n"),
        ("raise EdgeproofError('x')", "tell", 130, "Interrupted; what has its final name is whole.\n"),
        ("raise KeyboardInterrupt", "flush", 130, "Interrupted; what has its final name is whole.\n"),
        ("return 1", "flush", 1, ""),
    ],
)
def test_an_interruption_of_the_last_words_breaks_nothing(end, call, code, said, sent):
    script = INTERRUPTED_WHILE_ENDING.format(end=end, call=call, number=int(sent))
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, said)


def test_an_error_that_an_interruption_led_to_is_no_internal_error(monkeypatch, capsys):
    """A lock of `threading` that a signal met while it waited is not held when it is released."""

    def end(*_: object, **__: object) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            threading.Lock().release()

    monkeypatch.setattr(cli.group, "main", end)
    assert cli.run(["gate"]) == cli.EXIT_INTERRUPTED
    assert capsys.readouterr().err == f"{cli.INTERRUPTED} (At its end: release unlocked lock.)\n"


def test_an_interrupted_pack_check_says_that_nothing_is_kept(monkeypatch, capsys):
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pack_check, "choose_policy", stop)
    assert cli.run(["pack", "check", "PACK", "--base", "BASE"]) == cli.EXIT_INTERRUPTED
    said = capsys.readouterr().err.strip()
    assert said == f"{cli.INTERRUPTED} Nothing of a pack check is kept: the same command begins anew."


def test_an_interrupted_training_says_whether_a_checkpoint_is_kept(tmp_path):
    out = tmp_path / "adapter"
    notes = []
    for folder in ("step-000050.part", "step-000050", "step-000100"):
        (tmp_path / ".adapter.checkpoint" / folder).mkdir(parents=True)
        with pytest.raises(KeyboardInterrupt) as stopped, told_how_to_go_on(out):
            raise KeyboardInterrupt
        notes += stopped.value.__notes__
    assert notes == [
        "Nothing of this run is kept, it had no checkpoint yet: the same command begins anew.",
        "Its checkpoint of step 50 is kept: the same command with --resume goes on from it.",
        "Its checkpoint of step 100 is kept: the same command with --resume goes on from it.",
    ]


def test_an_interrupted_training_tells_it_from_its_first_line_on(monkeypatch, tmp_path, capsys):
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "read_training_set", stop)
    given = ("--base", "B", "--forget", "F", "--retain", "R", "--out", str(tmp_path / "adapter"))
    assert cli.run(["unlearn", *given]) == cli.EXIT_INTERRUPTED
    assert "Nothing of this run is kept, it had no checkpoint yet" in capsys.readouterr().err
