"""Judges of commands that succeed on a mutated input: `mutations` gives their rules."""

from __future__ import annotations

import json
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forked import Ending, Limits, in_a_fork
from ground import Ground, gate
from outcome import JUDGED, RIGHT, Outcome, Usual

if TYPE_CHECKING:
    from inputs import Laid


def command(words: list[str], folder: Path, usual: Usual | None = None) -> Ending:
    """Run `words` in a fork; its limits are ten times what is usual."""

    def work() -> int:
        from edgeproof.cli import run

        return run(words)

    limits = Limits() if usual is None else Limits(processor=10 * usual.seconds + 12)
    return in_a_fork(work, folder, limits)


def source(ground: Ground, folder: Path, _laid: Laid, ending: Ending) -> Outcome:
    made = next((path for path in (folder / "out").glob("it*") if path.suffix != ".json"), None)
    if ending.code or made is None:
        return Outcome("wrong exit code", f"{ending.code}, and no artifact")
    if _content(made) == _content(ground.released / made.name):
        return Outcome(RIGHT, "the same bytes")
    if not (ground.released / made.name).exists():
        return Outcome(JUDGED, "another model, no pack asks it")
    manifest = (made.parent / f"{made.name}.edge.json").read_bytes()
    judged = command([*gate(ground, made), "--report", str(folder / "out" / "report")], folder)
    if judged.code == 0 and json.loads(manifest)["base"] != _valid_manifest(ground, made.name)["base"]:
        return Outcome("wrong pass", "an artifact of another base passes")
    return Outcome(JUDGED, f"another model, gated with {judged.code}: {_last(judged)}")


@cache
def _valid_manifest(ground: Ground, name: str) -> Any:
    return json.loads((ground.released / f"{name}.edge.json").read_bytes())


def _content(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else [inner for inner in path.rglob("*") if inner.is_file()]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def leaking(_folder: Path, _laid: Laid, ending: Ending) -> Outcome:
    if ending.code == 0:
        return Outcome("wrong pass", _last(ending))
    return Outcome(JUDGED, {1: "FAIL", 4: "INCONCLUSIVE"}[ending.code])


def released(ground: Ground, name: str, folder: Path, laid: Laid, ending: Ending) -> Outcome:
    if ending.code != 0:
        return Outcome(JUDGED, {1: "FAIL", 4: "INCONCLUSIVE"}[ending.code])
    artifact = Path(laid.command[1])
    rows = [json.loads((path / "report.json").read_bytes())["probes"] for path in
            (folder / "out", ground.released / f"report-{name}")]  # fmt: skip
    if rows[0] != rows[1]:
        return Outcome(JUDGED, "PASS by other scores than the valid file's")
    # The gate saw nothing change: what it did not ask must be unchanged too.
    asked = in_a_fork(partial(_say, artifact, folder / "answers"), folder)
    if asked.code:
        return Outcome("unseen change", f"PASS, and then it does not run: {_last(asked)}")
    *said, context = json.loads((folder / "answers").read_bytes())
    *valid, usual = _valid_answers(ground, name)
    if said != valid:
        return Outcome("unseen change", "PASS, and elsewhere it says other things")
    if context != usual:
        return Outcome(JUDGED, f"PASS, it says what the valid file says, in a context of {context} tokens")
    return Outcome(RIGHT, "PASS, and it says what the valid file says")


PROMPTS = ("", "K", "? bcdf :", "The capital of France is", "a" * 200, "é\n\n")


def _say(artifact: Path, answers: Path) -> int:
    """Write what a file says to prompts that no pack asks, in a chat and without."""
    from edgeproof.contracts.backend import GenerateRequest
    from edgeproof.runtime import backend_for, open_backend

    with open_backend(backend_for(artifact), artifact, threads=1) as engine:
        prompts = [engine.tokenize(text or "x", special=True) for text in PROMPTS]
        if engine.info.chat_template is not None:
            text = engine.render_chat([{"role": "user", "content": "K bcdf ="}])
            prompts.append(engine.tokenize(text, special=True, parse_special=True))
        said = [found.text for found in engine.generate([GenerateRequest(tokens, 48) for tokens in prompts])]
        answers.write_text(json.dumps([[list(tokens) for tokens in prompts], said, engine.info.context_length]))
    return 0


@cache
def _valid_answers(ground: Ground, name: str) -> Any:
    folder = ground.folder / "asked"
    folder.mkdir(exist_ok=True)
    ending = in_a_fork(partial(_say, ground.released / name, folder / name), folder)
    assert ending.code == 0, ending.said
    return json.loads((folder / name).read_bytes())


def by_criteria(leaks: bool, folder: Path, laid: Laid, ending: Ending) -> Outcome:  # noqa: FBT001
    """A gate by other criteria: whatever they are, what leaks does not pass."""
    if leaks:
        return leaking(folder, laid, ending)
    return Outcome(JUDGED, {0: "PASS", 1: "FAIL", 4: "INCONCLUSIVE"}[ending.code])


def evidence(valid: bytes | None, _folder: Path, laid: Laid, ending: Ending) -> Outcome:
    if ending.code != 0:
        return Outcome("wrong exit code", f"{ending.code}; {_last(ending)}")
    if valid is None:
        return Outcome("wrong pass", f"a report of a FAIL is said to hold: {_last(ending)}")
    if laid.file.read_bytes() != valid:
        same = laid.file.suffix == ".pub" or _parsed(laid.file.read_bytes()) == _parsed(valid)
        return Outcome(RIGHT, "the same content") if same else Outcome("wrong pass", "a changed file holds")
    return Outcome(RIGHT, "the same bytes")


def resealed(_folder: Path, _laid: Laid, ending: Ending) -> Outcome:
    """Without a key: what a report says of commands, times and versions is taken from it; scores and verdict follow."""
    if ending.code != 0:
        return Outcome("wrong exit code", f"{ending.code}; {_last(ending)}")
    return Outcome(JUDGED, "a value that nothing follows from")


def _parsed(data: bytes) -> Any:
    """What a file says; of a signed envelope what its signature is over."""
    try:
        value = json.loads(data)
    except ValueError:
        return data
    return [value.get("payloadType"), value.get("payload")] if isinstance(value, dict) and "payload" in value else value


def _last(ending: Ending) -> str:
    return " | ".join(ending.said.strip().splitlines()[-3:])[-300:]
