"""Atomic writing of an output folder: its final name only ever shows a complete folder."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
from typing import TYPE_CHECKING

from edgeproof.contracts.atomic import to_disk, umask
from edgeproof.contracts.errors import OutputError
from edgeproof.contracts.interruptions import held_back
from edgeproof.contracts.scratch import dead, locked_folder, scratch_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ADAPTER_CONFIG, MODEL_CONFIG = "adapter_config.json", "config.json"
RETIRED = ".old"
LOG, LOG_CSV, LOG_PLOT, CARD = "log.jsonl", "log.csv", "log.svg", "README.md"


def check_place(out: Path, *, force: bool) -> None:
    """Check, before the computation, whether `out` can be written.

    Raises:
        OutputError: `out` exists and `force` is not given, or is not an output of this program; its parent is missing
            or read-only.

    """
    with contextlib.ExitStack() as stack:
        _beside(stack, out, force=force)


@contextlib.contextmanager
def folder_for(out: Path, *, force: bool) -> Iterator[Path]:
    """Yield a temporary folder that is renamed to `out` when the block ends; on an exception `out` does not change.

    Raises:
        OutputError: as for `check_place`; the disk is full.

    """
    with contextlib.ExitStack() as stack:
        temporary = _beside(stack, out, force=force)
        try:
            yield temporary
            temporary.chmod(0o777 & ~umask())
            for path in (*temporary.rglob("*"), temporary):
                to_disk(path)
            _refuse(out, force=force)
            with held_back():
                if os.path.lexists(out):
                    _replace(temporary, out)
                else:
                    _name(temporary, out)
        except OSError as error:
            raise OutputError(
                f"cannot write {out}: {error.strerror or error}", next_step="free some space, or give another --out"
            ) from error


def _name(temporary: Path, out: Path) -> None:
    """Rename `temporary` to `out`, for good: where that cannot be written to disk, nothing is left under `out`."""
    temporary.rename(out)
    try:
        to_disk(out.parent)
    except BaseException:
        out.rename(temporary)
        raise


def _replace(temporary: Path, out: Path) -> None:
    """Replace `out` by `temporary`; restore the old folder on failure."""
    retired, descriptor = locked_folder(out.parent, f".{out.name}.", RETIRED)
    before = retired / out.name
    try:
        out.rename(before)
        _name(temporary, out)
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
    """Complete or undo the `_replace` of a killed process."""
    for retired in out.parent.glob(f".{glob.escape(out.name)}.*{RETIRED}"):
        with contextlib.suppress(OSError), dead(retired, folder=True) as nobodys:
            if nobodys:
                if not os.path.lexists(out) and (retired / out.name).exists():
                    (retired / out.name).rename(out)
                shutil.rmtree(retired)


def _beside(stack: contextlib.ExitStack, out: Path, *, force: bool) -> Path:
    """Make a folder beside `out` that is removed when `stack` closes; first remove those of killed processes."""
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
    """Whether the folder is an adapter, or a model with the log of `--full`, written by this program."""
    return (out / ADAPTER_CONFIG).is_file() or all((out / name).is_file() for name in (MODEL_CONFIG, LOG))


@contextlib.contextmanager
def writing_weights() -> Iterator[None]:
    """Convert safetensors' exception for a full disk to `OSError`."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise OSError(str(error)) from error


def plain_mode(path: Path) -> None:
    """Set a file's mode to that of a plain `open`."""
    path.chmod(0o666 & ~umask())
