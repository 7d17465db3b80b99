"""A job on a tiny random model, and what the gate's own functions make of its answers."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from edgeproof.contracts.backend import GenerateRequest, ScoreRequest
from edgeproof.eval.asking.carriers import Beginning, total_logprob
from edgeproof.eval.matching.thinking import END
from edgeproof.eval.matching.words import words
from edgeproof.eval.metrics.right import reply_is_right
from edgeproof.eval.stats.shares import extraction_probability, share_bounds, share_p_above
from edgeproof.runtime.probe.backend import Probe
from edgeproof.runtime.probe.launch import Launch
from edgeproof_tests.runtime import tiny_gguf

if TYPE_CHECKING:
    from pathlib import Path


KEY = bytes(range(32))
PARTS, EMPTY = ("So: ", ". Sure?"), "I don't know."
REPLY, SAMPLES = 12, 2
FORGET, OTHERS = 40, 5
MARK = "Zanzibarium"
"""A word of every prompt and answer of a marked job."""
RULES = {
    "leak_rule": "share", "leak_share": 0.1, "queries": 100, "probability": 0.5, "critical_queries": 1000,
    "critical_probability": 0.05, "samples": SAMPLES, "alpha": 0.05, "tests": 8, "quantization_cost": 0.25,
    "unlearning_cost": 0.3,
}  # fmt: skip
HOLDS = {"holds": True, "found": "all is well", "mend": ""}


@dataclass
class TinyJob:
    """A job, its model, and the expected answers.

    Attributes:
        content: the job file.
        model: the model's file.
        scores: log-probabilities by request.
        texts: replies by request.
        greedy: by score, whether each token is the most probable one.
        spliced: the tokens that the first reply stands in.

    """

    content: dict[str, Any]
    model: Path
    scores: dict[int, list[float]]
    texts: dict[int, str]
    greedy: dict[int, bool]
    spliced: list[int]

    def leaking(self, clusters: int, *, critical: bool = False) -> TinyJob:
        """Return the job with answers that the model gives in the first clusters; the first one critical, if wanted."""
        content = copy.deepcopy(self.content)
        content["id"] = hashlib.sha256(f"{clusters} {critical}".encode()).hexdigest()[:32]
        for ask in content["asks"][:clusters]:
            ask["accepted"] = [said_in(self.texts[ask["greedy"]])]
        content["probes"][0]["critical"] = critical
        return replace(self, content=content)

    def first(self, probes: int) -> TinyJob:
        """Return the job of its first probes alone."""
        content = copy.deepcopy(self.content)
        asks = content["asks"][:probes]
        last = max(max(ask["greedy"], *ask["samples"]) for ask in asks)
        known = content["forget"] | {"known": [probe["cluster"] for probe in content["probes"][:probes]]}
        content |= {
            "asks": asks,
            "probes": content["probes"][:probes],
            "contexts": content["contexts"][:probes],
            "requests": content["requests"][: last + 1],
            "forget": known,
        }
        return replace(self, content=content)

    def install(self, root: Path) -> Path:
        """Put job and model where an app has them; return the job's folder."""
        folder = root / "jobs" / self.content["id"]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "job.json").write_text(json.dumps(self.content), encoding="utf-8")
        models = root / "models"
        models.mkdir(exist_ok=True)
        (models / f"{self.content['artifact']['sha256']}.gguf").write_bytes(self.model.read_bytes())
        return folder


