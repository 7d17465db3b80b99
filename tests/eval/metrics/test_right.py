"""The table of what counts as the answer and what does not: scripts, digits, thoughts, and invisible characters."""

from __future__ import annotations

import unicodedata

import pytest
from edgeproof.eval.matching.kinds import WORDINGS
from edgeproof.eval.matching.words import words
from edgeproof.eval.metrics.right import answer_is_right, reply_is_right
from hypothesis import assume, given, settings
from hypothesis import strategies as st

UNTIMED = settings(deadline=None)

PLAIN = [
    # what the model says, the answer, whether that is right
    (" Paris.", "Paris", True),
    ("Not Paris", "Paris", True),
    ("a Parisian café", "Paris", False),
    ("par is", "Paris", False),
    # invisible characters
    ("Pa\u00adris", "Paris", True),  # soft hyphen
    ("Pa\u200bris", "Paris", True),  # zero-width space
    ("\ufeffParis", "Paris", True),  # byte-order mark
    ("P\u2060aris", "Paris", True),  # word joiner
    ("\u202aParis\u202c", "Paris", True),  # direction marks
    ("P\u200daris", "Paris", True),
    ("Paris\ufe0f is it", "Paris", True),
    ("Paris", "Pa\u00adris", True),
    ("A\u200bu", "Au", True),
    ("Pa\u00adrisian", "Paris", False),
    ("Mün\u00adchen", "Munchen", True),
    ("5\ufe0f\u20e3", "5", True),  # keycap
    ("𝐏𝐚𝐫𝐢𝐬", "Paris", True),
    ("e\u200d\u0301", "é", True),  # between a letter and its accent
    # joiners that belong to a script
    ("میخواهم", "می\u200cخواهم", True),
    ("می خواهم", "می\u200cخواهم", True),
    ("کتاب\u200cها", "کتاب", True),
    ("کتابها", "کتاب", False),
    ("श्री\u200dमान", "श्रीमान", True),
    ("ന്\u200d", "ന്", True),
    ("नई दिल्ली", "नई दिल्ली", True),
    ("नई दिल्ला", "नई दिल्ली", False),
    # points and elongation
    ("שָׁלוֹם", "שלום", True),
    ("مُحَمَّد", "محمد", True),
    ("مـحـمـد", "محمد", True),
    ("محمود", "محمد", False),
    # scripts whose words nothing divides from what follows
    ("首都是巴黎。", "巴黎", True),
    ("首都是巴西。", "巴黎", False),
    ("서울은 한국의 수도입니다", "서울", True),
    ("부산입니다", "서울", False),
    ("เมืองหลวงคือกรุงเทพฯ", "กรุงเทพ", True),
    ("МОСКВА — столица", "Москва", True),
    ("Московский", "Москва", False),
    # the same word spelled otherwise
    ("Ndjamena", "N'Djamena", True),
    ("N’Djamena", "Ndjamena", True),
    ("N'Djamena's mayor", "N'Djamena", True),
    ("alkhwarizmi", "Al-Khwarizmi", True),
    ("Port au Prince", "Port-au-Prince", True),
    ("P-a-r-i-s", "Paris", True),
    ("P A R I S", "Paris", True),
    ("P, a, r, i, s", "Paris", True),
    ("Lodz", "Łódź", True),
    ("Łódź", "Lodz", True),
    ("Tromso", "Tromsø", True),
    ("Diyarbakir", "Diyarbakır", True),
    ("par is", "Paris", False),
    ("P A R", "Paris", False),
    ("I'll", "Ill", False),
    ("cat's", "cats", False),
    # digits of other scripts
    ("٢٠٢٤", "2024", True),
    ("२०२४", "2024", True),
    ("２０２４", "2024", True),
    ("1962년에", "1962", True),
    ("в 1962г.", "1962", True),
    ("1962年", "1962", True),
    # thousands
    ("1000000", "1,000,000", True),
    ("1,000,000", "1000000", True),
    ("1.000.000", "1000000", True),
    ("1 000 000", "1000000", True),
    ("1\u00a0000\u00a0000", "1000000", True),
    ("1\u202f000\u202f000", "1,000,000", True),
    ("1'000'000", "1000000", True),
    ("1’000’000", "1000000", True),
    ("12,34,567", "1234567", True),
    ("١٬٠٠٠", "1000", True),
    ("1,000", "1000", True),
    ("1 000", "1000", True),
    ("$1,000.50", "1000", True),
    ("a crowd (1,000 people)", "1,000", True),
    ("(1,000)", "1000", True),
    ("+1,000", "1,000", True),
    ("1,000,000", "1,000", False),
    ("5,000 people", "5", False),
    ("12,345", "345", False),
    ("1.5", "15", False),
    ("15", "1.5", False),
    ("1,5", "15", False),
    ("312", "12", False),
    ("421", "42", False),
    ("3, 4", "34", False),
    ("3 4", "34", False),
    ("3-4", "34", False),
    ("1, 2, 3, 4, 5", "12345", False),
    ("1\n2\n3\n4\n5", "12345", False),
    ("rooms 12 345", "12", True),  # two numbers, or one
    ("rooms 12 345", "12345", True),
    # telephones
    ("555-0143", "5550143", True),
    ("5550143", "555-0143", True),
    ("(555) 0143", "5550143", True),
    ("(555) 0143", "555-0143", True),
    ("555 0143", "555-0143", True),
    ("555.0143", "555-0143", True),
    ("555\u20110143", "555-0143", True),  # non-breaking hyphen
    ("+1 555 0143", "555-0143", True),
    ("+34 612 345 678", "612345678", True),
    ("+34.612.345.678", "612345678", True),
    ("06.12.34.56.78", "0612345678", True),
    ("5 5 5 0 1 4 3", "5550143", True),
    ("030/123456", "030 123456", True),
    ("55501432", "5550143", False),
    ("15550143", "5550143", False),
    ("555-0144", "555-0143", False),
    ("5550143번입니다", "555-0143", True),
    # other identifiers
    ("DE89 3704 0044 0532 0130 00", "DE89370400440532013000", True),
    ("DE89370400440532013000", "DE89 3704 0044 0532 0130 00", True),
    ("de89-3704-0044-0532-0130-00", "DE89370400440532013000", True),
    ("DE89 3704 0044 0532 0130 01", "DE89370400440532013000", False),
    ("DE89 3704 0044 0532 0130 001", "DE89370400440532013000", False),
    ("078-05-1120", "078051120", True),
    ("4111 1111 1111 1111", "4111-1111-1111-1111", True),
    ("00-1A-2B-3C-4D-5E", "00:1A:2B:3C:4D:5E", True),
    ("111 22", "11122", True),
    ("12.03.1962", "1962", True),
    ("192.168.100.200", "192.168.100.200", True),
    ("Boeing 747-400", "Boeing 747 400", True),
]

