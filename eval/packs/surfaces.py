"""Surfaces of a pack: those in pack.toml, or the defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.eval.asking.choices import Choices
from edgeproof.eval.asking.examples import SHOTS, Examples
from edgeproof.eval.asking.kinds import KINDS, PLAIN_CHATS
from edgeproof.eval.matching.words import words
from edgeproof.eval.measurement import Role
from edgeproof.eval.packs import fields
from edgeproof.eval.packs.kinds import SurfaceKind
from edgeproof.eval.packs.probes import Match, Surface
from edgeproof.eval.packs.templates import check_template, words_alone

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.packs.probes import Probe

_SURFACE_KEYS = ("name", "kind", "template", "roles", "index", "shots")
INVITING = "Sure, here is the answer:"
"""Beginning of the reply on the default prefix surface."""


def default_surfaces(probes: Sequence[Probe], system_prompt: str | None, *, chat: bool) -> tuple[Surface, ...]:
    """Return the default surfaces of a pack: all kinds for forget probes, two for retain probes.

    Args:
        probes: the pack's probes. Paraphrases are asked of roles with one for every probe; solved examples and multiple
            choices, if the pack has enough others for each probe.
        system_prompt: the pack's; if given, chats are asked with it and, for forget probes, without it too.
        chat: whether the artifact has a chat template, according to the pack.

    """
    hidden = (Role.FORGET, Role.HOLDOUT)
    asked = [probe for probe in probes if probe.role in hidden]
    surfaces = [Surface("raw", SurfaceKind.RAW, None, tuple(Role))]
    if chat:
        if system_prompt is not None:
            surfaces.append(Surface("chat+system", SurfaceKind.CHAT_SYSTEM, None, tuple(Role)))
        surfaces += [
            Surface("chat", SurfaceKind.CHAT, None, tuple(Role) if system_prompt is None else hidden),
            Surface("prefix", SurfaceKind.PREFIX, INVITING, hidden),
            Surface("turns", SurfaceKind.TURNS, None, hidden),
        ]
        if all(probe.match == Match.ANSWER for probe in asked):
            surfaces.append(Surface("opening", SurfaceKind.OPENING, None, hidden))
    reworded = tuple(role for role in hidden if all(probe.paraphrases for probe in probes if probe.role == role))
    if Role.FORGET in reworded:
        surfaces.append(Surface("paraphrase", SurfaceKind.PARAPHRASE, None, reworded))
    examples, choices = Examples(probes), Choices(probes)
    for kind in (SurfaceKind.FEW_SHOT, SurfaceKind.SIBLINGS):
        surface = Surface(kind.value, kind, None, hidden, shots=SHOTS)
        if all(len(examples.shown(probe, surface)) == SHOTS for probe in asked):
            surfaces.append(surface)
    if all(choices.serve(probe) for probe in asked):
        surfaces.append(Surface("choices", SurfaceKind.CHOICES, None, hidden))
    return tuple(surfaces)


def unasked(pack: Pack) -> tuple[str, ...]:
    """Return notes on surfaces that the pack could add for its forget probes."""
    examples = (_examples_unasked(pack, kind) for kind in (SurfaceKind.FEW_SHOT, SurfaceKind.SIBLINGS))
    return tuple(filter(None, (_paraphrases_unasked(pack), *examples, _languages_unasked(pack))))


def _paraphrases_unasked(pack: Pack) -> str | None:
    forget = [probe for probe in pack.probes if probe.role == Role.FORGET]
    having = sum(bool(probe.paraphrases) for probe in forget)
    asked = any(s.kind == SurfaceKind.PARAPHRASE and s.template is None for s in pack.asked(Role.FORGET))
    if asked or not having:
        return None
    return (
        f"{having} of {len(forget)} forget probes of the pack {pack.name!r} have paraphrases, but no surface asks "
        "them: give every one a paraphrase, or name a [[surface]] of that kind with a template"
    )


def _examples_unasked(pack: Pack, kind: SurfaceKind) -> str | None:
    """Return a note if solved examples go unasked because some probes, and not all, lack them."""
    hidden = (Role.FORGET, Role.HOLDOUT)
    surface = Surface(kind.value, kind, None, hidden, shots=SHOTS)
    examples = Examples(pack.probes)
    probes = [probe for probe in pack.probes if probe.role in hidden]
    without = [probe.id for probe in probes if len(examples.shown(probe, surface)) < SHOTS]
    if any(asked.kind == kind for asked in pack.asked(Role.FORGET)) or not 0 < len(without) < len(probes):
        return None
    return (
        f"the pack {pack.name!r} is not asked by {kind.value}, since {len(without)} of {len(probes)} forget and "
        f"holdout probes (the first is {without[0]!r}) have fewer than {SHOTS} solved examples: add probes whose "
        "answers are not among theirs, or take these out"
    )


def _languages_unasked(pack: Pack) -> str | None:
    """Return a note on paraphrase templates in another language that no chat asks, although other chats are asked.

    A template that shares no word with the probes' prompts and messages counts as another language. A chat asks in that
    language if its template shares a word with the paraphrase.
    """
    surfaces = pack.asked(Role.FORGET)
    chats = [surface for surface in surfaces if surface.kind in PLAIN_CHATS]
    own = _own_words(pack)
    foreign = [
        surface
        for surface in surfaces
        if surface.kind == SurfaceKind.PARAPHRASE
        and surface.template is not None
        and own
        and (spoken := _words_of(surface.template))
        and not spoken & own
        and not any(spoken & _words_of(chat.template or "") for chat in chats)
    ]
    if not chats or not foreign:
        return None
    names = ", ".join(f"{surface.name!r}" for surface in foreign)
    first = foreign[0]
    return (
        f"the pack {pack.name!r} asks in another language as plain text alone ({names}), and what stays silent there "
        f'may come out in a chat: add for each a [[surface]] with name = "{first.name}-chat", kind = "chat" and the '
        "question in that language as its template, and the language's sentence as one of the forget set's `carriers`"
    )


def _own_words(pack: Pack) -> frozenset[str]:
    """Return the words of the forget probes' templates and messages, else those of their questions."""
    forget = [probe for probe in pack.probes if probe.role == Role.FORGET]
    around = frozenset().union(*(_words_of(text) for probe in forget for text in (probe.template, probe.message)))
    return around or frozenset().union(*(_words_of(probe.question) for probe in forget))


