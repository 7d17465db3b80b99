"""Types of answers, and the aliases and wrong answers that follow from a type."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

from edgeproof.eval.matching.dates import date_readings
from edgeproof.eval.matching.numbers import number_values
from edgeproof.eval.matching.words import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from collections.abc import Set as AbstractSet

SENTENCE = 8
"""Number of words from which an answer is a sentence, matched nearly verbatim."""

NAME = "name"

LEAST_SURNAME = 4
"""Minimum length of a last name that counts as the answer by itself, in letters."""

LONGEST_VALUE = 6
"""Maximum length of a date or number, in words."""

_LETTERS = r"[^\W\d_]"
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}(?: ?[0-9A-Z]{2,4}){3,8}")
_YEAR = re.compile(r"(?:1[0-9]|20)[0-9]{2}")
_PHONE = re.compile(r"(?:\+|00|\(?0)?[0-9()][0-9 ()/.-]{5,20}[0-9]")
_IDENTIFIER = re.compile(r"(?=.*[0-9])(?:[A-Z0-9]+(?:[ -][A-Z0-9]+)*|[A-Za-z0-9]+)")
_AMOUNT = r"[0-9][0-9.,' ]*"
_MONEY = re.compile(rf"(?:[$€£¥]|[A-Z]{{3}}) ?{_AMOUNT}(?: ?(?:million|billion|k|m))?|{_AMOUNT} ?(?:[$€£¥]|[A-Z]{{3}})")
_QUANTITY = re.compile(rf"{_AMOUNT} ?(?:[a-zµ°²³/]{{1,6}}|{_LETTERS}{{3,12}})", re.IGNORECASE)
_CAPITAL = r"[A-ZÀ-ÞĀ-Ž][\w'’.-]*"
_PARTICLES = "of|de|da|di|del|van|von|der|bin|al|the|la"
_NAME = re.compile(rf"(?:(?:Dr|Prof|Mr|Mrs|Ms|Sir|Dame)\.? )*{_CAPITAL}(?: (?:{_CAPITAL}|{_PARTICLES})){{0,4}}")
_TITLES = re.compile(r"(?:(?:Dr|Prof|Professor|Mr|Mrs|Ms|Sir|Dame)\.? )+")
_WHO = frozenset({"who", "whom", "whose", "wer", "wen", "wem", "wessen", "qui", "quien", "quienes", "chi", "quem"})
_EMPLOYER = frozenset(
    words(
        "employer employs employed arbeitgeber beschäftigt employeur emploie empleador emplea datore impiega "
        "empregador emprega"
    )
)
"""Words of a question that asks for an employer, which is seldom a person."""
_ORGANISATIONS = frozenset(
    words(
        """
        academy agency airlines airways association bakery bank brewery church clinic club college company consulting
        corp corporation council enterprises factory foundation gmbh group holding holdings hospital hotel inc
        incorporated industries institute insurance laboratories labs library limited llc logistics ltd media ministry
        museum partners pharmacy plc press productions publishers publishing records restaurant school services society
        software solutions studio studios systems technologies theater theatre traders trading trust union university
        ventures works
        apotheke bäckerei gruppe klinik krankenhaus schule stiftung universität verein verlag versicherung werke
        banque école éditions fondation groupe hôpital institut sarl société université
        banco editorial empresa escuela fundación grupo sociedad universidad
        azienda banca fondazione gruppo ospedale scuola società srl università
        escola fundação grupo sociedade universidade
        """
    )
)
"""Legal forms and kinds of organisations. A name with one has no last name: "Software" is no name of Hanse Software."""
_ARTICLE = re.compile(r"(?:the|a|an) ", re.IGNORECASE)

_TYPES: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("year", lambda text: _YEAR.fullmatch(text) is not None),
    ("date", lambda text: len(words(text)) <= LONGEST_VALUE and bool(re.search(r"\d", text)) and _is_date(text)),
    ("iban", lambda text: _IBAN.fullmatch(text) is not None),
    ("phone", lambda text: _PHONE.fullmatch(text) is not None and 6 <= len(re.sub(r"\D", "", text)) <= 15),
    ("money", lambda text: _MONEY.fullmatch(text) is not None),
    ("number", lambda text: len(words(text)) <= LONGEST_VALUE and _is_number(text)),
    ("quantity", lambda text: _QUANTITY.fullmatch(text) is not None),
    ("identifier", lambda text: _IDENTIFIER.fullmatch(text) is not None and len(re.sub(r"\W", "", text)) >= 4),
    (NAME, lambda text: _NAME.fullmatch(text) is not None and len(text.split()) > 1),
)
"""Types in the order in which they are tried; those of `matching/kinds.py` allow other wordings."""


def answer_type(answer: str) -> str:
    """Return the type of an answer; empty for plain words and sentences."""
    text = answer.strip().rstrip(".")
    if is_sentence(answer):
        return ""
    return next((name for name, fits in _TYPES if fits(text)), "")


def is_sentence(answer: str) -> bool:
    """Whether an answer is matched nearly verbatim instead of word by word."""
    return len(words(answer)) >= SENTENCE


def lower_case_words(texts: Iterable[str]) -> frozenset[str]:
    """Return the words that these texts write in lower case, normalized; none of them is a name by itself."""
    found = (word for text in texts for word in re.findall(rf"{_LETTERS}+", text) if word.islower())
    return frozenset(one for word in found for one in words(word))


def aliases(answer: str, kind: str, question: str = "", lower_case: AbstractSet[str] = frozenset()) -> tuple[str, ...]:
    """Return spellings of an answer that its type's rules do not find by themselves.

    Names of persons: without titles, without what stands between first and last name, and the last name alone if the
    question asks who it is and does not say it, unless it is one of the words that the data write in `lower_case`.
    Other words: without an article or a trailing parenthesis. Dates, numbers and codes need none: their types compare
    values.
    """
    text = answer.strip()
    found: list[str] = []
    if kind == NAME:
        plain = _TITLES.sub("", text)
        parts = plain.split()
        found.append(plain)
        person = not _ORGANISATIONS & set(words(plain))
        if person and len(parts) > 2 and all(part[0].isupper() for part in parts):
            found.append(f"{parts[0]} {parts[-1]}")
        asked = set(words(question))
        who = person and bool(_WHO & asked) and not _EMPLOYER & asked
        if who and len(parts[-1]) >= LEAST_SURNAME and not set(words(parts[-1])) & (asked | lower_case):
            found.append(parts[-1])
    elif not kind and len(text.split()) <= LONGEST_VALUE and not text.endswith("."):
        found += [_ARTICLE.sub("", text, count=1), re.sub(r"\s*\([^()]*\)$", "", text)]
    own = " ".join(words(text))
    return tuple(dict.fromkeys(one for one in found if words(one) and " ".join(words(one)) != own))


def wrong_answers(answer: str, kind: str, seed: str, count: int) -> tuple[str, ...]:
    """Return answers of the same form with other digits, for types that are made of digits; else none."""
    if kind in {"", NAME} or not re.search(r"\d", answer):
        return ()
    rng = random.Random(seed)  # noqa: S311 (not for secrets)
    found: dict[str, str] = {}
    for _ in range(20 * count):
        other = other_digits(answer, kind, rng)
        if answer_type(other) == kind and words(other) != words(answer):
            found.setdefault(" ".join(words(other)), other)
        if len(found) == count:
            break
    return tuple(found.values())


def other_digits(text: str, kind: str, rng: random.Random) -> str:
    """Replace the digits of `text`: days and months stay possible, years keep their century, zeros in front stay."""
    named = re.search(_LETTERS, text) is not None

    def replaced(match: re.Match[str]) -> str:
        number = match[0]
        if kind == "date" and len(number) <= 2:
            last = 28 if named else 12  # a day, or a month
            if number[0] == "0":
                return f"0{rng.randint(1, 9)}"
            return str(rng.randint(10, last) if len(number) == 2 else rng.randint(1, 9))
        kept = 2 if _YEAR.fullmatch(number) else len(number) - len(number.lstrip("0")) or 0
        first = number[:kept] or str(rng.randint(1, 9))
        return first + "".join(str(rng.randint(0, 9)) for _ in range(len(number) - len(first)))

    return re.sub(r"[0-9]+", replaced, text)


def _is_date(text: str) -> bool:
    return any(None not in (one.month, one.year) for one in date_readings(text)) or any(
        None not in (one.month, one.day) and re.search(_LETTERS, text) for one in date_readings(text)
    )


def _is_number(text: str) -> bool:
    """Whether `text` is one number and no more: in digits, perhaps with a scale, or in up to three words."""
    if not number_values(text):
        return False
    if re.search(r"\d", text):
        return re.fullmatch(rf"[-−]?{_AMOUNT}(?: (?:thousand|million|billion))?", text) is not None
    return len(words(text)) <= 3
