"""Render a chat template as Hugging Face's `apply_chat_template` renders it, in a sandbox, without transformers.

The environment's settings are those that the Hugging Face documentation promises to template authors ("Writing a chat
template"): trim_blocks, lstrip_blocks, loop controls, `raise_exception`, `strftime_now`, `tojson` without HTML escapes,
and `{% generation %}` blocks, which only mark the assistant's part.

One thing differs on purpose: `strftime_now` knows one day only, `TEMPLATE_DATE`. Prompts that change at midnight would
make a verdict that can't be repeated.
"""

from __future__ import annotations

import datetime as dt
import json
from functools import lru_cache
from typing import TYPE_CHECKING, NoReturn

from edgeproof.contracts.errors import InputError, TokenizerError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jinja2 import Template, nodes
    from jinja2.ext import Extension
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from jinja2.utils import Namespace

TEMPLATE_DATE = dt.datetime(2024, 7, 26, 12, tzinfo=dt.UTC)
"""What `strftime_now` shows: the day that Llama 3's templates name where no clock is offered to them."""


def render_chat(
    template: str | None,
    messages: Sequence[Mapping[str, str]],
    *,
    bos_token: str,
    eos_token: str,
    add_generation_prompt: bool = True,
) -> str:
    """Render `messages` ({"role", "content"}) with a model's own template; special tokens come out as text.

    Args:
        template: the Jinja source, as stored in the checkpoint or the artifact; None where there is none.
        messages: the conversation, oldest first.
        bos_token: text of the token that a sequence starts with, "" for none.
        eos_token: text of the token that ends it, "" for none.
        add_generation_prompt: end with the opening of the assistant's turn.

    Raises:
        InputError: there is no template, or the template itself refuses these messages (`raise_exception`: roles out
            of order, no system role).
        TokenizerError: the template has a syntax error or fails while rendering.

    """
    from jinja2 import TemplateError

    if template is None:
        raise InputError("the artifact has no chat template", next_step="leave the chat surface out of the pack")
    compiled = _compile(template)
    try:
        return compiled.render(
            messages=[dict(message) for message in messages],
            tools=None,
            documents=None,
            add_generation_prompt=add_generation_prompt,
            bos_token=bos_token,
            eos_token=eos_token,
        )
    except InputError:
        raise
    except (TemplateError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError) as error:
        roles = ", ".join(str(message.get("role")) for message in messages)
        raise TokenizerError(
            f"the chat template fails on a conversation with the roles {roles}: {type(error).__name__}: {error}",
            next_step="mend the template (chat_template of tokenizer_config.json, or chat_template.jinja)",
        ) from error


def template_accepts(template: str, messages: Sequence[Mapping[str, str]], *, bos_token: str, eos_token: str) -> bool:
    """Whether the template takes these roles; False where it refuses them by `raise_exception`."""
    try:
        render_chat(template, messages, bos_token=bos_token, eos_token=eos_token)
    except TokenizerError:
        raise
    except InputError:
        return False
    return True


@lru_cache(maxsize=16)
def _compile(template: str) -> Template:
    from jinja2 import TemplateSyntaxError

    try:
        return chat_environment().from_string(template)
    except TemplateSyntaxError as error:
        raise TokenizerError(
            f"the chat template is not valid Jinja: {error.message} (line {error.lineno})",
            next_step="mend the template (chat_template of tokenizer_config.json, or chat_template.jinja)",
        ) from error


@lru_cache(maxsize=1)
def chat_environment() -> ImmutableSandboxedEnvironment:
    """The sandbox that templates run in: a template comes with a download and is as untrusted as one."""
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _generation_extension()]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = TEMPLATE_DATE.strftime
    environment.globals["namespace"] = _namespace()
    return environment


def _generation_extension() -> type[Extension]:
    """`{% generation %} … {% endgeneration %}` renders what stands in it."""
    from jinja2 import ext

    class Generation(ext.Extension):
        tags = {"generation"}  # noqa: RUF012 (Jinja's own declaration)

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    return Generation


def _namespace() -> type[Namespace]:
    """A namespace that stores no name with an underscore in front: the way to Python's internals begins with one."""
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
    ensure_ascii: bool = False,  # noqa: FBT001, FBT002 (the names and places that templates use)
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> NoReturn:
    raise InputError(
        f"the chat template refuses these messages: {message}",
        next_step="give the surface the roles that this model knows (many have no system role)",
    )
