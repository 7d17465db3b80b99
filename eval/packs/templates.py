"""Prompt templates: plain text with the placeholders {question}, {prompt} and {message}."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edgeproof.eval.packs import fields

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


def check_template(template: str, allowed: Sequence[str], where: str, *, required: Sequence[str] = ("",)) -> None:
    """Check the placeholders of a template.

    Args:
        template: the text.
        allowed: the placeholders that it may have.
        where: the place in the pack, for errors.
        required: the placeholders that it must have; "" stands for any one of them.

    Raises:
        PackError: a placeholder is not allowed, or a required one is missing.

    """
    named = _PLACEHOLDER.findall(template)
    for name in named:
        if name not in allowed:
            known = ", ".join(f"{{{key}}}" for key in allowed) or "none"
            raise fields.fail(where, f"the template has {{{name}}}", f"placeholders here: {known}")
    for name in required:
        if not name and not named:
            raise fields.fail(where, f"the template has no {{{allowed[0]}}} in it: every probe would ask the same")
        if name and name not in named:
            raise fields.fail(where, f"the template has no {{{name}}} in it", f"write {{{name}}} where it belongs")


def fill(template: str, values: Mapping[str, str]) -> str:
    """Replace each placeholder by its value; values are not parsed as templates."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), template)


def words_alone(template: str) -> str:
    """Return a template without its placeholders."""
    return _PLACEHOLDER.sub(" ", template)
