"""The job of a device, as JSON: requests, what they are for, and the rules that the device applies.

docs/phone-job.md describes the file. It holds the pack's prompts and answers: it is as secret as the pack.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from edgeproof.contracts.backend import ScoreRequest
from edgeproof.contracts.errors import InputError
from edgeproof.contracts.progress import Silent
from edgeproof.eval.asking.kinds.chat import NO_REPLY
from edgeproof.eval.baselines.fit import check_match
from edgeproof.eval.job.asks import asks
from edgeproof.eval.job.recorder import Recorder
from edgeproof.eval.job.rules import base_evidence, controls_of_the_base, forget, rules
from edgeproof.eval.matching.thinking import END
from edgeproof.eval.measuring.measure import measure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeproof.contracts.backend import Backend, GenerateRequest
    from edgeproof.eval.job.recorder import Splice
    from edgeproof.eval.measurement import Baseline
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.verdict.evidence.evidence import Evidence
    from edgeproof.eval.verdict.policy import Policy


def job_body(
    pack: Pack, baseline: Baseline, policy: Policy, vocabulary: Backend, *, format_name: str, artifact_sha256: str
) -> dict[str, Any]:
    """Ask `pack` of a recorder, and return all parts of a job that follow from pack, baseline, policy and artifact.

    Raises:
        EdgeproofError: they do not fit each other.

    """
    info = vocabulary.info
    check_match(baseline, pack, info.tokenizer_digest, format_name=format_name, prompt_digest=info.prompt_digest)
    evidence = base_evidence(baseline, policy, format_name=format_name)
    recorder = Recorder(vocabulary)
    measure(
        pack,
        recorder,
        label="job",
        artifact_sha256=artifact_sha256,
        progress=Silent(),
        carriers=baseline.carriers,
        sampling=policy.sampling,
    )
    asked = asks(pack, recorder, evidence, policy.sampling, baseline.carriers)
    requests = _Requests(recorder, asked)
    return {
        "context": requests.longest,
        "bos": info.bos,
        "rules": rules(policy),
        "controls": controls_of_the_base(evidence),
        "forget": forget(evidence),
        "probes": _probes(pack, evidence),
        "asks": asked,
        "contexts": requests.contexts,
        "splices": requests.splices,
        "requests": requests.lines,
        "chat": _chat(vocabulary),
        "end_of_reasoning": f"(?i){END.pattern}",
    }


def _probes(pack: Pack, evidence: Evidence) -> list[dict[str, Any]]:
    facts = evidence.facts
    return [
        {
            "id": probe.id,
            "role": str(probe.role),
            "cluster": facts[probe.id].cluster,
            "apart": probe.id if facts[probe.id].cluster in evidence.doubled else facts[probe.id].cluster,
            "critical": probe.critical,
            "trained": probe.trained,
            "question": probe.question,
            "answer": probe.answer,
        }
        for probe in pack.probes
    ]


class _Requests:
    """The requests in the job's form: contexts that several share stand in a list of their own."""

    def __init__(self, recorder: Recorder, asked: list[dict[str, Any]]) -> None:
        self._recorder, self._places = recorder, dict[tuple[int, ...], int]()
        self._spliced = dict["Splice", int]()
        self._asked = list(recorder.requests)
        self.longest = 0
        unless = _unless(asked)
        self.lines: list[dict[str, Any]] = []
        for request, number in recorder.requests.items():
            fields = {**self._context(request), **_fields(request)}
            kind = "score" if isinstance(request, ScoreRequest) else "generate"
            line: dict[str, Any] = {"id": number, kind: fields}
            self.lines.append(line | ({"unless": unless[number]} if number in unless else {}))
        self.contexts = [list(context) for context in self._places]
        self.splices = [
            {"reply": splice.reply, "parts": list(splice.parts), "empty": NO_REPLY} for splice in self._spliced
        ]

    def _context(self, request: ScoreRequest | GenerateRequest) -> dict[str, int]:
        splice = self._recorder.splice(request.context)
        more = len(request.continuation) if isinstance(request, ScoreRequest) else request.max_tokens
        longest = len(request.context) + more
        if splice is None:
            self.longest = max(self.longest, longest)
            return {"context": self._places.setdefault(request.context, len(self._places))}
        first = self._asked[splice.reply]
        assert not isinstance(first, ScoreRequest)
        self.longest = max(self.longest, longest + first.max_tokens)
        return {"splice": self._spliced.setdefault(splice, len(self._spliced))}


def _fields(request: ScoreRequest | GenerateRequest) -> dict[str, Any]:
    if isinstance(request, ScoreRequest):
        return {"continuation": list(request.continuation)}
    return {
        "max_tokens": request.max_tokens,
        "stop": list(request.stop),
        "temperature": request.temperature,
        "uniforms": uniforms(request),
        "special": request.special,
    }


def uniforms(request: GenerateRequest) -> list[float]:
    """Return the numbers in [0, 1) that choose the tokens of a sampled reply, one for each; none for a greedy one."""
    if request.temperature <= 0:
        return []
    drawn = np.random.Generator(np.random.PCG64(request.seed)).random(request.max_tokens)
    return [float(number) for number in drawn]


def _unless(asked: list[dict[str, Any]]) -> Mapping[int, int]:
    """Return, by greedy request, the score that makes it needless: where its tokens are all the most probable."""
    scores: dict[int, set[int]] = {}
    needed: set[int] = set()
    for ask in asked:
        if ask["greedy"] is None:
            continue
        scores.setdefault(ask["greedy"], set()).add(ask["answer"])
        if ask["match"] != "answer" or ask["greedy"] < ask["answer"]:
            needed.add(ask["greedy"])
    return {
        greedy: next(iter(answers)) for greedy, answers in scores.items() if len(answers) == 1 and greedy not in needed
    }


def _chat(vocabulary: Backend) -> dict[str, str | None] | None:
    """Return the texts around what is said in a chat, for a person who chats with the model; None without template."""
    if vocabulary.info.chat_template is None:
        return None
    marks = ("\ue000first\ue001", "\ue000reply\ue001", "\ue000second\ue001")
    once = vocabulary.render_chat([{"role": "user", "content": marks[0]}])
    if once.count(marks[0]) != 1:
        return None
    start, _, asked = once.partition(marks[0])
    found: dict[str, str | None] = {"start": start, "asked": asked, "replied": None}
    roles = ("user", "assistant", "user")
    try:
        messages = [{"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True)]
        twice = vocabulary.render_chat(messages)
    except InputError:
        return found
    if all(twice.count(mark) == 1 for mark in marks) and twice.startswith(f"{start}{marks[0]}{asked}{marks[1]}"):
        replied, _, end = twice.partition(marks[1])[2].partition(marks[2])
        if end == asked:
            found["replied"] = replied
    return found
