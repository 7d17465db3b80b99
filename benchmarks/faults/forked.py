"""Runs one case in a fork of this process, with limits, and tells how it ended.

A fork starts in milliseconds with everything imported, so that a minute holds hundreds of whole commands. The modules
that edgeproof starts as child processes are forks too: crashes in native code stay theirs. An audit hook notes what is
written, removed or executed outside the case's folder by Python code; native code is not watched.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import runpy
import select
import signal
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

OURS = {"edgeproof.runtime.process.child", "edgeproof.export.tokenizer.engine", "edgeproof.export.foreign_tool"}
AUDIT = 900
"""The descriptor of the list of strays."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
CHANGING = {"os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.truncate", "os.chmod", "os.rename"}
STARTING = {"subprocess.Popen", "os.exec", "os.system", "os.posix_spawn", "pickle.find_class"}
PR_SET_PDEATHSIG = 1
INTERRUPTING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
PAGE = os.sysconf("SC_PAGE_SIZE")
MEBIBYTE = 2**20


class Limits(NamedTuple):
    """Seconds of processor time and of the clock, and bytes of address space beyond those at the start."""

    processor: float = 60
    clock: float = 300
    memory: int = 4 * 2**30


class Ending(NamedTuple):
    """How a case ended.

    `code` is its exit code, -n for signal n; `grown` the most memory, in bytes, that one of its processes took beyond
    what it began with; `strayed` what it did outside its folder.
    """

    code: int
    said: str
    seconds: float
    grown: int
    hung: bool
    strayed: tuple[str, ...]


def in_a_fork(
    work: Callable[[], int],
    folder: Path,
    limits: Limits = Limits(),  # noqa: B008 (a constant)
    meanwhile: Callable[[int], None] | None = None,
) -> Ending:
    """Run `work` in a fork whose current, temporary and home folders are in `folder`; `meanwhile` gets its id."""
    for name in ("tmp", "home"):
        if not (folder / name).exists():
            (folder / name).mkdir()
    said, audit = (os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600) for name in ("said", "audit"))
    began = _resident()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # no thread of this process holds a lock that matters
        held = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTING)
        pid = os.fork()
    if pid == 0:
        try:
            _become(folder, said, audit, limits)
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
            code = work()
        except BaseException as error:  # noqa: BLE001 (the end of this process)
            if isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
                os._exit(128 + signal.SIGINT)  # the command has no handlers yet: it ends as a starting Python does
            sys.excepthook(*sys.exc_info())
            code = 99
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    signal.pthread_sigmask(signal.SIG_SETMASK, held)
    watched = os.pidfd_open(pid)
    try:
        if meanwhile is not None:
            meanwhile(pid)
        hung = not select.select([watched], [], [], limits.clock)[0]
        if hung:
            os.killpg(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        text, strayed = (os.pread(descriptor, 2**22, 0).decode("utf-8", "replace") for descriptor in (said, audit))
    finally:
        for descriptor in (watched, said, audit):
            os.close(descriptor)
    hung = hung or code == -signal.SIGXCPU
    seconds = usage.ru_utime + usage.ru_stime
    return Ending(code, text, seconds, max(usage.ru_maxrss * 1024 - began, 0), hung, tuple(strayed.splitlines()))


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE


def _become(folder: Path, said: int, audit: int, limits: Limits) -> None:
    """Make this fork the case: descriptors, folders, limits, and the hook that watches it."""
    os.setpgid(0, 0)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.dup2(audit, AUDIT)
    os.closerange(3, AUDIT)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, "w" if number else "r", closefd=False) for number in range(3)
    )
    os.chdir(folder)
    os.environ.pop("EDGEPROOF_ANSWERS", None)
    os.environ |= {"TMPDIR": str(folder / "tmp"), "HOME": str(folder / "home"), "XDG_CACHE_HOME": str(folder / "home")}
    tempfile.tempdir = None
    size = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * PAGE
    resource.setrlimit(resource.RLIMIT_AS, (size + limits.memory,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (int(limits.processor) + 1, int(limits.processor) + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, 2**30))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    subprocess.Popen = ForkedPopen  # type: ignore[misc]
    _watch(str(folder))


def _watch(folder: str) -> None:
    allowed = (folder, "/dev/null", "/dev/tty")

    def note(event: str, what: object) -> None:
        with contextlib.suppress(OSError):
            os.write(AUDIT, f"{event} {what}\n".encode("utf-8", "replace"))

    def outside(path: object) -> bool:
        if isinstance(path, int) or path is None:
            return False
        text = os.path.abspath(os.fsdecode(path))  # type: ignore[type-var]  # noqa: PTH100 (no links are followed)
        return not text.startswith(allowed)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & WRITING and outside(path):
                note(event, path)
        elif event in CHANGING:
            # A name that is relative to an open folder (dir_fd) is that of a tree which is being removed.
            if any(outside(path) for path in arguments if isinstance(path, str | bytes) and os.path.isabs(path)):  # noqa: PTH117
                note(event, arguments)
        elif event in STARTING:
            note(event, arguments)
        elif event == "exec" and str(getattr(arguments[0], "co_filename", "")).startswith(folder):
            note(event, arguments[0])

    sys.addaudithook(hook)


class ForkedPopen(subprocess.Popen):  # type: ignore[type-arg]
    """`Popen` that runs edgeproof's own child modules in a fork instead of a new interpreter."""

    def _execute_child(self, args: Any, *rest: Any) -> None:
        command = [os.fsdecode(word) for word in args]
        module = command[command.index("-m") + 1] if "-m" in command else ""
        if module not in OURS:
            super()._execute_child(args, *rest)  # type: ignore[misc]
            return
        cwd, env, pipes = rest[4], rest[5], rest[9:15]
        held = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTING)  # Python's own hooks at a fork would lose one
        self.pid = os.fork()
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        if self.pid == 0:
            with contextlib.suppress(BaseException):
                _become_child(command[command.index("-m") + 2 :], module, cwd, env, pipes)
            os._exit(98)
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]


def _become_child(arguments: list[str], module: str, cwd: Any, env: Any, pipes: tuple[int, ...]) -> None:
    os.setpgid(0, 0)
    reading, _, _, writing, _, telling = pipes
    for descriptor, target in ((reading, 0), (writing, 1), (telling, 2)):
        if descriptor not in {-1, target}:
            os.dup2(descriptor, target)
    os.closerange(3, AUDIT)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, "w" if number else "r", closefd=False) for number in range(3)
    )
    if cwd:
        os.chdir(cwd)
    if env:
        os.environ.clear()
        os.environ |= dict(env)
    sys.argv = [module, *arguments]
    code: object = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
        if isinstance(code, str):
            sys.stderr.write(code + "\n")
    except BaseException:  # noqa: BLE001 (the end of this process)
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1 if code else 0)
