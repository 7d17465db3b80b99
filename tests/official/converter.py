"""Runs llama.cpp's converter as a process of its own.

It needs torch, transformers, sentencepiece and PyYAML, and takes gguf from its own tree.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .build import Official

DRIVER = Path(__file__).with_name("convert_with_tokens.py")


class Job(NamedTuple):
    """Convert the Hugging Face folder to the file `target`; `outtype` is "f32", "f16", "bf16" or "q8_0"."""

    folder: Path
    target: Path
    outtype: str = "f32"
    name: str | None = None

    @property
    def options(self) -> list[str]:
        """The converter's command line."""
        options = [str(self.folder), "--outfile", str(self.target), "--outtype", self.outtype]
        return options if self.name is None else [*options, "--model-name", self.name]


def convert(official: Official, job: Job) -> Path:
    """Write a GGUF with llama.cpp's own converter."""
    _run(official, [str(official.converter), *job.options], [job])
    return job.target


def convert_with_tokens(official: Official, jobs: Sequence[Job], tokens: Sequence[str], scratch: Path) -> None:
    """Write GGUFs with the byte-level BPE vocabulary `tokens` in place of each folder's tokenizer.

    The converter refuses tokenizers that it does not know by hash; all else is its own. One process for all jobs, since
    it takes seconds to start.
    """
    orders = scratch / "jobs.json"
    orders.write_text(json.dumps({"tokens": list(tokens), "jobs": [job.options for job in jobs]}))
    _run(official, [str(DRIVER), str(official.source.tree), str(orders)], jobs)


def _run(official: Official, arguments: list[str], jobs: Sequence[Job]) -> None:
    run = subprocess.run(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        check=False,
        cwd=official.source.tree,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    if run.returncode != 0 or not all(job.target.is_file() for job in jobs):
        raise RuntimeError(f"the converter ended with {run.returncode}:\n{run.stdout[-6000:]}")
