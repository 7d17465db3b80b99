"""Limits of what a chat template may compute: one that loops or grows without end is refused.

A template is part of a download. Jinja's sandbox bounds `range` and nothing else; here loops, calls, filters, operators
and outputs spend from one budget for each rendering. It counts and reads no clock, so that a template is accepted on
every machine or on none.
"""

from __future__ import annotations

import functools
import re
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edgeproof.contracts.errors import TokenizerError
from jinja2 import nodes
from jinja2.compiler import CodeGenerator
from jinja2.sandbox import ImmutableSandboxedEnvironment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

STEPS = 4_000_000
"""Items of loops, calls and values, and 64 characters each of texts. A hundred long turns take some ten thousand."""
LONGEST = 2**22
"""Characters of one text: a context of a million tokens."""

CHARACTERS = 64
_PADDING = re.compile(r"\d{5}")
_MULTIPLYING = {"center", "expandtabs", "indent", "join", "ljust", "rjust", "tojson", "wordwrap", "zfill"}
_budget = threading.local()


@contextmanager
def limited() -> Iterator[None]:
    """Bound what is compiled and rendered in the block.

    Raises:
        TokenizerError: a template needs more than STEPS, or makes a text of more than LONGEST characters.

    """
    _budget.left = STEPS
    yield


def spend(steps: int) -> None:
    """Take steps from the budget."""
    _budget.left -= steps
    if _budget.left < 0:
        raise _refused(f"it takes more than {STEPS:,} steps")


def weigh(value: object) -> object:
    """Spend what a value holds, nested ones too, and return the value."""
    pending = [value]
    while pending:
        inner = pending.pop()
        spend(1)
        if isinstance(inner, str):
            _check_length(len(inner))
            spend(len(inner) // CHARACTERS)
        elif isinstance(inner, dict):
            spend(len(inner))
            pending += [*inner.keys(), *inner.values()]
        elif isinstance(inner, list | tuple | set | frozenset):
            spend(len(inner))
            pending += inner
    return value


class LimitedEnvironment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox with these limits; templates are compiled and rendered within `limited()`."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, **options: Any) -> None:
        super().__init__(finalize=weigh, **options)
        self.code_generator_class = _Generator
        del self.globals["lipsum"]
        self.filters = {name: limited_filter(name, function) for name, function in self.filters.items()}
        self.filters["_counted"] = _counted

    def call(self, context: Any, obj: Any, /, *values: Any, **named: Any) -> Any:
        """Call a macro, a method or a global."""
        owner = getattr(getattr(obj, "__wrapped__", obj), "__self__", None)  # the sandbox wraps str.format
        _check_growth(getattr(obj, "__name__", ""), [owner, *values, *named.values()])
        return weigh(super().call(context, obj, *values, **named))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Compute `left operator right`."""
        weigh((left, right))
        if operator == "*":
            _check_length(_size(left) * _size(right) if hasattr(left, "__len__") or hasattr(right, "__len__") else 0)
        elif operator == "**" and isinstance(left, int) and isinstance(right, int):
            _check_length(left.bit_length() * right)
        elif operator == "%":
            _check_growth("format", [left])
        return super().call_binop(context, operator, left, right)

    def joined(self, values: Iterable[object]) -> str:
        """Join what stands between `~`."""
        return "".join(str(weigh(value)) for value in values)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """Count the items that loops go through; an item costs what the loop's own text has."""
        parsed = super()._parse(source, name, filename)
        for loop in list(parsed.find_all(nodes.For)):
            text = sum(len(data.data) for data in loop.find_all(nodes.TemplateData))
            cost = nodes.Const(1 + text // CHARACTERS, lineno=loop.lineno)
            loop.iter = nodes.Filter(loop.iter, "_counted", [cost], [], None, None, lineno=loop.lineno)
        return parsed


class _Generator(CodeGenerator):
    def visit_Concat(self, node: nodes.Concat, frame: Any) -> None:  # noqa: N802 (as in the base class)
        self.write("environment.joined((")
        for inner in node.nodes:
            self.visit(inner, frame)
            self.write(", ")
        self.write("))")


def limited_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the filter `function` with these limits."""

    @functools.wraps(function)
    def bounded(*values: Any, **named: Any) -> Any:
        _check_growth(name, [*values, *named.values()])
        return weigh(function(*values, **named))

    return bounded


def _counted(value: Any, cost: int) -> Any:
    if hasattr(value, "__len__"):
        spend(cost * len(value))
        return value
    made = []
    for item in value:
        spend(cost)
        made.append(item)
    return made


def _check_growth(name: str, values: list[object]) -> None:
    """Refuse a result that texts and numbers would multiply to, before it is made."""
    weigh(values)
    texts = [value for value in values if isinstance(value, str)]
    if name in _MULTIPLYING:
        largest = sorted(_size(value) for value in values)[-2:]
        _check_length(largest[0] * largest[-1] if len(largest) == 2 else 0)
    elif name == "replace" and len(texts) >= 3:
        _check_length(texts[0].count(texts[1]) * len(texts[2]))
    elif name in {"format", "format_map"} and texts and _PADDING.search(texts[0]):
        raise _refused("it pads a text to 10,000 characters or more")


def _size(value: object) -> int:
    if isinstance(value, int):
        return abs(value)
    return len(value) if isinstance(value, str | list | tuple | dict) else 1


def _check_length(length: int) -> None:
    if length > LONGEST:
        raise _refused(f"it makes a text or list of more than {LONGEST:,} items")


def _refused(why: str) -> TokenizerError:
    return TokenizerError(
        f"the chat template is refused: {why}",
        next_step="fix the template (chat_template of tokenizer_config.json, or chat_template.jinja)",
    )