def _words_of(template: str) -> frozenset[str]:
    return frozenset(words(words_alone(template)))


def read_surfaces(table: Mapping[str, object], system_prompt: str | None, file: str) -> tuple[Surface, ...] | None:
    """Read the `[[surface]]` tables of `file`; None if there are none."""
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
        kind = KINDS[fields.choice_of(entry.get("kind"), where, "kind", list(KINDS))]
        name = fields.name_of(entry.get("name", kind.name), where, "name")
        template = None
        if "template" in entry:
            template = fields.text_of(entry["template"], where, "template")
            check_template(template, kind.placeholders, where, required=kind.required)
        elif kind.needs_template:
            raise fields.fail(where, f"a {kind.name} surface needs a `template`, {kind.needs_template}")
        if kind.name == SurfaceKind.CHAT_SYSTEM and system_prompt is None:
            raise fields.fail(where, "a chat+system surface needs the pack's `system_prompt`")
        if "index" in entry and kind.name != SurfaceKind.PARAPHRASE:
            raise fields.fail(where, f"`index` chooses a paraphrase; a {kind.name} surface has none")
        if "shots" in entry and not kind.examples:
            raise fields.fail(where, f"`shots` counts solved examples; a {kind.name} surface has none")
        roles = entry.get("roles", [role.value for role in Role])
        named = [
            Role(fields.choice_of(role, where, "roles", [r.value for r in Role]))
            for role in fields.texts_of(roles, where, "roles")
        ]
        if any(surface.name == name for surface in surfaces):
            raise fields.fail(where, f"a second surface is named {name!r}")
        index = fields.count_of(entry.get("index", 0), where, "index", least=0)
        least = 1 if kind.examples else 0
        shots = fields.count_of(entry.get("shots", SHOTS if least else 0), where, "shots", least=least)
        surfaces.append(Surface(name, kind.name, template, tuple(role for role in Role if role in named), index, shots))
    return tuple(surfaces)
