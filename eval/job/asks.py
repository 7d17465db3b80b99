"""What each probe on each surface is made of: the numbers of its requests, and what the base said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeproof.contracts.backend import ScoreRequest
from edgeproof.contracts.progress import Silent
from edgeproof.eval.asking.carriers import starts
from edgeproof.eval.asking.kinds import sampled_kinds
from edgeproof.eval.asking.sampling import sample_requests
from edgeproof.eval.asking.tokens import encode_pack
from edgeproof.eval.measurement import Role
from edgeproof.eval.measuring.plan import plan_scores
from edgeproof.eval.measuring.records import is_right, scored_text
from edgeproof.eval.measuring.replies import first_replies, greedy_request
from edgeproof.eval.packs.kinds import SurfaceKind
from edgeproof.eval.packs.probes import Match
from edgeproof.eval.verdict.legs import leaks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.contracts.backend import GenerateRequest
    from edgeproof.eval.job.recorder import Recorder
    from edgeproof.eval.measurement import Carrier, Sampling
    from edgeproof.eval.measuring.plan import Plan
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.verdict.evidence.evidence import Evidence


def asks(
    pack: Pack, recorder: Recorder, evidence: Evidence, sampling: Sampling | None, carriers: Sequence[Carrier]
) -> list[dict[str, Any]]:
    """Return an entry for each probe on each surface, in the order of a measurement's records.

    `recorder` has been asked all of it. `evidence` is the base's in the format of the artifact.
    """
    before = len(recorder.requests)
    replies = first_replies(pack, recorder, label="job", progress=Silent())
    encoded = encode_pack(pack, recorder, carriers=carriers, replies=replies)
    plans = plan_scores(pack, recorder, encoded, carriers)
    kinds = sampled_kinds(plan.ask.surface.kind for plan in plans)
    places = {probe.id: index for index, probe in enumerate(pack.probes)}
    entries = [
        _entry(plan, recorder, evidence, () if sampling is None else sample_requests(plan.ask, sampling, kinds), places)
        for plan in plans
    ]
    assert len(recorder.requests) == before, "a measurement asks what the job does not"
    return entries


def _entry(
    plan: Plan, recorder: Recorder, evidence: Evidence, samples: Sequence[GenerateRequest], places: Mapping[str, int]
) -> dict[str, Any]:
    ask, number = plan.ask, recorder.requests
    probe, key = ask.probe, (ask.probe.id, ask.surface.name)
    choices = ask.surface.kind == SurfaceKind.CHOICES
    verbatim = probe.match == Match.VERBATIM
    base = evidence.in_format[key]
    own = ScoreRequest(ask.context, ask.continuation)
    carried = {request.continuation: number[request] for request in (own, *plan.carried)} if plan.carried else {}
    return {
        "probe": places[probe.id],
        "surface": ask.surface.name,
        "kind": str(ask.surface.kind),
        "judged": ask.surface.name in evidence.surfaces[probe.role],
        "accepted": [scored_text(ask, recorder), *ask.accepted[1:]] if verbatim else list(ask.accepted),
        "match": str(probe.match),
        "answer_type": probe.answer_type if ask.target is probe.answer else "",
        "kept": probe.role == Role.RETAIN,
        "answer": None if choices else number[own],
        "carried": [carried[tokens] for tokens in starts(carried)] if carried else None,
        "greedy": None if choices else number[greedy_request(ask)],
        "right_if_greedy": not choices and is_right(ask, recorder.detokenize(ask.continuation), recorder),
        "samples": [number[request] for request in samples],
        "decoys": [number[request] for request in plan.decoys],
        "choices": [[number[request] for request in order] for order in plan.choices],
        "base": {
            "leaks": not choices and probe.role != Role.RETAIN and leaks(base, evidence.policy),
            "right": base.right,
            "nll": base.nll,
            "nll_merged": evidence.merged[key].nll,
        },
    }
