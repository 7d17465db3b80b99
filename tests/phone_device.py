"""A device in Python: answers a job through the probe and writes evidence, as docs/phone-job.md has it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from edgeproof.contracts.progress import no_beat
from edgeproof.runtime.probe.program import Program

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PART = 64 << 10
DEVICE = {
    "manufacturer": "Google", "model": "Pixel 8", "android": "15", "api": "35", "build": "google/shiba/shiba:15",
    "soc": "Google Tensor G3", "abi": "arm64-v8a", "driver": "mali",
}  # fmt: skip


class Answers:
    """All answers to a job, in order, and what the engine says of itself."""

    def __init__(self, job: Mapping[str, Any], command: Sequence[str], model: Path, *, scores: bool = True) -> None:
        self.job, self.found = job, dict[int, dict[str, Any]]()
        self._program = Program(list(command), patience=600, beat=no_beat)
        try:
            self.info: Any = self._program.ask({"open": {"model": str(model), "threads": 1}})["info"]
            for request in job["requests"]:
                if scores or "generate" in request:
                    self._answer(request, scores=scores)
            self.usage: Any = self._program.ask({"usage": True})["usage"]
        finally:
            self._program.close()

    def _answer(self, request: Mapping[str, Any], *, scores: bool) -> None:
        if scores and "unless" in request and all(self.found[request["unless"]]["greedy"]):
            return
        kind = "score" if "score" in request else "generate"
        asked = dict(request[kind])
        spliced = asked.pop("splice", None)
        asked["context"] = self._spliced(spliced) if spliced is not None else self.job["contexts"][asked["context"]]
        self._program.send({"id": request["id"], kind: asked})
        if kind == "generate":
            self._program.send({"flush": True})
        answer = self._program.receive()
        self.found[request["id"]] = answer | ({} if spliced is None else {"context": asked["context"]})

    def _spliced(self, number: int) -> list[int]:
        splice = self.job["splices"][number]
        asked = self.job["requests"][splice["reply"]]["generate"]
        assert asked["stop"] == []
        said: Any = self._program.ask({"spell": {"tokens": self.found[splice["reply"]]["tokens"], "special": True}})
        text = bytes.fromhex(said["bytes"]).decode("utf-8", "replace")
        ends = list(re.finditer(self.job["end_of_reasoning"], text))
        reply = (text[ends[-1].end() :] if ends else text).strip() or splice["empty"]
        tokens: Any = self._program.ask({"tokenize": {"text": reply.join(splice["parts"])}})["tokens"]
        bos = self.job["bos"]
        while bos is not None and tokens[:1] == [bos]:
            tokens = tokens[1:]
        return tokens if bos is None else [bos, *tokens]


def header(answers: Answers, **engine: object) -> dict[str, Any]:
    """Return the first line of the evidence."""
    info, usage = answers.info, answers.usage
    return {
        "edgeproof_evidence": 1,
        "job": answers.job["id"],
        "artifact_sha256": info["sha256"],
        "device": DEVICE,
        "engine": {
            "name": "probe", "version": info["engine"], "asked": answers.job["compute"], "computed": "cpu",
            "detail": "CPU", "scores": True, "program_sha256": "0" * 64, "variant": info["variant"],
            "features": info["features"], "threads": info["threads"], "resumed": info["resumed"], **engine,
        },
        "usage": {"tokens_per_second": usage["tokens"] / usage["seconds"], "peak_rss": usage["peak_rss"]},
        "app": "test",
    }  # fmt: skip


def write_evidence(
    out: Path, first: Mapping[str, Any], lines: Sequence[str], key: str, *, verdict: str = "NOTHING AGAINST IT"
) -> Path:
    """Seal `lines` after the header, with a summary at the end."""
    summary = {"answers": len(lines), "verdict": verdict, "counts": {}}
    plain = "".join(f"{line}\n" for line in (*lines, json.dumps(summary))).encode("ascii")
    top = json.dumps(first)
    bound = hashlib.sha256(top.encode()).hexdigest()
    written = [top]
    for part, start in enumerate(range(0, len(plain), PART)):
        nonce = os.urandom(12)
        data = f"edgeproof evidence 1\n{first['job']}\n{part}\n{bound}".encode()
        sealed = nonce + AESGCM(base64.b64decode(key)).encrypt(nonce, plain[start : start + PART], data)
        written.append(json.dumps({"part": part, "sealed": base64.b64encode(sealed).decode()}))
    written.append(json.dumps({"end": True, "parts": len(written) - 1, **summary}))
    out.write_text("".join(f"{line}\n" for line in written), encoding="ascii")
    return out
