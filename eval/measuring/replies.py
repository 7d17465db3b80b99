"""First replies of a model in a plain chat: for second turns, and for carrier sentences."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgeproof.contracts.backend import GenerateRequest, Generation
from edgeproof.eval.asking.carriers import all_carriers
from edgeproof.eval.asking.tokens import first_turn_asks
from edgeproof.eval.matching.thinking import reply_after_thoughts
from edgeproof.eval.measurement import Role
from edgeproof.eval.measuring.results import exactly
from edgeproof.eval.packs.kinds import SurfaceKind
from edgeproof.eval.packs.probes import Surface

if TYPE_CHECKING:
    from edgeproof.contracts.backend import Backend
    from edgeproof.contracts.progress import Progress
    from edgeproof.eval.asking.tokens import Ask
    from edgeproof.eval.measurement import Carrier
    from edgeproof.eval.packs.pack import Pack


def first_replies(
    pack: Pack,
    backend: Backend,
    *,
    label: str,
    progress: Progress,
    roles: frozenset[Role] = frozenset(Role),
    said: dict[GenerateRequest, Generation] | None = None,
) -> dict[str, str]:
    """Return the model's greedy reply to the plain chat by probe id, for surfaces of two turns; empty without any.

    The generated replies are added to `said`.
    """
    asks = [ask for ask in first_turn_asks(pack, backend) if ask.probe.role in roles]
    if not asks:
        return {}
    progress.start(f"{label}: first replies", len(asks), "answers")
    requests = [greedy_request(ask) for ask in asks]
    found = exactly(backend.generate(requests), len(requests), "first replies", progress)
    if said is not None:
        said.update(zip(requests, found, strict=True))
    return {ask.probe.id: reply_after_thoughts(one.text) for ask, one in zip(asks, found, strict=True)}


def base_carriers(pack: Pack, backend: Backend, *, progress: Progress, label: str = "base") -> tuple[Carrier, ...]:
    """Return the carrier sentences of `pack`, those of the base's replies first; `backend` runs the base.

    The replies are not kept.
    """
    replies: dict[str, str] = {}
    if backend.info.chat_template is not None:
        chat = replace(pack, surfaces=(Surface("turns", SurfaceKind.TURNS, None, (Role.FORGET,)),))
        replies = first_replies(chat, backend, label=f"{label}, carrier sentences", progress=progress)
    return all_carriers(pack, replies)


def greedy_request(ask: Ask) -> GenerateRequest:
    """Ask for the greedy answer, as long as it may get."""
    return GenerateRequest(ask.context, ask.max_tokens, ask.stop, special=True)
