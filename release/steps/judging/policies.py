"""Choice of the policy: the file that was given, or the defaults; one in the pack's folder is not taken unasked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.visible import message_of

if TYPE_CHECKING:
    from pathlib import Path

    from edgeproof.contracts.progress import Progress
    from edgeproof.eval.verdict.policy import Policy


def choose_policy(given: Path | None, probes: Path, progress: Progress) -> Policy:
    """Return the policy of the file `given`, or the defaults; warn if the pack `probes` has one that was not given.

    Raises:
        EdgeproofError: the file cannot be read, or is no policy.

    """
    from edgeproof.eval.verdict.policy import Policy, read_policy

    if given is not None:
        return read_policy(given)
    own = packed_policy(probes)
    if own is not None:
        progress.warn(
            f"the pack has a policy of its own, which is not used, since --policy is missing: the default limits hold; "
            f"to judge by the pack's: --policy {message_of(str(own))}"
        )
    return Policy()


def packed_policy(probes: Path) -> Path | None:
    """Return the policy that `pack new` wrote into the folder of a pack, or beside its encrypted file; None if none."""
    from edgeproof.eval.packs.files import policy_beside

    own = policy_beside(probes, encrypted=not probes.is_dir())
    return own if own.is_file() else None