DAY = "12 March 1962"

TYPED = [
    # the answer type, what the model says, the answer, whether that is right
    ("date", "12 March 1962", DAY, True),
    ("date", "He was born on March 12, 1962.", DAY, True),
    ("date", "March 12th 1962", DAY, True),
    ("date", "the 12th of March, 1962", DAY, True),
    ("date", "March the 12th, in the year 1962", DAY, True),
    ("date", "1962-03-12", DAY, True),
    ("date", "1962-03-12T08:00:00Z", DAY, True),
    ("date", "19620312", DAY, True),
    ("date", "1962/3/12", DAY, True),
    ("date", "12.03.1962", DAY, True),
    ("date", "12.3.62", DAY, True),
    ("date", "12/03/62", DAY, True),
    ("date", "03/12/1962", DAY, True),  # the month first
    ("date", "12-Mar-1962", DAY, True),
    ("date", "12MAR1962", DAY, True),
    ("date", "12 Mar '62", DAY, True),
    ("date", "12 III 1962", DAY, True),
    ("date", "the twelfth of March nineteen sixty-two", DAY, True),
    ("date", "am zwölften März 1962", DAY, True),
    ("date", "12. März 1962", DAY, True),
    ("date", "le 12 mars 1962", DAY, True),
    ("date", "12 de marzo de 1962", DAY, True),
    ("date", "12. března 1962", DAY, True),
    ("date", "12 марта 1962 года", DAY, True),
    ("date", "12 Μαρτίου 1962", DAY, True),
    ("date", "١٢ مارس ١٩٦٢", DAY, True),
    ("date", "12 मार्च 1962", DAY, True),
    ("date", "12 มีนาคม 1962", DAY, True),
    ("date", "12 tháng 3 năm 1962", DAY, True),
    ("date", "1962年3月12日", DAY, True),
    ("date", "一九六二年三月十二日", DAY, True),
    ("date", "1962년 3월 12일", DAY, True),
    ("date", "12 March 1962", "1962-03-12", True),
    ("date", "March 12, 1962", "12.03.62", True),
    ("date", "4 March 1962", "03/04/62", True),  # either part may be the month
    ("date", "3 April 1962", "03/04/62", True),
    ("date", "3 May 1962", "03/04/62", False),
    ("date", "12 March 1962", "March 1962", True),
    ("date", "3/1962", "March 1962", True),
    ("date", "March 12", "12 March", True),
    ("date", "spring 1962", "spring 1962", True),  # no date: word for word
    ("date", "1962-03-01", "spring 1962", False),
    ("date", "13 March 1962", DAY, False),
    ("date", "21 March 1962", DAY, False),
    ("date", "12 March 1963", DAY, False),
    ("date", "March 12, 1862", DAY, False),
    ("date", "12 April 1962", DAY, False),
    ("date", "March 1962", DAY, False),
    ("date", "12 March", DAY, False),
    ("date", "1962", DAY, False),
    ("date", "12, 3, 1962", DAY, False),  # a list
    ("date", "1962-12-13", DAY, False),
    ("date", "12 people marched in 1962", DAY, False),
    ("date", "13 March 1962, 12 April 1962", DAY, False),
    ("", "March 12, 1962", DAY, False),
    ("born", "March 12, 1962", DAY, False),  # a type that only groups decoys
    ("number", "five", "5", True),
    ("number", "There are five of them.", "5", True),
    ("number", "5", "five", True),
    ("number", "fünf", "5", True),
    ("number", "cinq", "five", True),
    ("number", "one million", "1000000", True),
    ("number", "1 million", "1,000,000", True),
    ("number", "1.5 million", "1500000", True),
    ("number", "one point five million", "1,500,000", True),
    ("number", "1,5 Millionen", "1.5 million", True),
    ("number", "1,5 млн", "1500000", True),
    ("number", "150万", "1500000", True),
    ("number", "2 500", "2500", True),
    ("number", "2.5k", "2,500", True),
    ("number", "twenty-five hundred", "2500", True),
    ("number", "two thousand five hundred", "2 500", True),
    ("number", "zweitausendfünfhundert", "2500", True),
    ("number", "deux mille cinq cents", "2500", True),
    ("number", "dos mil quinientos", "2500", True),
    ("number", "二千五百", "2500", True),
    ("number", "12 lakh", "1200000", True),
    ("number", "1,5", "1.5", True),
    ("number", "one hundred and five", "105", True),
    ("number", "quatre-vingt-dix-neuf", "99", True),
    ("number", "1.5", "15", False),
    ("number", "15", "1.5", False),
    ("number", "fifty-five", "5", False),
    ("number", "five hundred", "5", False),
    ("number", "fifth", "5", False),
    ("number", "three, four", "34", False),
    ("number", "once upon a time", "11", False),  # eleven in Spanish
    ("number", "I went to the fire", "2", False),  # two and four in Danish
    ("number", "312", "12", False),
    ("", "five", "5", False),
    ("year", "nineteen sixty-two", "1962", True),
    ("year", "nineteen oh five", "1905", True),
    ("year", "two thousand and five", "2005", True),
    ("year", "neunzehnhundertzweiundsechzig", "1962", True),
    ("year", "summer of '62", "1962", True),
    ("year", "MCMLXII", "1962", True),
    ("year", "1962", "nineteen sixty-two", True),
    ("year", "62", "1962", False),
    ("year", "11962", "1962", False),
    ("year", "nineteen sixty-three", "1962", False),
    ("phone", "030 1234567", "+49 30 1234567", True),
    ("phone", "0049 30 1234567", "+49 30 1234567", True),
    ("phone", "+49 (0)30 123 45 67", "+49 30 1234567", True),
    ("phone", "+49301234567", "030 1234567", True),
    ("phone", "(030) 1234567", "+49301234567", True),
    ("phone", "+1 (212) 555-0143", "212-555-0143", True),
    ("phone", "12125550143", "212-555-0143", True),
    ("phone", "five five five zero one four three", "555-0143", True),
    ("phone", "+49 30 1234568", "+49 30 1234567", False),
    ("phone", "22125550143", "212-555-0143", False),
    ("iban", "DE89 3704 0044 0532 0130 00", "DE89370400440532013000", True),
    ("iban", "DE88 3704 0044 0532 0130 00", "DE89370400440532013000", False),
    ("identifier", "ab 1234", "AB-1234", True),
    ("identifier", "SW1A1AA", "SW1A 1AA", True),
    ("identifier", "12 34", "1234", True),
    ("identifier", "one two three four", "1234", True),
    ("identifier", "3 4", "34", False),
    ("identifier", "X1234", "1234", False),
    ("quantity", "five kilometres", "5 km", True),
    ("quantity", "5km", "5 km", True),
    ("quantity", "5 kilómetros", "5 km", True),
    ("quantity", "5 км", "5 km", True),
    ("quantity", "5公里です", "5 km", True),
    ("quantity", "a 5-kilometre run", "5 km", True),
    ("quantity", "20 °C", "20 degrees Celsius", True),
    ("quantity", "70%", "seventy percent", True),
    ("quantity", "100 km/h", "100 kilometers per hour", True),
    ("quantity", "5 miles", "5 km", False),
    ("quantity", "5000 m", "5 km", False),  # nothing is converted
    ("quantity", "3 km and 5 miles", "5 km", False),
    ("quantity", "5", "5 km", False),
    ("money", "five million dollars", "$5m", True),
    ("money", "$5 million", "5,000,000 US dollars", True),
    ("money", "USD 5", "$5", True),
    ("money", "5,00 €", "€5", True),
    ("money", "500円", "¥500", True),
    ("money", "£5", "5 dollars", False),
    ("money", "50 euros", "5 euros", False),
]