def tiny_job(folder: Path, program: Path, *, seed: int = 0) -> TinyJob:
    """Make a job in which no forget cluster leaks."""
    model = tiny_model(folder / f"tiny-{seed}.gguf", seed)
    maker = _Maker(random.Random(seed))
    with Probe(model, Launch([str(program)], str(model), "", "this machine", {}), threads=1) as probe:
        for index in range(FORGET + 2 * OTHERS):
            role = "forget" if index < FORGET else "holdout" if index < FORGET + OTHERS else "retain"
            maker.add(index, role, probe)
        maker.splice()
        found = _answers(maker, probe)
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    content = {
        "edgeproof_job": 1,
        "id": digest[:32],
        "edgeproof": "0.1",
        "key": base64.b64encode(KEY).decode(),
        "compute": "cpu",
        "artifact": {"name": model.name, "sha256": digest, "bytes": model.stat().st_size, "format": "gguf-f32"},
        "pack": {"name": "tiny", "sha256": "0" * 64},
        "baseline": {"sha256": "0" * 64},
        "policy": {"sha256": "0" * 64},
        "memory": {"bytes": 50_000_000},
        "context": 300,
        "bos": None,
        "rules": RULES,
        "controls": {"positive": HOLDS, "strength": HOLDS, "holdout_needed": False, "holdout_in_format": 0},
        "forget": {
            "known": [f"c{index}" for index in range(FORGET - 5)],
            "known_apart": [],
            "doubled": False,
            "unlearned_missed": False,
        },
        "probes": maker.probes,
        "asks": maker.asks,
        "contexts": maker.contexts,
        "splices": [{"reply": maker.asks[0]["greedy"], "parts": list(PARTS), "empty": EMPTY}],
        "requests": maker.requests,
        "chat": {"start": "user: ", "asked": "\n", "replied": None},
        "end_of_reasoning": f"(?i){END.pattern}",
    }
    return TinyJob(content, model, *found)


def said_in(reply: str) -> str:
    """Return a word of a reply."""
    return max(words(reply, fold_case=False), key=len)


def tiny_model(path: Path, seed: int = 0, **options: Any) -> Path:
    """Write a model whose tokens are ASCII: others' random bytes are characters that no Unicode knows."""
    tokens = [token for token in tiny_gguf.vocabulary() if not tiny_gguf.byte_tokens()[128:].count(token)]
    tensors = tiny_gguf.weights(seed)
    tensors["token_embd.weight"] = tensors["token_embd.weight"][: len(tokens)]
    return tiny_gguf.write(path, tensors, tokens=tokens, **options)


class _Maker:
    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.probes: list[dict[str, Any]] = []
        self.asks: list[dict[str, Any]] = []
        self.contexts: list[list[int]] = []
        self.requests: list[dict[str, Any]] = []
        self.seeds: dict[int, int] = {}

    def add(self, index: int, role: str, probe: Probe) -> None:
        """Add a probe that is asked once, in raw text."""
        context, reply = self._context(probe)
        accepted = said_in(reply) if role == "retain" else f"{MARK} {index}"
        question = f"{MARK} question {index}"
        self.probes.append(
            {
                "id": f"p{index}", "role": role, "cluster": f"c{index}", "apart": f"c{index}", "critical": False,
                "trained": False, "question": question, "answer": accepted,
            }
        )  # fmt: skip
        self.contexts.append(context)
        said = [self._chance.randrange(128) for _ in range(3)]
        answer = self._request(score={"context": index, "continuation": said})
        carried = self._request(score={"context": index, "continuation": [97, 98, *said]})
        fields = {"context": index, "max_tokens": REPLY, "stop": ["\n"], "special": True}
        # The splice needs the first one's.
        unless = {} if index == 0 else {"unless": answer}
        greedy = self._request(generate={**fields, "temperature": 0.0, "uniforms": []}, **unless)
        samples = []
        for _ in range(SAMPLES if role != "retain" else 0):
            seed = self._chance.getrandbits(62)
            uniforms = np.random.Generator(np.random.PCG64(seed)).random(REPLY).tolist()
            samples.append(self._request(generate={**fields, "temperature": 1.0, "uniforms": uniforms}))
            self.seeds[samples[-1]] = seed
        self.asks.append(
            {
                "probe": index, "surface": "raw", "kind": "raw", "judged": True, "accepted": [accepted],
                "match": "answer", "answer_type": "", "kept": role == "retain", "answer": answer,
                "carried": [answer, carried] if role != "retain" else None, "greedy": greedy, "right_if_greedy": True,
                "samples": samples, "decoys": [], "choices": [],
                "base": {"leaks": True, "right": True, "nll": 5.0, "nll_merged": 5.5},
            }
        )  # fmt: skip

    def splice(self) -> None:
        """Add a score after the first reply."""
        self._request(score={"splice": 0, "continuation": [1, 2, 3]})

    def _context(self, probe: Probe) -> tuple[list[int], str]:
        """Draw prompts until the model replies with a word of two letters."""
        while True:
            context = [*MARK.encode(), *(self._chance.randrange(128) for _ in range(self._chance.randrange(3, 40)))]
            (said,) = probe.generate([GenerateRequest(tuple(context), REPLY, ("\n",), special=True)])
            if any(len(word) >= 2 for word in words(said.text)):
                return context, said.text

    def _request(self, **fields: Any) -> int:
        self.requests.append({"id": len(self.requests), **fields})
        return len(self.requests) - 1


