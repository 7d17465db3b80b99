"""Runs of the Java library on this machine, and the evidence that they write."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from edgeproof_tests.android_demo.tiny_job import KEY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeproof_tests.android_demo.java import Library
    from edgeproof_tests.android_demo.tiny_job import TinyJob


class Run(NamedTuple):
    """How a run ended, and the lines that it wrote."""

    status: int
    lines: list[dict[str, Any]]
    said: str

    @property
    def last(self) -> dict[str, Any]:
        """The outcome, or why it failed."""
        (value,) = self.lines[-1].values()
        return value


def host(
    library: Library,
    root: Path,
    job: TinyJob,
    program: Path | str,
    *options: object,
    before: Sequence[str] = (),
    variant: str = "host",
    **process: Any,
) -> Run:
    """Run a job that is installed in `root`; `before` stands in front of the program, `process` are Popen's options."""
    command = library.command("Host", *options, root, job.content["id"], f"{variant}={program}")
    done = subprocess.run(
        [*command, *(("--", *before) if before else ())],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        **process,
    )
    return Run(done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stdout + done.stderr)


def unsealed(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
    """Header, answers and end of the evidence."""
    first, *parts, last = (folder / "evidence.jsonl").read_bytes().splitlines()
    about = f"edgeproof evidence 1\n{folder.name}\n{{}}\n{hashlib.sha256(first).hexdigest()}"
    plain = b""
    for number, line in enumerate(parts):
        sealed = base64.b64decode(json.loads(line)["sealed"])
        plain += AESGCM(KEY).decrypt(sealed[:12], sealed[12:], about.format(number).encode())
    *answers, summary = map(json.loads, plain.splitlines())
    end = json.loads(last)
    assert summary == {name: end[name] for name in ("answers", "verdict", "counts")}
    assert end["parts"] == len(parts)
    assert end["answers"] == len(answers)
    return json.loads(first), answers, end
