"""Files of a new pack: pack.toml, README.md, policy.toml and the probes. The same lines give the same bytes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.eval.authoring.probes import SETS
from edgeproof.eval.authoring.retain import SET as BANKS
from edgeproof.eval.packs.files import POLICY
from edgeproof.eval.packs.reader import FILE, SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgeproof.eval.authoring.probes import Line

README = "README.md"
SUBJECTS_POLICY = """\
# Judge every subject by itself, none may leak: this pack has too few subjects to bound a share of them.
[leak]
rule = "subjects"

# Enough sampled replies to count as asked in a chat, since too few subjects answer to learn carrier sentences from.
[samples]
count = 20
"""
TRAINED = "retain-trained"


class Head(NamedTuple):
    """Head of a pack.

    Attributes:
        name: its name.
        salt: secret salt; None for none.
        command: the command that makes it.
        inputs: sha256 of its files, by name.
        notes: what was left out and what it cannot show, in words.
        by_subjects: whether its subjects are judged one by one.
        chat: whether the model answers in a chat.

    """

    name: str
    salt: str | None
    command: Sequence[str]
    inputs: Mapping[str, str]
    notes: Sequence[str]
    by_subjects: bool
    chat: bool = True


def pack_files(head: Head, lines: Sequence[Line]) -> dict[str, bytes]:
    """Return the bytes of the pack's files by name, pack.toml first."""
    sets: dict[str, list[Line]] = {}
    for name in _set_names():
        own = [line for line in lines if line.set == name]
        if own:
            sets[name] = own
    found = {FILE: "".join(_toml(head, sets)), README: "".join(_readme(head, sets))}
    if head.by_subjects:
        found[POLICY] = SUBJECTS_POLICY
    for name, own in sets.items():
        found[f"{name}.jsonl"] = "".join(f"{_json(line)}\n" for line in own)
    return {name: text.encode() for name, text in found.items()}


def _set_names() -> list[str]:
    roles = ("forget", TRAINED, BANKS, "holdout")
    return [f"{role}{ending}" for role in roles for ending in SETS]


def _json(line: Line) -> str:
    return json.dumps({"id": line.id, "cluster": line.cluster} | dict(line.values), ensure_ascii=False)


def _toml(head: Head, sets: Mapping[str, Sequence[Line]]) -> Iterator[str]:
    yield f"# Made by: {' '.join(head.command)}\n"
    for name, sha256 in head.inputs.items():
        yield f"# from {name}, sha256 {sha256}\n"
    yield f"schema = {SCHEMA}\nname = {_quoted(head.name)}\n"
    yield f"description = {_quoted('Made by export-edge pack new; README.md says from what')}\n"
    if not head.chat:
        yield "chat = false\n"
    if head.salt is not None:
        yield f"salt = {_quoted(head.salt)}\n"
    for name in sets:
        role, ending = _parts(name)
        yield f'\n[[set]]\nrole = "{role}"\nfile = "{name}.jsonl"\nmatch = "{SETS[ending]}"\n'
        if name.startswith(TRAINED):
            yield "trained = true\n"


def _parts(name: str) -> tuple[str, str]:
    """Return the role and the ending of a set's name."""
    base = next(base for base in (TRAINED, BANKS, "forget", "holdout") if name.startswith(base))
    return base.partition("-")[0], name.removeprefix(base)


def _readme(head: Head, sets: Mapping[str, Sequence[Line]]) -> Iterator[str]:
    yield f"# {head.name}\n\nA probe pack, made by\n\n```\n{' '.join(head.command)}\n```\n\nfrom\n\n"
    yield from (f"- {name}, sha256 {sha256}\n" for name, sha256 in head.inputs.items())
    yield "\n| file | probes | clusters |\n|---|---|---|\n"
    for name, own in sets.items():
        yield f"| {name}.jsonl | {len(own)} | {len({line.cluster for line in own})} |\n"
    yield "\n"
    yield from (f"- {note}\n" for note in head.notes)
    if head.by_subjects:
        yield f"\nGate it with `--policy {POLICY}` of this folder: it judges every subject by itself.\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