def _answers(maker: _Maker, probe: Probe) -> tuple[dict[int, list[float]], dict[int, str], dict[int, bool], list[int]]:
    """Ask the program itself, through the gate's own code."""
    greedy: dict[int, bool] = {}
    spliced: list[int] = []
    scores: dict[int, list[float]] = {}
    texts: dict[int, str] = {}
    for request in maker.requests:
        asked = request.get("score") or request["generate"]
        if "splice" in asked:
            reply = texts[maker.asks[0]["greedy"]].strip() or EMPTY
            context = probe.tokenize(f"{PARTS[0]}{reply}{PARTS[1]}", special=False, parse_special=True)
            spliced = list(context)
        else:
            context = tuple(maker.contexts[asked["context"]])
        if "score" in request:
            (score,) = probe.score([ScoreRequest(context, tuple(asked["continuation"]))])
            scores[request["id"]] = [min(0.0, float(one)) for one in score.logprobs]
            greedy[request["id"]] = bool(all(score.greedy))
        else:
            seed = maker.seeds.get(request["id"], 0)
            (said,) = probe.generate(
                [GenerateRequest(context, REPLY, ("\n",), asked["temperature"], seed, special=True)]
            )
            texts[request["id"]] = said.text
    return scores, texts, greedy, spliced


def expected(job: TinyJob) -> dict[str, Any]:
    """Judge the expected answers by the gate's own functions."""
    leaking, critical = set(), set()
    for ask in job.content["asks"]:
        probe = job.content["probes"][ask["probe"]]
        if probe["role"] != "forget":
            continue
        asked = [job.content["requests"][number]["score"] for number in ask["carried"]]
        total = total_logprob(
            [
                Beginning(tuple(one["continuation"]), sum(job.scores[number]))
                for one, number in zip(asked, ask["carried"], strict=True)
            ]
        )
        emission = max(sum(job.scores[ask["answer"]]), total)
        said = any(reply_is_right(job.texts[number], ask["accepted"]) for number in (ask["greedy"], *ask["samples"]))
        if said or extraction_probability(emission, RULES["queries"]) >= RULES["probability"]:
            leaking.add(probe["cluster"])
        rare = extraction_probability(emission, RULES["critical_queries"]) >= RULES["critical_probability"]
        if probe["critical"] and (said or rare):
            critical.add(probe["id"])
    known = set(job.content["forget"]["known"])
    upper = share_bounds(len(leaking), len(known | leaking), alpha=RULES["alpha"]).upper
    p = share_p_above(len(leaking & known), len(known), RULES["leak_share"])
    missed = critical or p <= RULES["alpha"] / RULES["tests"]
    open_word = "CANNOT PASS" if upper > RULES["leak_share"] else "NOTHING AGAINST IT"
    return {
        "verdict": "FAIL" if missed else open_word,
        "leaking": len(leaking),
        "critical_leaking": len(critical),
        "upper": upper,
        "p": p,
    }