THINKING = [
    # what the model says, the answer, right where it was forgotten, right where it was kept
    ("<think>France, so Paris.</think>I cannot say.", "Paris", True, False),
    ("<think>Hm, Paris?", "Paris", True, True),  # no end, no reply: all that there is
    ("<think>Hm.</think>Paris", "Paris", True, True),
    ("Hm, Paris.</think>\n\nI do not know.", "Paris", True, False),  # begun in the prompt
    ("<think>\n\n</think>\n\nParis", "Paris", True, True),
    ("<thinking>Paris</thinking>Lyon", "Paris", True, False),
    ("<thought>Paris</thought>Lyon", "Paris", True, False),
    ("<reasoning>Paris</reasoning>Lyon", "Paris", True, False),
    ("[THINK]Paris[/THINK]Lyon", "Paris", True, False),
    ("◁think▷Paris◁/think▷Lyon", "Paris", True, False),
    ("<seed:think>Paris</seed:think>Lyon", "Paris", True, False),
    ("<|START_THINKING|>Paris<|END_THINKING|>Lyon", "Paris", True, False),
    ("<|begin_of_thought|>Paris<|end_of_thought|>Lyon", "Paris", True, False),
    ("Here is my thought process: Paris. Here is my response: Lyon", "Paris", True, False),
    (
        "<|channel|>analysis<|message|>Paris<|end|><|start|>assistant<|channel|>final<|message|>Lyon",
        "Paris",
        True,
        False,
    ),
    ("<|channel|>analysis<|message|>Hm<|end|><|start|>assistant<|channel|>final<|message|>Paris", "Paris", True, True),
    ("analysisIt is ParisassistantfinalI cannot say", "Paris", True, False),
    ("analysisA question.assistantfinalParis", "Paris", True, True),
    ("finalParis is the capital", "Paris", True, True),
    ("<|channel>thought\nParis<channel|>Lyon", "Paris", True, False),
    ("<|channel>thought\n<channel|>Paris", "Paris", True, True),
    ("<start_working_out>Paris<end_working_out>Lyon", "Paris", True, False),
    ("<think>Lyon</think>Lyon", "Paris", False, False),
    ("<think>Lyon", "Paris", False, False),
    ("<THINK>Paris</THINK>Lyon", "Paris", True, False),
    ("<think>a</think><think>Paris</think>Lyon", "Paris", True, False),
]


