"""Reader for the chat templates of a Hugging Face folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import TokenizerError
from edgeproof.export.tokenizer.definition import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeproof.export.tokenizer.definition import Definition


class ChatTemplates(NamedTuple):
    """`default` is the template of chats; `named` are others (tools, retrieval), by name, in file order."""

    default: str | None
    named: Mapping[str, str]


def read_chat_templates(definition: Definition) -> ChatTemplates:
    """Read the chat templates of a folder.

    Sources: `chat_template` of tokenizer_config.json (a string, or a list of {"name", "template"}), chat_template.jinja
    with additional_chat_templates/*.jinja, chat_template.json.

    Raises:
        TokenizerError: two sources hold different templates (Hugging Face and llama.cpp's converter would choose
            different ones), or a template is not text.

    """
    found = {
        place: templates
        for place, templates in (
            ("tokenizer_config.json", _from_settings(definition)),
            ("chat_template.jinja", _from_files(definition)),
            ("chat_template.json", _from_json(definition)),
        )
        if templates is not None
    }
    if not found:
        return ChatTemplates(None, {})
    (first_place, first), *others = found.items()
    for place, templates in others:
        if templates != first:
            raise TokenizerError(
                f"{definition.folder}: {first_place} and {place} hold different chat templates",
                next_step="keep the template that the model was trained with and delete the other",
            )
    return first


def _from_settings(definition: Definition) -> ChatTemplates | None:
    value = (definition.settings or {}).get("chat_template")
    return None if value is None else _parse(value, f"{definition.folder / 'tokenizer_config.json'}")


def _from_json(definition: Definition) -> ChatTemplates | None:
    path = definition.folder / "chat_template.json"
    value = read_json(path).get("chat_template") if path.is_file() else None
    return None if value is None else _parse(value, str(path))


def _from_files(definition: Definition) -> ChatTemplates | None:
    path = definition.folder / "chat_template.jinja"
    if not path.is_file():
        return None
    others = sorted((definition.folder / "additional_chat_templates").glob("*.jinja"))
    return ChatTemplates(_read(path), {other.stem: _read(other) for other in others})


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TokenizerError(
            f"{path} cannot be read: {error}", next_step="download the tokenizer's files again"
        ) from error


def _parse(value: object, place: str) -> ChatTemplates:
    if isinstance(value, str):
        return ChatTemplates(value, {})
    templates: dict[str, str] = {}
    for entry in value if isinstance(value, list) else [value]:
        name, template = (entry.get("name"), entry.get("template")) if isinstance(entry, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(template, str):
            raise TokenizerError(
                f"{place}: chat_template is neither a string nor a list of name and template: {json.dumps(entry)[:80]}",
                next_step="fix or remove the chat template",
            )
        templates[name] = template
    return ChatTemplates(templates.pop("default", None), templates)
