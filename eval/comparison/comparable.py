"""Rule of which reports are comparable: same pack, policy, base and tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.eval.report.sanitize import inert

if TYPE_CHECKING:
    from edgeproof.eval.comparison.recorded import Recorded
    from edgeproof.eval.measurement import ModelSource

_HEAD = 12
NAMED = 3
"""Maximum number of differing limits that are named."""


def differences(old: Recorded, new: Recorded) -> tuple[str, ...]:
    """Say why two reports are not comparable; empty if they are."""
    found = []
    if old.pack.sha256 != new.pack.sha256:
        found.append(f"the packs differ: {_named(old.pack)} and {_named(new.pack)}")
    if old.policy_sha256 != new.policy_sha256:
        found.append(f"the policies differ: {_limits(old, new)}")
    if old.base is None or new.base is None:
        found.append("a report does not say of which base: its baseline names none, record it again")
    elif old.base.sha256 != new.base.sha256:
        found.append(f"the bases differ: {_named(old.base)} and {_named(new.base)}")
    if old.tokenizer_sha256 != new.tokenizer_sha256:
        tokenizers = old.tokenizer_sha256, new.tokenizer_sha256
        found.append(f"the tokenizers differ: {' and '.join(f'{inert(one[:_HEAD])}…' for one in tokenizers)}")
    return tuple(found)


def _named(source: ModelSource) -> str:
    return f"{inert(source.name)} ({inert(source.sha256[:_HEAD])}…)"


def _limits(old: Recorded, new: Recorded) -> str:
    keys = [key for key in {**old.policy, **new.policy} if old.policy.get(key) != new.policy.get(key)]
    shown = [f"{key} {old.policy.get(key)} and {new.policy.get(key)}" for key in keys[:NAMED]]
    more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
    return inert(", ".join(shown) + more) if keys else "their digests do"
