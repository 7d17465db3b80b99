"""The phone's programs make no system call for which Android would kill an app's process."""

from __future__ import annotations

import json
import re
import struct
import subprocess
from pathlib import Path

import pytest
from edgeproof_tests.runtime import tiny_gguf

pytestmark = pytest.mark.phone

PROGRAMS = [("v8.0", "cortex-a53"), ("dotprod", "cortex-a76"), ("i8mm", "max")]
SVC = 0xD4000001
RETURN = 0xD65F03C0
FAR = 40
"""Instructions between a number and its call, at most; musl's calls have at most 8."""

NEVER_MADE = {99}
"""set_robust_list, which musl makes for mutexes of the kind PTHREAD_MUTEX_ROBUST; no code here has one."""

ASKED = [
    {"id": 0, "score": {"context": [1, 2], "continuation": [3, 4]}},
    {"id": 1, "generate": {"context": [1], "max_tokens": 2, "stop": [], "temperature": 1.0, "uniforms": [0.1, 0.9]}},
    {"flush": True},
    {"usage": True},
    {"finish": True},
]


def let() -> dict[int, str]:
    """The calls that both Android 8.0 and Android 15 let an app make."""
    lines = Path(__file__).with_name("system-calls.txt").read_text().splitlines()
    rows = [line.split() for line in lines if not line.startswith("#")]
    return {int(number): name for number, name, *releases in rows if releases == ["8", "15"]}


def traced(program: Path, processor: str, lines: list[dict], *, answers: int | None = None) -> tuple[str, set[str]]:
    """What the program says to these lines, and its calls' names; killed after so many answers, or at its end."""
    command = ["qemu-aarch64-static", "-cpu", processor, "-strace", "-D", "/dev/stderr", str(program)]
    log = program.parent / "trace"
    with log.open("w") as trace, subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=trace, text=True
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("".join(json.dumps(line) + "\n" for line in lines))
        process.stdin.flush()
        if answers is not None:
            said = "".join(process.stdout.readline() for _ in range(answers))
            process.kill()
        else:
            process.stdin.close()
            said = process.stdout.read()
    # Lines of several threads may lie in one another.
    return said, set(re.findall(r"\d+ ([a-z]\w+)\(", log.read_text()))


@pytest.fixture(params=PROGRAMS, ids=lambda program: program[0])
def program(request, phone, tmp_path) -> tuple[Path, str]:
    variant, processor = request.param
    copy = tmp_path / f"probe-{variant}"
    copy.symlink_to(phone / copy.name)
    return copy, processor


def test_a_run_that_is_killed_and_resumed_makes_calls_that_android_lets(program, tmp_path):
    model = tiny_gguf.write(tmp_path / "tiny.gguf")
    opened = {"open": {"model": str(model), "threads": 2, "journal": str(tmp_path / "journal")}}
    said, calls = traced(*program, [{"processor": True}])
    assert program[0].name.removeprefix("probe-") in json.loads(said)["processor"]["variants"]
    said, killed = traced(*program, [opened, *ASKED[:1]], answers=2)
    assert json.loads(said.splitlines()[1])["id"] == 0
    said, resumed = traced(*program, [opened, *ASKED])
    assert json.loads(said.splitlines()[0])["info"]["resumed"] == 1
    assert json.loads(said.splitlines()[-1]) == {"finished": True}
    calls |= killed | resumed
    assert "set_robust_list" not in calls
    assert calls >= {"openat", "read", "mmap", "futex", "clone", "flock", "unlinkat", "exit_group"}
    assert not calls - set(let().values())


def test_errors_make_calls_that_android_lets(program, tmp_path):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(tiny_gguf.write(tmp_path / "tiny.gguf").read_bytes()[:3000])
    for model in (cut, tmp_path / "none.gguf"):
        said, calls = traced(*program, [{"open": {"model": str(model), "threads": 1}}])
        assert "error" in json.loads(said.splitlines()[-1])
        assert not calls - set(let().values())


def test_no_call_of_the_code_is_one_that_android_forbids(program):
    """The numbers that stand in the code before each call, run or not. Two calls take theirs from their caller."""
    found, unknown = numbers(program[0].read_bytes())
    assert {56, 63, 222, 98} <= found  # openat, read, mmap, futex
    assert found - set(let()) <= NEVER_MADE
    assert unknown <= 2  # musl's syscall() and __syscall_cp_asm


def test_a_forbidden_call_is_seen():
    """The trace of a program that asks for one, and its code."""
    assert 1 not in let()  # io_destroy: from Android 9 on
    code = struct.pack("<4I", 0xD2800000 | 1 << 5 | 8, SVC, 0xD2800000 | 56 << 5 | 8, SVC)
    assert numbers(elf(code)) == ({1, 56}, 0)


def numbers(program: bytes) -> tuple[set[int], int]:
    """System calls in an ELF file's code: the numbers that `mov x8` loads before each, and how many have none."""
    offset, count = struct.unpack_from("<Q", program, 32)[0], struct.unpack_from("<H", program, 56)[0]
    found, unknown = set(), 0
    for index in range(count):
        kind, flags, start, _, _, size = struct.unpack_from("<IIQQQQ", program, offset + 56 * index)
        if kind != 1 or not flags & 1:
            continue
        code = struct.unpack_from(f"<{size // 4}I", program, start)
        for place in (place for place, word in enumerate(code) if word == SVC):
            number = loaded(code[max(0, place - FAR) : place])
            found |= set() if number is None else {number}
            unknown += number is None
    return found, unknown


def loaded(code: tuple[int, ...]) -> int | None:
    """The number that the last `mov w8` or `mov x8` of a function's beginning loads."""
    for word in reversed(code):
        if word == RETURN:
            return None
        if word & 0x7FE0001F == 0x52800008:
            return word >> 5 & 0xFFFF
    return None


def elf(code: bytes) -> bytes:
    """An ELF file with one segment of code."""
    header = bytearray(64)
    struct.pack_into("<Q", header, 32, 64)
    struct.pack_into("<H", header, 56, 1)
    return bytes(header) + struct.pack("<IIQQQQQQ", 1, 5, 120, 0, 0, len(code), len(code), 4) + code
