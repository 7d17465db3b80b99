"""Error tree: one root, and one branch per action that the user can take.

Every error here ends a command with exit code 3 unless it says otherwise (docs/command-line.md); exit code 1 is
reserved for the verdict FAIL.
"""

from __future__ import annotations

from edgeproof.contracts.visible import message_of


class EdgeproofError(Exception):
    """Root of all errors that edgeproof raises on purpose.

    Args:
        message: what is wrong, where, with the numbers that clash; what it quotes is escaped, and cut if it is long.
        next_step: what the user can do now; shown on a line of its own. By default the `usual_step` of the class.

    """

    exit_code = 3
    usual_step = "run it again; if it fails again, report it with this message and `export-edge --version`"

    def __init__(self, message: str, *, next_step: str = "") -> None:
        self.message = message_of(message)
        super().__init__(self.message)
        self.next_step = next_step or self.usual_step

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.next_step}"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle all fields, so that a child process can send the error through a pipe."""
        return _rebuild, (type(self), self.message, self.next_step)


def _rebuild(kind: type[EdgeproofError], message: str, next_step: str) -> EdgeproofError:
    return kind(message, next_step=next_step)


class UsageError(EdgeproofError):
    """Options contradict each other or one is missing: change the command line."""

    exit_code = 2
    usual_step = "`export-edge VERB --help` lists the options"


class InputError(EdgeproofError):
    """An input file or folder is missing, damaged, or of the wrong kind: fix the input."""

    usual_step = "correct or replace what the message names"


class CheckpointError(InputError):
    """The base checkpoint is unusable: missing or truncated safetensors, NaN weights, a shard outside the folder."""

    usual_step = "download or copy the checkpoint again"


class AdapterError(InputError):
    """The adapter is unusable: empty, zero, of another base, pickled, of an unknown type."""

    usual_step = "copy the adapter again, or save it again with peft's save_pretrained"


class TokenizerError(InputError):
    """The tokenizer cannot be proved equal to the checkpoint's own."""

    usual_step = "copy the tokenizer's files again from where the checkpoint came from"


class ArtifactError(InputError):
    """The artifact is truncated, unreadable, or has a different vocabulary from the baseline's."""

    usual_step = "copy or export the artifact again"


class PackError(InputError):
    """The probe pack is unusable: no forget probes, missing fields, a probe longer than the context."""

    usual_step = "correct the pack: docs/packs.md describes its files"


class BaselineError(InputError):
    """The baseline is damaged, or of another pack, tokenizer or format."""

    usual_step = "record the baseline again with `export-edge baseline`"


class PolicyError(InputError):
    """The policy file has unknown keys or limits out of range."""

    usual_step = "correct the value: docs/verdict.md lists the keys of a policy with their ranges"


class EvidenceError(InputError):
    """A report, its signature, or a file that it names has changed: do not rely on the verdict."""

    usual_step = "do not rely on this verdict: gate the artifact again"


class UnsupportedError(EdgeproofError):
    """Not supported (architecture, format, adapter type): the message names the alternatives."""

    usual_step = "docs/command-line.md lists what is supported"


class OutputError(EdgeproofError):
    """The result cannot be written: the target exists, the disk is full, the folder is read-only."""

    usual_step = "free space or give another place to write to"


class BackendError(EdgeproofError):
    """The engine that runs the artifact crashed, hung or returned invalid results; carries the child's last output."""


class TrainingError(EdgeproofError):
    """Training diverged or changed nothing: change the recipe or the data."""

    usual_step = "change the recipe or the data: docs/unlearn.md"
