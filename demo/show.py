"""All that is shown: the files, the pack's questions, the verdicts of earlier reports, the open pages."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import EdgeproofError
from edgeproof.demo import drawing
from edgeproof.demo.asking.engine import Engine
from edgeproof.demo.asking.models import ORIGINAL, Event, Sheet, failure, shown_names
from edgeproof.demo.asking.questions import LONGEST_QUESTION, Questions, message
from edgeproof.demo.asking.ways import ways
from edgeproof.demo.seal import check_stamps
from edgeproof.demo.sessions import Sessions
from edgeproof.eval.asking.kinds import CHAT_KINDS, PLAIN_CHATS
from edgeproof.eval.asking.kinds.raw import RAW
from edgeproof.eval.measurement import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edgeproof.demo.asking.models import DemoModel
    from edgeproof.demo.run import Gate, Run
    from edgeproof.eval.measurement import Baseline
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.verdict.judgement import Judgement
    from edgeproof.eval.verdict.policy import Policy
    from edgeproof.release.steps.judging.criteria import Criteria


PLAIN_KINDS = PLAIN_CHATS | {RAW.name}
"""How most people ask."""


@dataclass
class Show:
    """What one demo shows; made by `prepare_show`.

    Attributes:
        pack: the probes.
        policy: the limits.
        models: the original first, where there is one, then the files that ship.
        sheet: what the models are asked from.
        gate: measures and judges a file.
        recall: gives the verdict of an earlier report on a file, None if it has none; itself None without reports.
        engines: the process of each model, by its key.
        sessions: the open pages.
        alone: held by the run that goes on.
        unjudged: why a file cannot be judged with this baseline, by the model's key.
        recorded: verdicts of earlier reports, by the model's key, as the page draws them.
        recalling: keys of the models whose earlier report is still being read.
        warnings: what a reader of the pack must know; said at the start.
        trouble: what a file's earlier report is refused for, by the model's key.

    """

    pack: Pack
    policy: Policy
    models: Sequence[DemoModel]
    sheet: Sheet
    gate: Gate
    recall: Callable[[Path], Judgement | None] | None
    engines: Mapping[str, Engine]
    unjudged: Mapping[str, Event] = field(default_factory=dict)
    sessions: Sessions = field(default_factory=Sessions)
    alone: threading.Lock = field(default_factory=threading.Lock)
    warnings: list[str] = field(default_factory=list)
    recorded: dict[str, dict[str, object]] = field(default_factory=dict)
    recalling: set[str] = field(default_factory=set)
    trouble: dict[str, dict[str, object]] = field(default_factory=dict)

    def warm(self) -> None:
        """Start the processes and read earlier reports, in threads: the page comes at once."""
        threads = [threading.Thread(target=self._start_engines, name="edgeproof demo engines", daemon=True)]
        if self.recall is not None:
            self.recalling.update(model.key for model in self._judged)
            threads.append(threading.Thread(target=self._recall, name="edgeproof demo reports", daemon=True))
        for thread in threads:
            thread.start()

    def close(self) -> None:
        """End all processes and runs."""
        for engine in self.engines.values():
            engine.end()
        self.sessions.close()

    def state(self, runs: Mapping[str, Run]) -> dict[str, object]:
        """Give what changes, as the page draws it: a file that is no longer that of the start has no verdict."""
        changed: dict[str, dict[str, object]] = {}
        for model in self.models:
            try:
                check_stamps(model.path, model.seal)
            except EdgeproofError as error:
                changed[model.key] = failure(error)
        return {
            "runs": {key: run.state() for key, run in runs.items() if key not in changed or run.gated is None},
            "recorded": {key: verdict for key, verdict in self.recorded.copy().items() if key not in changed},
            "recalling": sorted(self.recalling),
            "trouble": self.trouble | dict(self.unjudged) | changed,
        }

    def described(self) -> dict[str, object]:
        """Give what does not change, as the page draws it."""
        forget = [probe for probe in self.pack.probes if probe.role == Role.FORGET]
        known, names = _known(self.sheet.baselines), shown_names(self.models)
        return {
            "name": self.pack.name,
            "sentence": self.pack.description,
            "subjects": list(dict.fromkeys(probe.cluster for probe in forget)),
            "models": [
                {
                    "key": model.key,
                    "name": names[model.key],
                    "judged": model in self._judged,
                    "format": model.format_name,
                    "size": model.seal.size,
                    "survival": drawing.survival(model.survival),
                }
                for model in self.models
            ],
            "ways": [
                {
                    "name": way.name,
                    "title": way.title,
                    "meaning": way.meaning,
                    "asked": way.asked,
                    "chat": way.surface.kind in CHAT_KINDS,
                }
                for way in self.sheet.ways.values()
            ],
            "questions": [
                {
                    "text": message(probe),
                    "subject": probe.question,
                    "answer": probe.answer,
                    "role": str(probe.role),
                    "known": known.get(probe.id, 0.0),
                }
                for probe in self.pack.probes
                if probe.role != Role.HOLDOUT
            ],
            "limits": {"queries": self.policy.leak_queries, "probability": self.policy.leak_probability},
            "longest": LONGEST_QUESTION,
        }

    @property
    def _judged(self) -> list[DemoModel]:
        """The files that the gate can judge with this baseline."""
        return [model for model in self.models if model.key != ORIGINAL and model.key not in self.unjudged]

    def _start_engines(self) -> None:
        for model in self.models[:2]:
            try:
                self.engines[model.key].open()
            except EdgeproofError:
                continue  # told to whoever asks

    def _recall(self) -> None:
        assert self.recall is not None
        for model in self._judged:
            try:
                judgement = self.recall(model.path)
            except EdgeproofError as error:
                self.trouble[model.key] = failure(error)
            else:
                if judgement is not None:
                    self.recorded[model.key] = drawing.verdict(judgement)
            self.recalling.discard(model.key)


def _known(baselines: Mapping[str, Baseline]) -> dict[str, float]:
    """Say how well the original knows each probe, asked plainly: what it is shown with is what it can answer."""
    known: dict[str, float] = {}
    for baseline in baselines.values():
        for score in baseline.base.scores:
            if baseline.kinds[score.surface] in PLAIN_KINDS:
                known[score.probe] = known.get(score.probe, 0.0) + score.right + math.exp(score.emission_logprob)
    return known


def prepare_show(
    models: Sequence[DemoModel],
    criteria: Criteria,
    *,
    gate: Gate,
    recall: Callable[[Path], Judgement | None] | None,
    chat: bool,
    unjudged: Mapping[str, Event] = MappingProxyType({}),
) -> Show:
    """Put together what is shown. `chat` says whether the files have a chat template; the rest is `Show`'s."""
    pack = criteria.pack
    sheet = Sheet(Questions(pack), {way.name: way for way in ways(pack, chat=chat)}, criteria.baselines)
    engines = {model.key: Engine(model, sheet) for model in models}
    return Show(pack, criteria.policy, models, sheet, gate, recall, engines, unjudged)
