"""Reader for the evaluation files of MUSE and TOFU, as published.

```
MUSE   verbmem/forget.json  knowmem/{forget,retain}_qa[_icl].json  privleak/{forget,holdout}.json   (load_data.py's)
TOFU   forget10_perturbed.json  retain_perturbed.json  real_authors_perturbed.json  world_facts_perturbed.json
       holdout10.json                                                          (those of locuslab/TOFU, JSON or JSONL)
```
A role is the purpose of a file: in MUSE its folder and name, in TOFU "forget", "retain", "real_authors", …
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import InputError, PackError, UsageError
from edgeproof.eval.packs import fields
from edgeproof.eval.packs.files import plain_file
from edgeproof.eval.packs.formats import TextSplit, read_muse_knowmem, read_muse_verbmem, read_tofu

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from edgeproof.eval.packs.formats import RawProbe

ROLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "MUSE": (
            "verbmem/forget",
            "knowmem/forget_qa",
            "knowmem/forget_qa_icl",
            "knowmem/retain_qa",
            "knowmem/retain_qa_icl",
            "privleak/forget",
            "privleak/holdout",
        ),
        "TOFU": ("forget", "retain", "real_authors", "world_facts", "holdout"),
    }
)
"""The roles of each suite."""

SUFFIXES = (".json", ".jsonl")
_WHOLE = TextSplit(1, 1)
_DOCUMENTED = "docs/metrics.md describes the files"


class Item(NamedTuple):
    """One item of a file. `prompt` is a question, or the text before `answer`; "" for a bare text.

    `id` is its index in the file, from "0", as in OpenUnlearning. `where` names it in messages.
    """

    id: str
    where: str
    prompt: str
    answer: str
    paraphrased: str | None = None
    perturbed: tuple[str, ...] = ()


class Source(NamedTuple):
    """A given file: its path, and its role if given by name."""

    path: Path
    role: str | None = None


class Data(NamedTuple):
    """The files of one suite, by role, with their items."""

    suite: str
    files: Mapping[str, Path]
    items: Mapping[str, tuple[Item, ...]]


def load_data(sources: Sequence[Source]) -> Data:
    """Determine the role of each file, read all, and check that they are of one suite.

    A source is a file, or a folder in a suite's layout; files named by role replace those of a folder.

    Raises:
        UsageError: an unknown role.
        InputError: no files, files of two suites, two files for one role, or a file is broken or lacks a field.

    """
    found: dict[str, Path] = {}
    for source in sources:
        if source.role is None:
            for role, path in (_in_folder(source.path) if source.path.is_dir() else _alone(source.path)).items():
                if role in found and found[role].resolve() != path.resolve():
                    raise InputError(
                        f"both {found[role]} and {path} are the file for {role}",
                        next_step=f"name the file to use: --data {role}=FILE",
                    )
                found[role] = path
    for source in sources:
        if source.role is not None:
            found[_known(source.role)] = source.path
    _add_examples(found)
    suites = sorted({suite for suite, roles in ROLES.items() for role in roles if role in found})
    if len(suites) != 1:
        raise InputError("the files are of both MUSE and TOFU", next_step="evaluate them separately")
    (suite,) = suites
    return Data(suite, found, {role: _read(role, path) for role, path in found.items()})


def _known(role: str) -> str:
    known = [name for roles in ROLES.values() for name in roles]
    if role not in known:
        raise UsageError(f"no file has the role {role!r}", next_step=f"roles: {', '.join(known)}")
    return role


def _in_folder(folder: Path) -> dict[str, Path]:
    muse = {
        role: folder / f"{role}{suffix}"
        for role in ROLES["MUSE"]
        for suffix in SUFFIXES
        if (folder / f"{role}{suffix}").is_file()
    }
    if muse:
        return muse
    candidates: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        role = _tofu_role(path)
        if role is not None:
            candidates.setdefault(role, []).append(path)
    if not candidates:
        inside = [f"{path.name}/" for path in sorted(folder.iterdir()) if path.is_dir() and _holds_muse(path)]
        raise InputError(
            f"{folder} holds neither MUSE's nor TOFU's files",
            next_step=f"give one of its corpora: {', '.join(inside)}"
            if inside
            else f"name the files by their roles, --data ROLE=FILE; {_DOCUMENTED}",
        )
    return {role: _only(role, paths, candidates) for role, paths in candidates.items()}


def _holds_muse(folder: Path) -> bool:
    return any((folder / f"{role}.json").is_file() for role in ROLES["MUSE"])


def _tofu_role(path: Path) -> str | None:
    """Return a TOFU file's role from its name: forget10_perturbed, retain_perturbed, …, holdout10."""
    if not path.is_file() or path.suffix not in SUFFIXES:
        return None
    name = path.stem
    for role in ("real_authors", "world_facts"):
        if name.startswith(role):
            return role
    if name.startswith("holdout"):
        return "holdout"
    for role in ("forget", "retain"):
        if name.startswith(role) and "perturbed" in name:
            return role
    return None


