"""Answers of a command kept while it runs, one private file for each model asked, so that a stopped run goes on.

A file is bound by its name and its first line to everything that the answers depend on: the digests of artifact, pack,
tokenizer and prompts, engine, processor and settings, the sampling, and edgeproof's version. What is in it is
authenticated by the pack's content (`Pack.secret`): whoever lacks the pack can remove answers, and can add none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from edgeproof.contracts.backend import KeepingBackend
from edgeproof.contracts.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgeproof.contracts.backend import Backend
    from edgeproof.contracts.progress import Progress
    from edgeproof.eval.measurement import Sampling
    from edgeproof.eval.packs.pack import Pack

KEEPING = frozenset({"llama.cpp", "onnxruntime"})
"""Backends whose answers depend on nothing but what a file is bound to. A server may have changed; a phone's program
keeps its own journal."""

FOLDER_VARIABLE = "EDGEPROOF_ANSWERS"
"""Names the folder for kept answers; by default edgeproof/answers in the user's cache."""

_NAME = re.compile(r"[0-9a-f]{12}-[0-9a-f]{20}")

OLDEST_DAYS = 14
"""A stopped run that nobody takes up is removed after this time."""


class Keeping:
    """The files of a command's answers. `done` removes them; an error or a kill leaves them.

    Args:
        pack: what is asked; authenticates the answers.
        sampling: of the sampled answers.
        bound: further facts that answers are bound to, by name (the digest of a baseline, of a base).
        progress: hears why answers are not used.

    Attributes:
        taken_up: number of answers of an interrupted run, over all models.

    """

    def __init__(self, pack: Pack, sampling: Sampling | None, bound: Mapping[str, str], progress: Progress) -> None:
        self._secret, self._progress = pack.secret, progress
        self._bound = {"pack": pack.digest, "sampling": repr(sampling), "edgeproof": version("edgeproof"), **bound}
        self._files: list[Path] = []
        self.taken_up = 0

    def keep(self, engine: Backend, artifact_sha256: str) -> int:
        """Let `engine`, which has the artifact loaded, keep its answers; return how many are there already.

        Where the user's cache cannot hold them, a warning says that a stopped run begins anew.

        Raises:
            OutputError: the folder that FOLDER_VARIABLE names cannot hold them.

        """
        info = engine.info
        if not self.keeps(engine) or not isinstance(engine, KeepingBackend):
            return 0
        facts = {"artifact": artifact_sha256, **self._bound, **info._asdict(), "options": dict(info.options)}
        origin = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        try:
            file = answers_folder() / f"{artifact_sha256[:12]}-{origin[:20]}"
            found = engine.keep(file, origin, self._secret)
        except OutputError as error:
            if os.environ.get(FOLDER_VARIABLE):
                raise
            self._progress.warn(f"{error.message}; a stopped run begins anew ({error.next_step})")
            return 0
        self._files.append(file)
        if found.ignored:
            self._progress.warn(f"the answers kept in {file} are not used: {found.ignored}")
        self.taken_up += found.answers
        return found.answers

    def keeps(self, engine: Backend) -> bool:
        """Whether the answers of this engine are kept."""
        return engine.info.backend in KEEPING

    @contextlib.contextmanager
    def told_how_to_go_on(self) -> Iterator[None]:
        """Let whoever interrupts the block learn that the answers are kept, and how to go on."""
        try:
            yield
        except KeyboardInterrupt as stop:
            if any(file.exists() for file in self._files):
                stop.add_note(f"Its answers are kept for {OLDEST_DAYS} days: the same command goes on from them.")
            raise

    def done(self) -> None:
        """Remove the answers: the command is complete."""
        for file in self._files:
            file.unlink(missing_ok=True)


def answers_folder() -> Path:
    """Return the private folder for kept answers; what is too old in it is removed."""
    from edgeproof.runtime.kept.journal import is_journal

    cache, named = os.environ.get("XDG_CACHE_HOME") or "~/.cache", os.environ.get(FOLDER_VARIABLE)
    try:
        folder = Path(named) if named else Path(cache).expanduser() / "edgeproof" / "answers"
    except RuntimeError as error:  # a user without a home
        raise OutputError(
            f"answers cannot be kept: {error}", next_step=f"name a folder for them: {FOLDER_VARIABLE}=DIR"
        ) from error
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if folder.stat().st_mode & 0o077:
            raise OutputError(
                f"answers would be kept in {folder}, which others may read", next_step=f"close it: chmod 700 {folder}"
            )
    except OSError as error:
        raise OutputError(
            f"answers cannot be kept in {folder}: {error.strerror or error}",
            next_step=f"name another folder for them: {FOLDER_VARIABLE}=DIR",
        ) from error
    for file in folder.iterdir():
        with contextlib.suppress(OSError):  # another command has removed it, or it is another user's
            old = time.time() - file.lstat().st_mtime > OLDEST_DAYS * 86_400
            if old and _NAME.fullmatch(file.name) and is_journal(file):
                file.unlink()
    return folder
