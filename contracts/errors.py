"""The error tree: one root, and one branch for each thing that the user can do about it.

Exit codes are those of the command line (docs/command-line.md): every error here ends a command with 3 unless it says
otherwise; 1 belongs to the verdict FAIL alone.
"""

from __future__ import annotations


class EdgeproofError(Exception):
    """Root of all errors that edgeproof raises on purpose.

    Args:
        message: what is wrong, where, with the numbers that clash.
        next_step: what the user can do now; shown on a line of its own. By default the `usual_step` of the class.

    """

    exit_code = 3
    usual_step = "run it again; if it fails again, report it with this message and `export-edge --version`"

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step or self.usual_step

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.next_step}"

    def __reduce__(self) -> tuple[object, ...]:
        """Survive a trip through a pipe from the child process."""
        return _rebuild, (type(self), self.message, self.next_step)


def _rebuild(kind: type[EdgeproofError], message: str, next_step: str) -> EdgeproofError:
    return kind(message, next_step=next_step)


class UsageError(EdgeproofError):
    """The options contradict each other or one is missing: change the command line."""

    exit_code = 2
    usual_step = "`export-edge VERB --help` lists the options"


class InputError(EdgeproofError):
    """A file or folder that the user gave is missing, damaged, or not what it should be: mend the input."""

    usual_step = "correct or replace what the message names"


class CheckpointError(InputError):
    """The base checkpoint: missing or truncated safetensors, NaN weights, a shard outside the folder."""

    usual_step = "download or copy the checkpoint again"


class AdapterError(InputError):
    """The adapter: empty, zero, of another base, pickled, of an unknown type."""

    usual_step = "copy the adapter again, or save it again with peft's save_pretrained"


class TokenizerError(InputError):
    """The tokenizer cannot be proved equal to the checkpoint's own."""

    usual_step = "copy the tokenizer's files again from where the checkpoint came from"


class ArtifactError(InputError):
    """The file that ships: truncated, unreadable, or with another vocabulary than the baseline's."""

    usual_step = "copy or export the artifact again"


class PackError(InputError):
    """The probe pack: no forget probes, missing fields, a probe longer than the context."""

    usual_step = "correct the pack: docs/packs.md describes its files"


class BaselineError(InputError):
    """The baseline: of another pack, tokenizer or format, or damaged."""

    usual_step = "record the baseline again with `export-edge baseline`"


class PolicyError(InputError):
    """The policy file: unknown keys or limits out of range."""

    usual_step = "correct the value: docs/verdict.md lists the keys of a policy with their ranges"


class EvidenceError(InputError):
    """A report, its signature, or what it speaks of is not what it was: do not rely on the verdict."""

    usual_step = "do not rely on this verdict: gate the artifact again"


class UnsupportedError(EdgeproofError):
    """This road is not built (architecture, format, adapter type): the message names the ways round it."""

    usual_step = "docs/command-line.md lists what is supported"


class OutputError(EdgeproofError):
    """The result cannot be written: the target exists, the disk is full, the folder is read-only."""

    usual_step = "free space or give another place to write to"


class BackendError(EdgeproofError):
    """The engine that runs the artifact crashed, hung or returned nonsense; carries the child's last words."""


class TrainingError(EdgeproofError):
    """Training went astray or changed nothing: change the recipe or the data."""

    usual_step = "change the recipe or the data: docs/unlearn.md"
