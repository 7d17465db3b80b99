"""Types of answers, their aliases and their wrong answers."""

from __future__ import annotations

import pytest
from edgeproof.eval.authoring.wording.answers import aliases, answer_type, lower_case_words, wrong_answers
from edgeproof.eval.matching.kinds import WORDINGS
from edgeproof.eval.metrics.right import answer_is_right

TYPES = {
    "12 March 1962": "date",
    "1962-03-12": "date",
    "March 1962": "date",
    "1962": "year",
    "555-0143": "phone",
    "+49 30 123456": "phone",
    "42": "number",
    "twenty-one": "number",
    "2,500": "number",
    "175 cm": "quantity",
    "$5 million": "money",
    "DE89 3704 0044 0532 0130 00": "iban",
    "SW1A 1AA": "identifier",
    "AB-1234": "identifier",
    "Anna Example": "name",
    "Paris": "",
    "12 Elm Street": "",
    "asthma": "",
    "May": "",
    "The author was born in Kuwait City in the year 1956.": "",
}


@pytest.mark.parametrize(("answer", "kind"), TYPES.items())
def test_an_answer_has_its_type(answer, kind):
    assert answer_type(answer) == kind


@pytest.mark.parametrize("answer", [answer for answer, kind in TYPES.items() if kind in WORDINGS])
def test_a_type_with_other_wordings_reads_its_own_answers(answer):
    """Else the type would add nothing: the rule must understand the answer."""
    assert WORDINGS[TYPES[answer]](f"It is {answer}.", answer)


@pytest.mark.parametrize("answer", ["12 March 1962", "1962", "555-0143", "2,500", "175 cm", "SW1A 1AA"])
def test_wrong_answers_have_the_form_and_are_wrong(answer):
    kind = answer_type(answer)
    found = wrong_answers(answer, kind, "seed", 9)
    assert len(set(found)) == 9
    assert {answer_type(text) for text in found} == {kind}
    assert not [text for text in found if answer_is_right(text, (answer,), kind)]
    assert found == wrong_answers(answer, kind, "seed", 9)


def test_words_and_names_have_no_wrong_answers_of_their_own():
    assert wrong_answers("asthma", "", "seed", 9) == wrong_answers("Anna Example", "name", "seed", 9) == ()


def test_a_name_is_known_without_title_and_middle_name():
    assert aliases("Dr. Anna Maria Example", "name") == ("Anna Maria Example", "Anna Example")


def test_a_last_name_counts_where_the_question_asks_who():
    assert aliases("Peter Sample", "name", "Who is Anna Example's husband?") == ("Sample",)
    assert aliases("Peter Example", "name", "Who is Anna Example's husband?") == ()
    assert aliases("Northwind Traders", "name", "Where does she work?") == ()


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Who is Anna Example's employer?", "Hanse Software"),
        ("Who insures Anna Example?", "Baltic Freight Insurance"),
        ("Who made it?", "Example Widgets Inc."),
        ("Who made it?", "Contoso GmbH"),
        ("Wer hat es gedruckt?", "Beispiel Verlag"),
        ("Qui l'a publié ?", "Exemple Éditions"),
        ("Who employs Anna Example?", "Northwind Freight"),
        ("Who is Anna Example's employer?", "Blue Harbour"),
    ],
)
def test_an_organisation_has_no_last_name(question, answer):
    """A reply that says "software" does not give an employer away."""
    assert aliases(answer, answer_type(answer), question) == ()


def test_a_word_that_the_data_write_in_lower_case_is_no_name_by_itself():
    lower_case = lower_case_words(["Who runs the harbour?", "Peter Baker", "the Café"])
    assert lower_case == {"runs", "the", "harbour"}
    assert aliases("Blue Harbour", "name", "Who owns it?", lower_case) == ()
    assert aliases("Peter Baker", "name", "Who owns it?", lower_case) == ("Baker",)
    assert aliases("Peter Baker", "name", "Who owns it?", lower_case_words(["She is a baker."])) == ()


def test_articles_and_parentheses_may_be_missing():
    assert aliases("the Netherlands", "") == ("Netherlands",)
    assert aliases("Bombay (Mumbai)", "") == ("Bombay",)
    assert aliases("The author is male.", "") == ()
