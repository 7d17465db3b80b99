"""The shipped retain probes: made as said, right by rule where a rule exists, unique, and usable in a pack."""

from __future__ import annotations

import ast
import operator
import re
from collections import Counter

import pytest
from edgeproof.eval.authoring.banks.catalogue import banks
from edgeproof.eval.authoring.files import Head, pack_files
from edgeproof.eval.authoring.probes import Line
from edgeproof.eval.authoring.retain import retain_lines
from edgeproof.eval.matching.words import words
from edgeproof.eval.packs.files import ArchiveFiles
from edgeproof.eval.packs.reader import read_pack
from edgeproof_tests.eval.authoring.make_banks import BANKS, ELEMENTS, NUMBERS, made
from text_to_num import text2num

ALL = {bank.name: bank for bank in banks()}


def facts(name: str, start: str) -> list[dict[str, object]]:
    return [dict(line) for line in ALL[name].lines() if str(line["id"]).startswith(start)]


def test_files_are_what_the_script_makes():
    assert {name: (BANKS / name).read_text(encoding="utf-8") for name in made()} == made()


def test_the_catalogue_names_every_file():
    files = {path.name for path in BANKS.iterdir() if path.suffix in {".jsonl", ".json"}}
    assert {bank.file for bank in banks()} == files
    assert {bank.licence for bank in banks()} == {"CC0-1.0", "MIT"}


def test_there_are_a_thousand_probes_in_six_languages():
    sizes = {name: len(bank.lines()) for name, bank in ALL.items()}
    assert sum(sizes.values()) >= 3000
    assert {bank.language for bank in banks()} == {
        "",
        "English",
        "German",
        "French",
        "Spanish",
        "Italian",
        "Portuguese",
    }
    assert min(sizes.values()) >= 80


def test_ids_are_unique_and_no_answer_stands_in_its_question():
    lines = [line for bank in banks() for line in bank.lines()]
    assert not [name for name, count in Counter(str(line["id"]) for line in lines).items() if count > 1]
    told = [
        line["id"]
        for line in lines
        if f" {' '.join(words(str(line['answer'])))} " in f" {' '.join(words(str(line['question'])))} "
    ]
    # Arithmetic in code and plural forms say their operands.
    assert len(told) < 60, told


def test_all_banks_make_a_pack_of_clusters_that_count_separately():
    forget = Line("forget", "f", "f", "", {"question": "Who is Zorblax?", "answer": "Quonfler"})
    kept = retain_lines([forget], [], count=10_000, names=list(ALL), languages=())
    assert kept.overlapping == 0
    lines = (forget, *kept.lines)
    pack = read_pack(ArchiveFiles(pack_files(Head("all", None, (), {}, (), by_subjects=False), lines)), "all")
    assert len(pack.probes) == len(lines) > 3000
    assert pack.same == {}


def test_elements_are_in_order():
    names, symbols = ELEMENTS[::2], ELEMENTS[1::2]
    assert len(names) == len(set(names)) == len(set(symbols)) == 118
    assert all(re.fullmatch("[A-Z][a-z]?", symbol) for symbol in symbols)
    # Closed shells, and two elements of each row that everybody knows.
    numbers = dict(zip(symbols, range(1, 119), strict=True))
    shells = {"He": 2, "Ne": 10, "Ar": 18, "Kr": 36, "Xe": 54, "Rn": 86, "Og": 118}
    others = {"C": 6, "O": 8, "Fe": 26, "Cu": 29, "Ag": 47, "Sn": 50, "Au": 79, "Pb": 82, "U": 92, "Pu": 94, "No": 102}
    assert {name: numbers[name] for name in shells | others} == shells | others


def test_sums_are_right():
    for line in facts("arithmetic", ""):
        first, word, second = str(line["question"]).split()
        compute = {"plus": operator.add, "times": operator.mul, "minus": operator.sub}[word]
        assert compute(int(first), int(second)) == int(str(line["answer"]))


@pytest.mark.parametrize("code", NUMBERS)
def test_sums_in_words_are_right(code):
    language = {"de": "german", "fr": "french", "es": "spanish", "it": "italian", "pt": "portuguese"}[code]
    sums = [line for line in facts(language, code) if "-plus-" in str(line["id"])]
    assert len(sums) == 45
    for line in sums:
        first, second = re.split(" (?:plus|más|più|mais) ", str(line["question"]))
        total = text2num(str(line["answer"]), code)
        assert text2num(first, code) + text2num(second, code) == total == int(line["aliases"][0])


def test_code_has_the_values_that_python_gives():
    for line in facts("code", "python-"):
        value = eval(str(line["question"]))  # noqa: S307 (own table)
        assert ast.literal_eval(str(line["answer"])) == value


def test_symbols_and_names_of_elements_are_one_table():
    symbols = {str(line["question"]): line["answer"] for line in facts("elements", "symbol-")}
    names = {str(line["answer"]): line["question"] for line in facts("elements", "element-")}
    assert symbols == names
    assert len(symbols) == 118


@pytest.mark.parametrize("language", ["german", "french", "spanish", "italian", "portuguese"])
def test_each_capital_belongs_to_one_country(language):
    capitals = [line for line in facts(language, "") if "-capital-" in str(line["id"])]
    assert len(capitals) >= 50
    assert len({line["answer"] for line in capitals}) == len(capitals)
