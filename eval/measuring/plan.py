"""Score requests of a pack: the answer, decoys in its place, carrier sentences before it, letters of a choice."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.backend import ScoreRequest
from edgeproof.eval.asking.carriers import beginnings
from edgeproof.eval.asking.choices import LETTERS
from edgeproof.eval.asking.kinds import CARRIED_KINDS
from edgeproof.eval.asking.kinds.kind import open_prompt
from edgeproof.eval.asking.prompts import Prompts
from edgeproof.eval.asking.tokens import check_length, context_tokens, continuation_tokens
from edgeproof.eval.measurement import Role
from edgeproof.eval.packs.decoys import decoy_answers, has_decoys
from edgeproof.eval.packs.kinds import SurfaceKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.contracts.backend import Backend
    from edgeproof.eval.asking.tokens import Ask
    from edgeproof.eval.measurement import Carrier
    from edgeproof.eval.packs.pack import Pack


class Plan(NamedTuple):
    """The score requests of an ask.

    Attributes:
        ask: probe and surface.
        decoys: wrong answers instead of the answer.
        carried: the answer after carrier sentences, and its aliases.
        choices: for each order of the options, each option's letter, the true option's first; else empty.

    """

    ask: Ask
    decoys: tuple[ScoreRequest, ...] = ()
    carried: tuple[ScoreRequest, ...] = ()
    choices: tuple[tuple[ScoreRequest, ...], ...] = ()

    @property
    def requests(self) -> tuple[ScoreRequest, ...]:
        """All requests, the answer first; for a multiple choice the letters only."""
        if self.choices:
            return tuple(request for order in self.choices for request in order)
        return (ScoreRequest(self.ask.context, self.ask.continuation), *self.decoys, *self.carried)


def plan_scores(
    pack: Pack, backend: Backend, asks: Sequence[Ask], carriers: Sequence[Carrier], *, decoys: bool = True
) -> list[Plan]:
    """Plan the score requests of each of `asks`."""
    wrong: Mapping[str, tuple[str, ...]] = decoy_answers(pack) if decoys else {}
    prompts = Prompts(pack, backend, carriers)
    plans: list[Plan] = []
    for ask in asks:
        probe, kind = ask.probe, ask.surface.kind
        if kind == SurfaceKind.CHOICES:
            plans.append(Plan(ask, choices=_choice_requests(prompts, ask, backend)))
            continue
        others = wrong.get(probe.id, ()) if has_decoys(probe, ask.surface) else ()
        begun = beginnings(probe, carriers) if kind in CARRIED_KINDS and probe.role != Role.RETAIN else ()
        plans.append(
            Plan(
                ask,
                decoys=tuple(_instead(ask, text, backend, "a decoy") for text in others),
                carried=tuple(_instead(ask, text, backend, "a carrier sentence") for text in begun),
            )
        )
    return plans


def _instead(ask: Ask, text: str, backend: Backend, what: str) -> ScoreRequest:
    """Return the request for `text` instead of the ask's answer."""
    continuation = continuation_tokens(ask.prompt, ask.context, text, backend, f"{what} of probe {ask.probe.id}")
    check_length(ask._replace(continuation=continuation), backend.info.context_length)
    return ScoreRequest(ask.context, continuation)


def _choice_requests(prompts: Prompts, ask: Ask, backend: Backend) -> tuple[tuple[ScoreRequest, ...], ...]:
    found: list[tuple[ScoreRequest, ...]] = []
    for order in prompts.orders(ask.probe, ask.surface):
        prompt = open_prompt(order.prompt, ask.probe)
        context = context_tokens(prompt, backend)
        where = f"a letter of probe {ask.probe.id}"
        letters = [continuation_tokens(prompt, context, LETTERS[place], backend, where) for place in order.places]
        for letter in letters:
            check_length(ask._replace(context=context, continuation=letter), backend.info.context_length)
        found.append(tuple(ScoreRequest(context, letter) for letter in letters))
    return tuple(found)
