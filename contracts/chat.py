"""Chat-template renderer: equal to Hugging Face's `apply_chat_template`, in a sandbox, without transformers.

The environment has the settings that the Hugging Face documentation promises to template authors ("Writing a chat
template"): trim_blocks, lstrip_blocks, loop controls, `raise_exception`, `strftime_now`, `tojson` without HTML escapes,
and `{% generation %}` blocks, which only mark the assistant's turn.

One deliberate difference: `strftime_now` always returns `TEMPLATE_DATE`. With today's date the prompts would change at
midnight and the verdict could not be reproduced.
"""

from __future__ import annotations

import datetime as dt
import json
from functools import lru_cache
from typing import TYPE_CHECKING, NoReturn

from edgeproof.contracts.errors import InputError, TokenizerError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.contracts.template_limits import LimitedEnvironment
    from jinja2 import Template, nodes
    from jinja2.ext import Extension
    from jinja2.parser import Parser
    from jinja2.utils import Namespace

TEMPLATE_DATE = dt.datetime(2024, 7, 26, 12, tzinfo=dt.UTC)
"""Date that `strftime_now` returns: the default date of Llama 3's templates where no clock is available."""


def render_chat(
    template: str | None,
    messages: Sequence[Mapping[str, str]],
    *,
    bos_token: str,
    eos_token: str,
    add_generation_prompt: bool = True,
) -> str:
    """Render `messages` ({"role", "content"}) with a model's own template; special tokens are rendered as text.

    Args:
        template: the Jinja source stored in the checkpoint or the artifact; None if there is none.
        messages: the conversation, oldest first.
        bos_token: text of the token that starts a sequence, "" for none.
        eos_token: text of the token that ends a sequence, "" for none.
        add_generation_prompt: append the opening of the assistant's turn.

    Raises:
        InputError: there is no template, or the template refuses these messages (`raise_exception`: roles out
            of order, no system role).
        TokenizerError: the template has a syntax error, fails while rendering, or computes too much.

    """
    from edgeproof.contracts.template_limits import limited

    if template is None:
        raise InputError("the artifact has no chat template", next_step="leave the chat surface out of the pack")
    try:
        with limited():
            return _compile(template).render(
                messages=[dict(message) for message in messages],
                tools=None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                bos_token=bos_token,
                eos_token=eos_token,
            )
    except InputError:
        raise
    except _failures() as error:
        roles = ", ".join(str(message.get("role")) for message in messages)
        raise TokenizerError(
            f"the chat template fails on a conversation with the roles {roles}: {_shortly(error)}",
            next_step="fix the template (chat_template of tokenizer_config.json, or chat_template.jinja)",
        ) from error


def template_accepts(template: str, messages: Sequence[Mapping[str, str]], *, bos_token: str, eos_token: str) -> bool:
    """Whether the template accepts these roles; False if it refuses them by `raise_exception`."""
    try:
        render_chat(template, messages, bos_token=bos_token, eos_token=eos_token)
    except TokenizerError:
        raise
    except InputError:
        return False
    return True


@lru_cache(maxsize=16)
def _compile(template: str) -> Template:
    try:
        return chat_environment().from_string(template)
    except _failures() as error:
        line = getattr(error, "lineno", None)
        raise TokenizerError(
            f"the chat template is not valid Jinja: {_shortly(error)}{f' (line {line})' if line else ''}",
            next_step="fix the template (chat_template of tokenizer_config.json, or chat_template.jinja)",
        ) from error


@lru_cache(maxsize=1)
def chat_environment() -> LimitedEnvironment:
    """Return the sandboxed Jinja environment: a template is part of a download and is not trusted."""
    from edgeproof.contracts.template_limits import LimitedEnvironment, limited_filter
    from jinja2.ext import loopcontrols

    environment = LimitedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _generation_extension()]
    )
    environment.filters["tojson"] = limited_filter("tojson", _tojson)
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = TEMPLATE_DATE.strftime
    environment.globals["namespace"] = _namespace()
    return environment


def _generation_extension() -> type[Extension]:
    """Return an extension for `{% generation %} … {% endgeneration %}` that renders the block's content."""
    from jinja2 import ext

    class Generation(ext.Extension):
        tags = {"generation"}  # noqa: RUF012 (Jinja's own declaration)

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    return Generation


def _namespace() -> type[Namespace]:
    """Return a namespace that refuses names with a leading underscore, which lead to Python's internals."""
    from jinja2 import utils
    from jinja2.exceptions import SecurityError

    class PlainNamespace(utils.Namespace):
        def __setitem__(self, name: str, value: object) -> None:
            if name.startswith("_"):
                raise SecurityError(f"a template may not store {name!r}")
            super().__setitem__(name, value)

    return PlainNamespace


def _tojson(
    value: object,
    ensure_ascii: bool = False,  # noqa: FBT001, FBT002 (names and positions that templates use)
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _failures() -> tuple[type[Exception], ...]:
    """Return what Jinja, and Python on what Jinja made of it, raise for a template that cannot be used."""
    from jinja2 import TemplateError

    python = (
        SyntaxError,
        TypeError,
        ValueError,
        LookupError,
        ArithmeticError,
        AttributeError,
        RuntimeError,
        MemoryError,
        NameError,  # Jinja writes 1e999 as inf into the code that it makes
        AssertionError,
    )
    return (TemplateError, *python)


def _shortly(error: Exception) -> str:
    text = f"{type(error).__name__}: {getattr(error, 'message', None) or error}"
    return text if len(text) <= 200 else f"{text[:200]}…"


def _refuse(message: str) -> NoReturn:
    raise InputError(
        f"the chat template refuses these messages: {message}",
        next_step="give the surface the roles that this model knows (many have no system role)",
    )
