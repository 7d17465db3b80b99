"""Gives a place to write a folder in that shows under its name only when it is complete."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
from typing import TYPE_CHECKING

from edgeproof.contracts.atomic import to_disk, umask
from edgeproof.contracts.errors import OutputError
from edgeproof.contracts.scratch import dead, locked_folder, scratch_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ADAPTER_CONFIG, MODEL_CONFIG = "adapter_config.json", "config.json"
RETIRED = ".old"
LOG, LOG_CSV, LOG_PLOT, CARD = "log.jsonl", "log.csv", "log.svg", "README.md"


def check_place(out: Path, *, force: bool) -> None:
    """Find out, before anything is computed, whether `out` can be written.

    Raises:
        OutputError: `out` exists and `force` is not given, or it is nothing that was made here; its parent is missing
            or read-only.

    """
    with contextlib.ExitStack() as stack:
        _beside(stack, out, force=force)


@contextlib.contextmanager
def folder_for(out: Path, *, force: bool) -> Iterator[Path]:
    """Give a temporary folder beside `out` that gets that name when the block ends; if it raises, nothing appears.

    Raises:
        OutputError: as `check_place`; the disk is full.

    """
    with contextlib.ExitStack() as stack:
        temporary = _beside(stack, out, force=force)
        try:
            yield temporary
            temporary.chmod(0o777 & ~umask())
            for path in (*temporary.rglob("*"), temporary):
                to_disk(path)
            _refuse(out, force=force)
            if os.path.lexists(out):
                _replace(temporary, out)
            else:
                temporary.rename(out)
            to_disk(out.parent)
        except OSError as error:
            raise OutputError(
                f"cannot write {out}: {error.strerror or error}", next_step="free some space, or give another --out"
            ) from error


def _replace(temporary: Path, out: Path) -> None:
    """Put `temporary` in the place of `out`; what was there comes back where that fails."""
    retired, descriptor = locked_folder(out.parent, f".{out.name}.", RETIRED)
    before = retired / out.name
    try:
        out.rename(before)
        temporary.rename(out)
    except BaseException:
        if before.exists():
            before.rename(out)
        retired.rmdir()
        raise
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    shutil.rmtree(retired)


def _give_back(out: Path) -> None:
    """Bring to an end what a killed process has begun in `_replace`."""
    for retired in out.parent.glob(f".{glob.escape(out.name)}.*{RETIRED}"):
        with contextlib.suppress(OSError), dead(retired, folder=True) as nobodys:
            if nobodys:
                if not os.path.lexists(out) and (retired / out.name).exists():
                    (retired / out.name).rename(out)
                shutil.rmtree(retired)


def _beside(stack: contextlib.ExitStack, out: Path, *, force: bool) -> Path:
    """Make a folder beside `out` that is gone when `stack` is closed; what killed processes left there goes first."""
    _give_back(out)
    _refuse(out, force=force)
    try:
        return stack.enter_context(scratch_folder(out.parent, f".{out.name}.", ".part"))
    except OSError as error:
        raise OutputError(
            f"cannot write to {out.parent}: {error.strerror}", next_step="make the folder, or give another --out"
        ) from error


def _refuse(out: Path, *, force: bool) -> None:
    if not os.path.lexists(out):
        return
    if not force:
        raise OutputError(f"{out} exists", next_step="give another --out, or --force to replace it")
    if out.is_symlink() or not out.is_dir() or (any(out.iterdir()) and not _ours(out)):
        raise OutputError(
            f"{out} is not the folder of an adapter or an unlearned model; it is not replaced, with or without --force",
            next_step="give another --out",
        )


def _ours(out: Path) -> bool:
    """Tell an adapter, or a model with the log that `--full` writes, from a folder of someone else's."""
    return (out / ADAPTER_CONFIG).is_file() or all((out / name).is_file() for name in (MODEL_CONFIG, LOG))


@contextlib.contextmanager
def writing_weights() -> Iterator[None]:
    """Turn what safetensors raises where the disk is full into the `OSError` that it is."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise OSError(str(error)) from error


def plain_mode(path: Path) -> None:
    """Give a file the mode that a plain `open` would have given it."""
    path.chmod(0o666 & ~umask())
