"""Subjects (clusters) of rows: a column, so many rows in a row, each row, or all rows together."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import InputError
from edgeproof.eval.authoring.data.rows import READ, TOFU, UNUSED, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

COLUMNS = ("cluster", "subject", "author", "person", "customer", "entity", "name", "title")
"""Columns that name the subject, in the order in which they are looked for."""

EACH, ALL = "each", "one"
TOFU_ROWS = 20
"""Rows of each author in TOFU's files."""

_BLOCK = re.compile(r"block:([1-9][0-9]{0,5})")


def chosen_rule(given: str | None, first: Sequence[Row], count: int, name: str, *, role: str) -> str:
    """Return the rule of a file: `given`, or what its first rows show.

    Args:
        given: a column, "each", "one" or "block:N"; None to find it out.
        first: the file's first rows.
        count: number of rows in the file.
        name: the file's name.
        role: "forget" demands that something says it; rows of other sets are each a subject otherwise.

    Raises:
        InputError: nothing says which rows belong to one subject.

    """
    if given is not None:
        return given
    if all(row.is_text for row in first):
        return EACH
    for column in COLUMNS:
        if all(column in row.fields for row in first):
            return column
    if any(key in row.fields for row in first for key in TOFU[:2]) and count % TOFU_ROWS == 0:
        return f"block:{TOFU_ROWS}"
    if role != "forget":
        return EACH
    columns = sorted({key for row in first for key in row.fields} - {*READ, *UNUSED})
    own = f"a column (here: {', '.join(columns)}), " if columns else ""
    raise InputError(
        f"nothing in {name} says which of its {count} questions belong to one subject, the unit of the verdict",
        next_step=f"give --cluster-by: {own}block:20 (so many rows in a row, as in TOFU), each (every question is its "
        "own subject) or one (all are about one person)",
    )


def subject_of(row: Row, index: int, rule: str) -> str:
    """Return the subject of row number `index` by `rule`.

    Raises:
        InputError: the row lacks the column.

    """
    if rule == ALL:
        return "all"
    if rule == EACH:
        return f"{index:06d}"
    if block := _BLOCK.fullmatch(rule):
        return f"{index // int(block[1]):06d}"
    value = row.fields.get(rule)
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise InputError(
            f"{row.where}: the column `{rule}`, which names the subject, is missing or empty",
            next_step="fill it in, or give another --cluster-by",
        )
    return str(value).strip()


def is_named(rule: str) -> bool:
    """Whether the subjects have names of their own, from a column."""
    return rule not in {EACH, ALL} and not _BLOCK.fullmatch(rule)


def unread_columns(rows: Iterable[Row], rule: str) -> tuple[str, ...]:
    """Return the columns that a pack does not take over."""
    return tuple(sorted({key for row in rows for key in row.fields} - {*READ, *UNUSED, *COLUMNS, rule}))
