"""Reader for packs: `pack.toml`, then the probe files that it names, fully validated."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

from edgeproof.contracts.parsing import parse_toml
from edgeproof.eval.matching.words import words
from edgeproof.eval.measurement import Role
from edgeproof.eval.packs import fields
from edgeproof.eval.packs.files import open_pack
from edgeproof.eval.packs.kinds import SurfaceKind
from edgeproof.eval.packs.pack import Pack
from edgeproof.eval.packs.sets import MAX_PROBES, read_probes, read_set
from edgeproof.eval.packs.surfaces import default_surfaces, read_surfaces
from edgeproof.eval.packs.templates import fill

if TYPE_CHECKING:
    from pathlib import Path

    from edgeproof.eval.packs.files import PackFiles
    from edgeproof.eval.packs.probes import Probe

__all__ = ["FILE", "SCHEMA", "Pack", "load_pack", "read_pack"]

SCHEMA = 1
FILE = "pack.toml"
LEAST_SALT = 64
"""Minimum length in hexadecimal digits: 32 bytes, the length of the keyed digest (RFC 2104, section 3)."""

_PACK_KEYS = (
    "schema",
    "name",
    "description",
    "licence",
    "system_prompt",
    "salt",
    "chat",
    "thinking_tokens",
    "surface",
    "set",
)


def load_pack(path: Path, identity: str | None = None) -> Pack:
    """Read and validate the pack at `path`: a folder, or an age-encrypted file, which `identity` decrypts.

    Raises:
        EdgeproofError: as for `files.open_pack` and `read_pack`.

    """
    return read_pack(open_pack(path, identity), str(path))


def read_pack(files: PackFiles, where: str) -> Pack:
    """Read and validate the pack in `files`; `where` names it in errors.

    Raises:
        PackError: no pack.toml; unknown keys; a file outside the folder; broken JSON (with its line); an
            empty or oversized field; an id that occurs twice; no forget probes; two roles that ask for the same answer.

    """
    head = files.find(FILE)
    if head is None:
        raise fields.fail(where, f"there is no {FILE} in it", "write one: docs/packs.md")
    try:
        table: dict[str, object] = parse_toml(fields.read_text(head))
    except tomllib.TOMLDecodeError as error:
        raise fields.fail(FILE, f"broken TOML: {error}") from error
    fields.check_keys(table, _PACK_KEYS, FILE)
    if table.get("schema") != SCHEMA or isinstance(table["schema"], bool):
        found = table.get("schema", "missing")
        raise fields.fail(FILE, f"`schema` is {found}; this version reads {SCHEMA}", f"write `schema = {SCHEMA}`")
    chat = fields.flag_of(table.get("chat", True), FILE, "chat")
    system = table.get("system_prompt")
    system_prompt = None if system is None else fields.text_of(system, FILE, "system_prompt")
    given = read_surfaces(table, system_prompt, FILE)
    probes: list[Probe] = []
    names: set[str] = set()
    for number, entry in enumerate(fields.tables_of(table, "set", FILE), start=1):
        chosen = read_set(files, entry, f"{FILE} set {number}")
        if chosen.name in names:
            raise fields.fail(chosen.where, f"a second set is named {chosen.name!r}", "give the sets different names")
        names.add(chosen.name)
        probes.extend(read_probes(chosen))
        if len(probes) > MAX_PROBES:
            raise fields.fail(FILE, f"more than {MAX_PROBES} probes", "set a `limit` in the larger sets")
    pack = Pack(
        name=fields.name_of(table.get("name"), FILE, "name"),
        description=fields.any_text_of(table.get("description", ""), FILE, "description"),
        licence=fields.any_text_of(table.get("licence", ""), FILE, "licence"),
        system_prompt=system_prompt,
        surfaces=default_surfaces(probes, system_prompt, chat=chat) if given is None else given,
        probes=tuple(probes),
        salt=_salt(table["salt"]) if "salt" in table else None,
        thinking_tokens=fields.count_of(table["thinking_tokens"], FILE, "thinking_tokens", least=0)
        if "thinking_tokens" in table
        else None,
    )
    _check_whole(pack)
    return pack


def _salt(value: object) -> str:
    salt = fields.text_of(value, FILE, "salt")
    if len(salt) < LEAST_SALT or len(salt) % 2 or not set(salt) <= set("0123456789abcdef"):
        raise fields.fail(FILE, f"`salt` must be at least {LEAST_SALT} digits of 0-9 and a-f", "openssl rand -hex 32")
    return salt


def _check_whole(pack: Pack) -> None:
    """Check the constraints between probes."""
    if not any(probe.role == Role.FORGET for probe in pack.probes):
        raise fields.fail(
            FILE, "the pack has no forget probes: there is nothing to gate", 'add a [[set]] of role "forget"'
        )
    seen: dict[str, Probe] = {}
    asked: dict[tuple[str, str], Probe] = {}
    for probe in pack.probes:
        if probe.id in seen:
            raise fields.fail(
                f"sets {seen[probe.id].group} and {probe.group}",
                f"both have a probe with the id {probe.id!r}",
                "give every probe its own id",
            )
        seen[probe.id] = probe
        key = (fill(probe.template, {"question": probe.question}), " ".join(words(probe.answer)))
        other = asked.setdefault(key, probe)
        if other.role != probe.role:
            raise fields.fail(
                f"probes {other.id} ({other.role}) and {probe.id} ({probe.role})",
                "ask for the same answer to the same question",
                "an answer cannot be forgotten and kept: drop one of them",
            )
        if other.cluster != probe.cluster:
            raise fields.fail(
                f"probes {other.id} (cluster {other.cluster}) and {probe.id} (cluster {probe.cluster})",
                "ask the same question with the same answer in two clusters: one thing would count twice",
                "drop one of them, or give both the same cluster",
            )
    for role in {probe.role for probe in pack.probes}:
        if not pack.asked(role):
            raise fields.fail(FILE, f"no surface asks the {role} probes", "add the role to a [[surface]]")
    for surface in pack.surfaces:
        if surface.kind != SurfaceKind.PARAPHRASE or surface.template is not None:
            continue
        for probe in pack.probes:
            if probe.role in surface.roles and len(probe.paraphrases) <= surface.index:
                raise fields.fail(
                    f"probe {probe.id}",
                    f"{len(probe.paraphrases)} paraphrases; surface {surface.name!r} asks for number {surface.index}",
                    "add paraphrases, give the surface a template, or narrow its roles",
                )