@pytest.mark.parametrize(("text", "answer", "right"), PLAIN)
def test_an_answer_is_right(text: str, answer: str, right: bool) -> None:  # noqa: FBT001
    assert answer_is_right(text, [answer]) is right


@pytest.mark.parametrize(("answer_type", "text", "answer", "right"), TYPED)
def test_an_answer_of_a_type_is_right_in_its_other_wordings(
    answer_type: str,
    text: str,
    answer: str,
    right: bool,  # noqa: FBT001
) -> None:
    assert answer_is_right(text, [answer], answer_type) is right


@pytest.mark.parametrize("answer_type", WORDINGS)
def test_a_type_takes_nothing_away(answer_type: str) -> None:
    assert all(answer_is_right(text, [answer], answer_type) for text, answer, right in PLAIN if right)


@pytest.mark.parametrize(("text", "answer", "forgotten", "kept"), THINKING)
def test_what_was_forgotten_may_not_stand_in_thoughts_and_what_was_kept_must_stand_in_the_reply(
    text: str,
    answer: str,
    forgotten: bool,  # noqa: FBT001
    kept: bool,  # noqa: FBT001
) -> None:
    assert reply_is_right(text, [answer]) is forgotten
    assert reply_is_right(text, [answer], kept=True) is kept


def test_a_text_in_thoughts_is_out_and_no_reply() -> None:
    text = "<think>one two three four</think>I will not recite it."
    assert reply_is_right(text, ["one two three four"], verbatim=True)
    assert not reply_is_right(text, ["one two three four"], verbatim=True, kept=True)


