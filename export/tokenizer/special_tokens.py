"""Special tokens by role (BOS, EOS, …), and which of them the tokenizer adds to a text.

Order of precedence, as in llama.cpp's converter: the post-processor of tokenizer.json (the code that runs), then
tokenizer_config.json, then the ids in config.json.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.export.tokenizer.definition import token_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.export.tokenizer.definition import Definition, Json

ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
STORED_ROLES = frozenset({"bos", "eos", "unk", "sep", "pad", "mask", "eot", "eom"})
"""Roles with a GGUF key."""
ADDED_ROLES = frozenset({"bos", "eos", "sep"})
"""Roles with an add_… flag in GGUF."""


class SpecialTokens(NamedTuple):
    """Ids and add flags by role ("bos", "eos", …), both in the order of writing."""

    ids: Mapping[str, int]
    add: Mapping[str, bool]


def special_tokens(definition: Definition, config: Mapping[str, object], vocab_size: int) -> SpecialTokens:
    """Return the special tokens of a folder, without ids that have no row in the embedding."""
    settings = dict(definition.settings or {})
    has_settings = definition.settings is not None
    names = {role: token_text(settings.get(f"{role}_token")) for role in ROLES}
    add: dict[str, bool] = {}
    roles = list(ROLES)

    pipeline = definition.pipeline
    if pipeline is not None:
        # Encoders' names of the same roles: without BOS, CLS starts the text; without EOS, SEP ends it.
        names["bos"] = names["bos"] or names["cls"]
        names["eos"] = names["eos"] or names["sep"]
        for step in _steps(pipeline.post_processor):
            kind = step.get("type")
            if kind == "ByteLevel":
                add.setdefault("bos", False)
                add.setdefault("eos", False)
            elif kind == "TemplateProcessing":
                _read_template(step, names, add, roles, named=has_settings)

    ids: dict[str, int] = {}
    if has_settings:
        by_text = {token.content: token.id for token in reversed(pipeline.added)} if pipeline is not None else {}
        for role in roles:
            flag = settings.get(f"add_{role}_token")
            if isinstance(flag, bool):
                add.setdefault(role, flag)
            text = names.get(role)
            if text is not None and text in by_text:
                ids[role] = by_text[text]
    nested = config.get("text_config")
    for role in roles:
        key = f"{role}_token_id"
        value = config.get(key)
        if value is None and isinstance(nested, dict):
            value = nested.get(key)
        if isinstance(value, int):
            ids.setdefault(role, value)
    return SpecialTokens(
        ids={role: index for role, index in ids.items() if role in STORED_ROLES and 0 <= index < vocab_size},
        add={role: flag for role, flag in add.items() if role in ADDED_ROLES},
    )


def _steps(post_processor: Json | None) -> Sequence[Json]:
    if not post_processor:
        return ()
    steps: Sequence[Json] = post_processor.get("processors") or [post_processor]
    return steps


def _read_template(
    step: Json, names: dict[str, str | None], add: dict[str, bool], roles: list[str], *, named: bool
) -> None:
    """Read TemplateProcessing: the first and last token of "single", and the token between the texts of "pair"."""
    single = step.get("single") or []
    first = last = None
    if len(single) > 1:
        first, last = _special(single[0]), _special(single[-1])
        if first:
            if not named or not names["bos"]:
                names["bos"] = first
            if named and not names["cls"] and first != names["bos"]:
                names["cls"] = first
            add["bos"] = first in {names["bos"], names["cls"]}
        if last:
            if not named:
                names["eos"] = last
            elif last != names["eos"]:
                # The token named EOS then ends a turn; the token that the template appends ends the text.
                role = "eot" if "eot" not in roles else "eom"
                if role not in roles:
                    roles.append(role)
                    names[role] = names["eos"]
                names["eos"] = last
            add["eos"] = True
    _read_pair(step.get("pair") or [], first, last, names, add)


def _read_pair(
    pair: Sequence[Json], first: str | None, last: str | None, names: dict[str, str | None], add: dict[str, bool]
) -> None:
    if pair and first and _special(pair[0]) == first:
        pair = pair[1:]
    if pair and last and _special(pair[-1]) == last:
        pair = pair[:-1]
    if len(pair) < 3 or _sequence(pair[0]) != "A" or _sequence(pair[-1]) != "B":
        return
    between = [_special(part) for part in pair[1:-1]]
    ends = {names["sep"], names["eos"]} - {None}
    add_sep = (between[0] in ends and not last) or (len(between) == 2 and between[1] in ends)
    add["sep"] = add_sep
    if add_sep and not names["sep"]:
        names["sep"] = names["eos"]


def _special(part: Json) -> str | None:
    text = (part.get("SpecialToken") or {}).get("id")
    return str(text) if text else None


def _sequence(part: Json) -> str | None:
    text = (part.get("Sequence") or {}).get("id")
    return str(text) if text else None
