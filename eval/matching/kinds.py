"""Values of `answer_type` with matching rules for other wordings of an answer."""

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
"""Rules by answer type, with the text and the answer as arguments. They extend the rule for words.
Other types only group answers that can serve as each other's decoys."""


def says_otherwise(text: str, answer: str, answer_type: str) -> bool:
    """Whether `text` holds `answer` in another wording that its type allows."""
    rule = WORDINGS.get(answer_type)
    return rule is not None and rule(text, answer)