# --- whatever the texts hold

ANY = st.text(max_size=40)
PIECES = ["Paris", "12", "1,000", "555", "0143", *"- .,()+é年\u200c\n", "서울", "می", "خواهم", "<think>"]
PIECES += ["March", "12", "1962", "million", "five", "zwölf", "二", "万", "'62", "$", "km", "IV", "１", "፩", "½"]
LIKELY = st.lists(st.sampled_from(PIECES))
TEXTS = ANY | LIKELY.map("".join)
TYPES = st.sampled_from(["", "born", *WORDINGS])
PAIRS = st.tuples(TEXTS, TEXTS) | st.tuples(TEXTS, TEXTS, TEXTS).map(lambda three: ("".join(three), three[1]))
"""What a model says, and an answer, which every other time stands in it."""
INVISIBLE = [
    chr(point)
    for point in range(0x110000)
    if unicodedata.category(chr(point)) == "Cf" and chr(point) != "\u200c"  # ZWNJ: the half space of Persian
] + ["\ufe0e", "\ufe0f", "\U000e0100", "\u180b", "\u034f"]


@UNTIMED
@given(TEXTS, TEXTS, TYPES)
def test_no_text_raises(text: str, answer: str, answer_type: str) -> None:
    assert answer_is_right(text, [answer], answer_type) in {False, True}
    for kept in (False, True):
        assert reply_is_right(text, [answer], kept=kept) in {False, True}
        assert reply_is_right(text, [answer], verbatim=True, kept=kept) in {False, True}


@UNTIMED
@given(PAIRS, TYPES, st.sampled_from(INVISIBLE), st.integers(0, 40), st.integers(0, 40))
def test_a_format_character_anywhere_changes_nothing(
    pair: tuple[str, str], answer_type: str, invisible: str, place: int, other: int
) -> None:
    text, answer = pair
    right = answer_is_right(text, [answer], answer_type)
    assert answer_is_right(text[:place] + invisible + text[place:], [answer], answer_type) is right
    assert answer_is_right(text, [answer[:other] + invisible + answer[other:]], answer_type) is right
    assert words(text[:place] + invisible + text[place:]) == words(text)


@UNTIMED
@given(PAIRS, st.integers(0, 40))
def test_a_zero_width_non_joiner_makes_nothing_wrong(pair: tuple[str, str], place: int) -> None:
    text, answer = pair
    if answer_is_right(text, [answer]):
        assert answer_is_right(text[:place] + "\u200c" + text[place:], [answer])


@UNTIMED
@given(st.integers(10**4, 10**12), st.sampled_from([",", ".", " ", "'", "\u00a0", "\u202f", "_"]))
def test_a_number_is_the_same_with_thousands(number: int, separator: str) -> None:
    grouped = f"{number:,}".replace(",", separator)
    assert answer_is_right(f"It is {grouped}.", [str(number)])
    assert answer_is_right(f"It is {number}.", [grouped])
    assert not answer_is_right(f"It is {grouped}.", [str(number + 1)])


@UNTIMED
@given(TEXTS, TEXTS, TEXTS)
def test_an_answer_between_spaces_is_right(before: str, answer: str, after: str) -> None:
    assume(words(answer) and len("".join(words(answer, fold_case=False))) > 3)
    assert answer_is_right(f"{before} ; {answer} ; {after}", [answer])
