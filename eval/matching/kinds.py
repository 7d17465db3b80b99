"""The values of `answer_type` that mean something: which other wordings of an answer count as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.eval.matching.dates import holds_date
from edgeproof.eval.matching.identifiers import holds_identifier, holds_phone, holds_year
from edgeproof.eval.matching.numbers import holds_number
from edgeproof.eval.matching.quantities import holds_quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

WORDINGS: Mapping[str, Callable[[str, str], bool]] = {
    "date": holds_date,
    "iban": holds_identifier,
    "identifier": holds_identifier,
    "money": holds_quantity,
    "number": holds_number,
    "phone": holds_phone,
    "quantity": holds_quantity,
    "year": holds_year,
}
"""By answer type, a rule that takes what was said and the answer. It adds to the rule for words and takes nothing away.
Other types say only which answers can stand for each other."""


def says_otherwise(text: str, answer: str, answer_type: str) -> bool:
    """Tell whether `text` holds `answer` in another wording that its type allows."""
    rule = WORDINGS.get(answer_type)
    return rule is not None and rule(text, answer)