def _only(role: str, paths: list[Path], candidates: Mapping[str, list[Path]]) -> Path:
    """Return the file for `role`; of several holdouts the one with the forget file's number."""
    if role == "holdout" and len(paths) > 1 and len(candidates.get("forget", ())) == 1:
        numbers = re.findall(r"\d+", candidates["forget"][0].stem)[:1]
        paths = [path for path in paths if re.findall(r"\d+", path.stem)[:1] == numbers] or paths
    if len(paths) > 1:
        raise InputError(
            f"{paths[0].parent} holds several files for {role}: {', '.join(path.name for path in paths)}",
            next_step="name the files to use: --data FILE --data FILE …",
        )
    return paths[0]


def _alone(path: Path) -> dict[str, Path]:
    if not path.is_file():
        raise InputError(f"{path} does not exist", next_step="check the path given to --data")
    role = f"{path.parent.name}/{path.stem}"
    if role not in ROLES["MUSE"]:
        tofu = _tofu_role(path)
        if tofu is None:
            raise InputError(
                f"the role of {path} cannot be derived from its name",
                next_step=f"give its role, --data ROLE={path}; {_DOCUMENTED}",
            )
        role = tofu
    return {role: path}


def _add_examples(found: dict[str, Path]) -> None:
    """Find the few-shot examples beside a KnowMem file, without which the metric would differ."""
    for role in ("knowmem/forget_qa", "knowmem/retain_qa"):
        if role not in found or f"{role}_icl" in found:
            continue
        path = found[role]
        beside = path.with_name(f"{path.stem}_icl{path.suffix}")
        if not beside.is_file():
            raise InputError(
                f"{path} has no few-shot examples beside it ({beside.name})",
                next_step=f"KnowMem asks with ten examples before the question: --data {role}_icl=FILE",
            )
        found[f"{role}_icl"] = beside


def _read(role: str, path: Path) -> tuple[Item, ...]:
    if not path.is_file():
        raise InputError(
            f"{path} {'is a folder' if path.is_dir() else 'does not exist'}", next_step=f"give the file for {role}"
        )
    try:
        if role.startswith("privleak/"):
            items = tuple(_texts(path))
        else:
            items = tuple(_item(index, probe) for index, probe in enumerate(_probes(role, path)))
    except PackError as error:
        raise InputError(f"{role}: {error.message}", next_step=_DOCUMENTED) from error
    if not items:
        raise InputError(f"{path} holds no items", next_step=_DOCUMENTED)
    return items


def _probes(role: str, path: Path) -> Iterator[RawProbe]:
    if role.startswith("knowmem/"):
        return read_muse_knowmem(plain_file(path), _WHOLE)
    if role.startswith("verbmem/"):
        return read_muse_verbmem(plain_file(path), _WHOLE)
    return read_tofu(plain_file(path), _WHOLE)


def _item(index: int, probe: RawProbe) -> Item:
    paraphrased = probe.aliases[0] if probe.aliases else None
    return Item(str(index), probe.where, probe.question, probe.answer, paraphrased, probe.decoys)


def _texts(path: Path) -> Iterator[Item]:
    """Read MUSE's privleak files: [str]; whole texts, unlike the packs' reader, which splits prompt and answer."""
    value = fields.parse_json(fields.read_text(plain_file(path)), path.name)
    texts = fields.texts_of(value, path.name, "texts")
    for index, text in enumerate(texts):
        yield Item(str(index), f"{path.name} item {index}", "", text)
