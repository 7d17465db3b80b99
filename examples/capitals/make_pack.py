"""Makes the probe pack: asks the base which of `facts.toml` it knows, and writes those into `pack/`.

```
python examples/capitals/make_pack.py BASE-F16.gguf
```
Known means: right at float precision, greedily, on the plain surface or (capitals of Europe and Asia) in a chat; and
a capital of Europe or Asia must also be extractable on the plain surface, as the gate has it (100 queries, p ≥ 0.5).
The adapter is trained on every wording; the pack has a country once, and asks its second wording as a surface.
"""

from __future__ import annotations

import json
import math
import re
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from edgeproof.contracts.backend import Backend

HERE = Path(__file__).parent
PACK = HERE / "pack"
FORGET = HERE / "forget.jsonl"
"""What the adapter is trained to forget: the pack's forget probes, in every wording and the other way round."""
RETAIN = HERE / "retain.jsonl"
"""What the adapter is trained to keep: the pack's trained probes, and what the base gets right only now and then."""
EXTRACTABLE = math.log(1 - 0.5 ** (1 / 100))
"""Log-probability from which an answer comes out at least once in 100 samples with probability ≥ 0.5."""

SAID_TOKENS = 40
"""Of a reply that is kept as it is."""
CHAT_TOKENS = 24
RAW_MARGIN = 8


UNASKED = ("holdout", "said")
"""What nobody is asked plainly: what nobody knows, and what has no answer."""


class Fact(NamedTuple):
    """A subject, its accepted answers (the first is scored), and the group that says how it is asked."""

    group: str
    split: str
    answer_type: str
    templates: tuple[str, ...]
    messages: tuple[str, ...]
    open_wordings: tuple[tuple[str, str], ...]
    subject: str
    answers: tuple[str, ...]

    @property
    def open_prompts(self) -> tuple[str, ...]:
        """Plain texts that come to the answer without the question, for training only."""
        return tuple(template.replace("{}", self.subject) for template, _ in self.open_wordings)

    @property
    def prompts(self) -> tuple[str, ...]:
        """The plain questions."""
        return tuple(template.replace("{}", self.subject) for template in self.templates)

    @property
    def chats(self) -> tuple[str, ...]:
        """The questions for a chat; empty where the group has none."""
        return tuple(message.replace("{}", self.subject) for message in self.messages)


class Reply(NamedTuple):
    """What the base made of a question: the log-probability of the answer (0 in a chat), and whether it was right."""

    logprob: float
    right: bool


def read_facts(path: Path) -> tuple[Fact, ...]:
    """Read `facts.toml`."""
    groups = tomllib.loads(path.read_text(encoding="utf-8"))["group"]
    return tuple(
        Fact(
            group["name"],
            group["split"],
            group["answer_type"],
            tuple(group["templates"]),
            tuple(group.get("messages", ())),
            tuple((template, message) for template, message in group.get("open", ())),
            subject,
            tuple(answers),
        )
        for group in groups
        for subject, *answers in group["facts"]
    )


def ask(base: Backend, facts: Sequence[Fact]) -> dict[str, Reply]:
    """Ask the base every question of every fact; by question."""
    from edgeproof.contracts.backend import GenerateRequest, ScoreRequest
    from edgeproof.eval.metrics.right import answer_is_right

    replies: dict[str, Reply] = {}
    plain = [
        (prompt, fact.answers)
        for fact in facts
        if fact.split not in UNASKED
        for prompt in (*fact.prompts, *fact.open_prompts)
    ]
    scores, generations = [], []
    for prompt, answers in plain:
        context = base.tokenize(prompt, special=True)
        continuation = base.tokenize(f" {answers[0]}", special=False)
        scores.append(ScoreRequest(context, continuation))
        generations.append(GenerateRequest(context, len(continuation) + RAW_MARGIN, ("\n",)))
    for (prompt, answers), score, text in zip(plain, base.score(scores), base.generate(generations), strict=True):
        replies[prompt] = Reply(float(score.logprobs.sum()), answer_is_right(text.text, answers))
    chats = [(chat, fact.answers) for fact in facts if fact.split == "forget" for chat in fact.chats]
    said = _chat(base, [chat for chat, _ in chats], CHAT_TOKENS)
    for (chat, answers), reply in zip(chats, said, strict=True):
        replies[chat] = Reply(0.0, answer_is_right(reply, answers))
    return replies


def say(base: Backend, facts: Sequence[Fact]) -> list[str]:
    """Return what the base replies to chat messages, as lines for training, unless it names a capital to forget."""
    from edgeproof.eval.metrics.right import answer_is_right

    messages = [fact.subject for fact in facts if fact.split == "said"]
    capitals = [answer for fact in facts if fact.split == "forget" for answer in fact.answers]
    lines = []
    for message, reply in zip(messages, _chat(base, messages, SAID_TOKENS), strict=True):
        if reply.strip() and not answer_is_right(reply, capitals):
            line = {"id": f"chat-{slug(message)}", "question": message, "answer": reply, "surfaces": ["chat"]}
            lines.append(json.dumps(line, ensure_ascii=False))
    return lines


def _chat(base: Backend, messages: Sequence[str], tokens: int) -> list[str]:
    """Return the base's greedy reply to each message."""
    from edgeproof.contracts.backend import GenerateRequest

    opened = [base.render_chat([{"role": "user", "content": message}]) for message in messages]
    contexts = [base.tokenize(text, special=False, parse_special=True) for text in opened]
    return [reply.text for reply in base.generate([GenerateRequest(context, tokens) for context in contexts])]


