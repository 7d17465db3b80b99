"""The surfaces of a pack: those that pack.toml names, or the default ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.eval import pack_fields as fields
from edgeproof.eval.probes import Surface, SurfaceKind
from edgeproof.eval.records import Role
from edgeproof.eval.templates import check_template

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.eval.probes import Pack, Probe

_SURFACE_KEYS = ("name", "kind", "template", "roles", "index")
INVITING = "Sure, here is the answer:"
"""What the reply has begun with on the prefix surface that a pack gets by default."""
_PLACEHOLDERS: Mapping[SurfaceKind, tuple[str, ...]] = {
    SurfaceKind.RAW: ("question", "prompt"),
    SurfaceKind.PARAPHRASE: ("question", "prompt"),
    SurfaceKind.CHAT: ("question", "prompt", "message"),
    SurfaceKind.CHAT_SYSTEM: ("question", "prompt", "message"),
    SurfaceKind.PREFIX: (),
}


def default_surfaces(probes: Sequence[Probe], system_prompt: str | None, *, chat: bool) -> tuple[Surface, ...]:
    """Give the surfaces of a pack that names none: what was forgotten is asked every way, what was kept on two.

    Args:
        probes: those of the pack; a paraphrase is asked of a role that has one for every probe.
        system_prompt: the pack's, which its chat surface begins with.
        chat: whether the artifact has a chat template, in the word of the pack.

    """
    hidden = (Role.FORGET, Role.HOLDOUT)
    surfaces = [Surface("raw", SurfaceKind.RAW, None, tuple(Role))]
    if chat:
        kind = SurfaceKind.CHAT if system_prompt is None else SurfaceKind.CHAT_SYSTEM
        surfaces += [
            Surface("chat", kind, None, tuple(Role)),
            Surface("prefix", SurfaceKind.PREFIX, INVITING, hidden),
        ]
    reworded = tuple(role for role in hidden if all(probe.paraphrases for probe in probes if probe.role == role))
    if Role.FORGET in reworded:
        surfaces.append(Surface("paraphrase", SurfaceKind.PARAPHRASE, None, reworded))
    return tuple(surfaces)


def unasked(pack: Pack) -> str | None:
    """Say that forget probes bring paraphrases which no surface asks; None where there are none, or one asks them."""
    forget = [probe for probe in pack.probes if probe.role == Role.FORGET]
    having = sum(bool(probe.paraphrases) for probe in forget)
    asked = any(s.kind == SurfaceKind.PARAPHRASE and s.template is None for s in pack.asked(Role.FORGET))
    if asked or not having:
        return None
    return (
        f"{having} of {len(forget)} forget probes of the pack {pack.name!r} have paraphrases, and no surface asks "
        "them: give every one a paraphrase, or name a [[surface]] of that kind with a template"
    )


def read_surfaces(table: Mapping[str, object], system_prompt: str | None, file: str) -> tuple[Surface, ...] | None:
    """Read the `[[surface]]` tables of `file`; None where there is none."""
    if "surface" not in table:
        return None
    if "chat" in table:
        raise fields.fail(
            file, "`chat` is for packs that name no [[surface]]; this one does", "take `chat` out, or the surfaces"
        )
    surfaces: list[Surface] = []
    for number, entry in enumerate(fields.tables_of(table, "surface", file), start=1):
        where = f"{file} surface {number}"
        fields.check_keys(entry, _SURFACE_KEYS, where)
        kind = SurfaceKind(fields.choice_of(entry.get("kind"), where, "kind", [k.value for k in SurfaceKind]))
        name = fields.name_of(entry.get("name", kind.value), where, "name")
        template = None
        if "template" in entry:
            template = fields.text_of(entry["template"], where, "template")
            check_template(template, _PLACEHOLDERS[kind], where, needed=kind != SurfaceKind.PREFIX)
        elif kind == SurfaceKind.PREFIX:
            raise fields.fail(where, "a prefix surface needs a `template`, the words that the reply begins with")
        if kind == SurfaceKind.CHAT_SYSTEM and system_prompt is None:
            raise fields.fail(where, "a chat+system surface needs the pack's `system_prompt`")
        if "index" in entry and kind != SurfaceKind.PARAPHRASE:
            raise fields.fail(where, f"`index` chooses a paraphrase; a {kind} surface has none")
        roles = entry.get("roles", [role.value for role in Role])
        named = [
            Role(fields.choice_of(role, where, "roles", [r.value for r in Role]))
            for role in fields.texts_of(roles, where, "roles")
        ]
        if any(surface.name == name for surface in surfaces):
            raise fields.fail(where, f"a second surface is named {name!r}")
        index = fields.count_of(entry.get("index", 0), where, "index", least=0)
        surfaces.append(Surface(name, kind, template, tuple(role for role in Role if role in named), index))
    return tuple(surfaces)
