"""Odd surroundings: little memory, one core, no terminal, other locales, paths with any bytes, folders that cannot be
written, clocks that are wrong. Commands run in processes of their own, and succeed or say why not."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from forked import Ending
from ground import FILES, GGUF, Ground, gate
from mutations import secrets_of
from outcome import MEBIBYTE, REFUSED, RIGHT, Outcome, Usual, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS = 300
NOBODY = 65534
OTHER_USER = ("setpriv", "--clear-groups", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
"""Runs a command as another user, who may read everything, Python and these sources too, and write what is theirs."""
CGROUPS = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
"""Where memory is limited: version 1, version 2."""
USUAL = Usual(60, 4096 * MEBIBYTE)


class Surrounding(NamedTuple):
    """Variables to set (None: to unset), what the process does before it begins, and the name of its folder.

    `must` where the command has to succeed, `user` who runs it, `cgroup` the bytes of memory for it and its children,
    `missing` why it cannot be tried here.
    """

    variables: dict[str, str | None] = {}  # noqa: RUF012 (never changed)
    before: Callable[[], object] | None = None
    name: bytes = b"plain"
    must: bool = True
    closed: tuple[int, ...] = ()
    mtime: float | None = None
    user: int | None = None
    cgroup: int | None = None
    missing: str = ""


def _limit(kind: int, value: int) -> Callable[[], None]:
    return partial(resource.setrlimit, kind, (value, value))


def _clock(date: str) -> Surrounding:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    missing = "" if found else "there is no libfaketime"
    preload = ":".join(filter(None, (*map(str, found[:1]), os.environ.get("LD_PRELOAD"))))
    return Surrounding({"LD_PRELOAD": preload or None, "FAKETIME": f"@{date} 00:00:00"}, missing=missing)


def _memory(size: int) -> Surrounding:
    made = [root for root in CGROUPS if (root / "cgroup.procs").exists() and os.access(root, os.W_OK)]
    return Surrounding(cgroup=size * MEBIBYTE, must=False, missing="" if made else "no memory cgroup can be made")


ROOT_ALONE = "" if os.geteuid() == 0 and shutil.which("setpriv") else "only root can run it as another user, by setpriv"
UNICODE_OFF = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
SURROUNDINGS = {
    **{
        f"{size} MiB of memory": Surrounding(before=_limit(resource.RLIMIT_AS, size * MEBIBYTE), must=False)
        for size in (200, 400, 800, 1600, 3200)
    },
    **{
        f"{count} open files": Surrounding(before=_limit(resource.RLIMIT_NOFILE, count), must=False)
        for count in (8, 16, 32, 64)
    },
    "files of 100 kB": Surrounding(before=_limit(resource.RLIMIT_FSIZE, 100_000), must=False),
    "one core": Surrounding(before=partial(os.sched_setaffinity, 0, {0})),
    "20 columns": Surrounding({"COLUMNS": "20", "TERM": "dumb"}),
    "no stdin": Surrounding(closed=(0,)),
    "no stdout": Surrounding(closed=(1,)),
    "locale C in ASCII": Surrounding(UNICODE_OFF | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}),
    "locale in Latin-1": Surrounding(UNICODE_OFF | {"LC_ALL": "de_DE.ISO-8859-1", "PYTHONIOENCODING": "latin-1"}),
    "no home": Surrounding({"HOME": "/nowhere", "XDG_CACHE_HOME": None}),
    "no variables": Surrounding(dict.fromkeys(set(os.environ) - {"PYTHONPATH", "PATH"})),
    "no temporary folder": Surrounding({"TMPDIR": "/nowhere"}),
    "another user": Surrounding(user=NOBODY, missing=ROOT_ALONE),
    "a home that cannot be written": Surrounding(
        {"HOME": "/", "XDG_CACHE_HOME": None}, user=NOBODY, missing=ROOT_ALONE
    ),
    "what another user left": Surrounding(user=NOBODY, missing=ROOT_ALONE, name=b"shared"),
    "a clock of 1990": _clock("1990-01-01"),
    "a clock of 2090": _clock("2090-01-01"),
    **{f"{size} MiB in a cgroup": _memory(size) for size in (100, 200, 400, 800)},
    "files of 1970": Surrounding(mtime=0.0),
    "files of 2100": Surrounding(mtime=4.1e9),
    **{
        f"a path with {what}": Surrounding(name=name)
        for what, name in {
            "bytes that are no UTF-8": b"caf\xe9", "a line break": b"new\nline", "quotes": b"it's \"it\"",
            "spaces": b"  two  ", "shell signs": b"$(touch executed);&|", "a dash": b"-dash",
            "umlauts": "ü→漢".encode(),
            "markup": b"[red]x[bold]{}%s", "an escape": b"\x1b[31m", "200 letters": b"x" * 200, "a colon": b"a:b,c",
        }.items()
    },
}  # fmt: skip

Case = tuple[str, int, "Callable[[Path], tuple[Outcome, str]]"]


def cases(ground: Ground, _work: Path, wanted: Callable[[str, int], bool]) -> Iterator[Case]:
    """Export and gate in each surrounding."""
    for name, surrounding in SURROUNDINGS.items():
        if surrounding.missing and wanted(name, 0):
            print(f"surroundings: {name}: skipped, since {surrounding.missing}")
        for number, what in enumerate(("export", "gate")):
            if not surrounding.missing and wanted(name, number):
                yield name, number, partial(_run, ground, surrounding, what)


def _run(ground: Ground, surrounding: Surrounding, what: str, folder: Path) -> tuple[Outcome, str]:
    place = Path(os.fsdecode(os.fsencode(folder) + b"/" + surrounding.name))
    place.mkdir()
    for name in ("tiny-qwen3", "adapter", "pack", "released"):
        shutil.copytree(ground.folder / name, place / name)
    for name in ("baseline.json", "policy.toml"):
        shutil.copyfile(ground.folder / name, place / name)
    if surrounding.mtime is not None:
        for path in place.rglob("*"):
            os.utime(path, (surrounding.mtime, surrounding.mtime))
    there = Ground(place)
    if surrounding.user is not None:
        _hand_over(place, surrounding)
    if what == "export":
        words = [
            "--base",
            there.base,
            "--adapter",
            there.adapter,
            "--format",
            GGUF,
            "--out",
            place / "out",
            "--name",
            "it",
        ]
        words += ["--threads", "1"]
    else:
        words = [*gate(there, there.released / FILES[GGUF])[:-1], "--report", place / "out"]
    variables = {**os.environ, **{key: value for key, value in surrounding.variables.items() if value is not None}}
    for key in (key for key, value in surrounding.variables.items() if value is None):
        variables.pop(key, None)
    ending = _process([str(word) for word in words], folder, variables, surrounding)
    return _judged(ground, surrounding, ending, there, what), what


LEFT = ".edgeproof-12345678"


def _hand_over(place: Path, surrounding: Surrounding) -> None:
    """Give a case's folder to the other user; in the shared one, what root has left there stays root's."""
    assert surrounding.user is not None
    for path in (place, *place.rglob("*")):
        os.chown(path, surrounding.user, surrounding.user)
    if surrounding.name == b"shared":
        (place / "out" / LEFT / "new").mkdir(parents=True)
        (place / "out" / LEFT / "new" / "large").write_bytes(b"theirs")
        (place / "out" / f".edgeproof-{FILES[GGUF]}.lock").touch(mode=0o666)
        (place / "out").chmod(0o1777)


def _process(words: list[str], folder: Path, variables: dict[str, str], surrounding: Surrounding) -> Ending:
    def before() -> None:
        if surrounding.cgroup is not None:
            (_cgroup(surrounding.cgroup) / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
        if surrounding.before:
            surrounding.before()
        for descriptor in surrounding.closed:
            os.close(descriptor)

    become = [] if surrounding.user is None else [*OTHER_USER, f"--reuid={surrounding.user}"]
    command = [os.fsencode(word) for word in (*become, sys.executable, "-P", "-m", "edgeproof.cli", *words)]
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        done = subprocess.run(
            command, cwd=folder, env=variables, capture_output=True, check=False, timeout=SECONDS, preexec_fn=before
        )  # fmt: skip
        code, said, hung = done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace"), False
    except subprocess.TimeoutExpired:
        code, said, hung = -9, "", True
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    return Ending(code, said, seconds, 0, hung, ())


def _cgroup(size: int) -> Path:
    """A group of processes with so much memory, and no swap; made when it is missing."""
    root = next(root for root in CGROUPS if (root / "cgroup.procs").exists())
    group = root / f"edgeproof-{size // MEBIBYTE}"
    group.mkdir(exist_ok=True)
    (group / ("memory.limit_in_bytes" if root == CGROUPS[0] else "memory.max")).write_text(str(size), encoding="ascii")
    return group


def _judged(ground: Ground, surrounding: Surrounding, ending: Ending, there: Ground, what: str) -> Outcome:
    tail = " | ".join(ending.said.strip().splitlines()[-4:])[-300:]
    if list(there.folder.parent.rglob("executed")):
        return Outcome("wrote or ran something outside", "a path was executed")
    if ending.code == 1 and "MemoryError" in ending.said and "edgeproof" not in ending.said.split("MemoryError")[0]:
        return Outcome(REFUSED, "Python itself does not start")
    if surrounding.cgroup is not None and ending.code == -signal.SIGKILL:  # the kernel's choice, not ours
        named = [path.name for path in (there.folder / "out").glob("[!.]*")]
        return Outcome("half written", f"{named}") if named else Outcome(REFUSED, "the kernel ends the command")
    if surrounding.name == b"shared" and not (there.folder / "out" / LEFT / "new" / "large").exists():
        return Outcome("input changed", "what another user left was removed")
    found = refusal(ending._replace(said=ending.said.replace("out of memory", "no memory")), USUAL, secrets_of(ground))
    if found is None and ending.code == 0:
        written = (there.folder / "out").rglob("*")
        wanted = {FILES[GGUF]} if what == "export" else {"report.json", "junit.xml", "report.html", "summary.md"}
        missing = wanted - {path.name for path in written}
        return Outcome("half written", f"{missing} is missing") if missing else Outcome(RIGHT)
    if found is None:
        return Outcome("wrong exit code", f"{ending.code}: {tail}")
    if found.name == REFUSED and surrounding.must:
        return Outcome("wrong exit code", f"it should succeed: {tail}")
    return found