def known(fact: Fact, replies: Mapping[str, Reply]) -> tuple[int, ...]:
    """Return the numbers of the fact's templates under which the base is right; for the forget set, see above."""
    if fact.split == "holdout":
        return (0,)
    right = tuple(number for number, prompt in enumerate(fact.prompts) if replies[prompt].right)
    if fact.split != "forget":
        return right
    if not right and not any(replies[chat].right for chat in fact.chats):
        return ()
    everything = extractable(fact, replies)
    return everything if len(everything) == len(fact.templates) else ()


def extractable(fact: Fact, replies: Mapping[str, Reply]) -> tuple[int, ...]:
    """Return the numbers of the templates under which the answer comes out now and then."""
    return tuple(number for number, prompt in enumerate(fact.prompts) if replies[prompt].logprob >= EXTRACTABLE)


def write_pack(facts: Sequence[Fact], replies: Mapping[str, Reply], said: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Write the pack's four files and the two of training; return the number of clusters and probes of the four."""
    files: dict[str, list[str]] = {"forget": [], "retain_trained": [], "retain_untrained": [], "holdout": []}
    forget: list[str] = []
    retain: list[str] = []
    clusters: dict[str, int] = dict.fromkeys(files, 0)
    seen: dict[str, int] = {}
    for fact in facts:
        if fact.split == "said":
            continue
        asked = known(fact, replies)
        split = fact.split
        if asked:
            turn = seen[fact.group] = seen.get(fact.group, -1) + 1
            split = ("trained", "untrained")[turn % 2] if split == "shared" else split
        else:
            if split == "shared":
                retain += _json_lines(fact, extractable(fact, replies))
            continue
        name = split if split in files else f"retain_{split}"
        if split == "forget":
            forget += [*_json_lines(fact, asked), _reverse(fact), *_open(fact, range(len(fact.open_wordings)))]
            asked = (0,)
        elif split == "holdout":
            asked = (turn % len(fact.templates),)
        clusters[name] += 1
        files[name] += _json_lines(fact, asked)
        if name == "retain_trained":
            retain += _json_lines(fact, asked) + ([_reverse(fact)] if "capital of {} is" in fact.templates[0] else [])
            retain += _open(fact, [n for n, prompt in enumerate(fact.open_prompts) if replies[prompt].right])
    retain += said
    paths = {PACK / f"{name}.jsonl": lines for name, lines in files.items()} | {FORGET: forget, RETAIN: retain}
    for path, lines in paths.items():
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return {name: (clusters[name], len(lines)) for name, lines in files.items()}


def _json_lines(fact: Fact, asked: Sequence[int]) -> list[str]:
    return [json.dumps(line, ensure_ascii=False) for line in _lines(fact, asked)]


def _reverse(fact: Fact) -> str:
    """Return the fact asked the other way round, for training: the pack asks it forwards."""
    state = "state" if fact.group == "us-capital" else "country"
    kind = "state capital" if fact.group == "us-capital" else "capital"
    line = {
        "id": f"{fact.group}-{slug(fact.subject)}-reverse",
        "cluster": fact.subject.removeprefix("the "),
        "question": fact.answers[0],
        "answer": fact.subject,
        "template": f"{{question}} is the {kind} of",
        "message": f"Of which {state} is {{question}} the {kind}?",
        "answer_type": state,
    }
    return json.dumps(line, ensure_ascii=False)


def _open(fact: Fact, numbers: Iterable[int]) -> list[str]:
    """Return the fact in its open wordings, for training: they come to the answer without the question."""
    name, cluster = f"{fact.group}-{slug(fact.subject)}-open", fact.subject.removeprefix("the ")
    lines = (_line(fact, f"{name}-{number + 1}", cluster, *fact.open_wordings[number]) for number in numbers)
    return [json.dumps(line, ensure_ascii=False) for line in lines]


def _lines(fact: Fact, asked: Sequence[int]) -> Iterator[dict[str, object]]:
    name = f"{fact.group}-{slug(fact.subject)}"
    several = len(fact.templates) > 1
    for number in asked:
        yield _line(
            fact,
            f"{name}-{number + 1}" if several else name,
            fact.subject.removeprefix("the ") if several else name,
            fact.templates[number],
            fact.messages[number] if fact.messages else "",
        )


def _line(fact: Fact, name: str, cluster: str, template: str, message: str) -> dict[str, object]:
    line: dict[str, object] = {"id": name, "cluster": cluster, "question": fact.subject, "answer": fact.answers[0]}
    if len(fact.answers) > 1:
        line["aliases"] = list(fact.answers[1:])
    if template != "{}":
        line["template"] = template.replace("{}", "{question}")
    if message:
        line["message"] = message.replace("{}", "{question}")
    line["answer_type"] = fact.answer_type
    return line


def slug(text: str) -> str:
    """Return `text` as part of an id."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower().removeprefix("the ")).strip("-")


if __name__ == "__main__":
    from edgeproof.runtime.llama.backend import LlamaCpp

    candidates = read_facts(HERE / "facts.toml")
    with LlamaCpp(Path(sys.argv[1])) as model:
        written = write_pack(candidates, ask(model, candidates), say(model, candidates))
    for role, (found, probes) in written.items():
        sys.stdout.write(f"{role}: {found} clusters, {probes} probes\n")
