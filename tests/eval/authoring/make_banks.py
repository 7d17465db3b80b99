"""Makes the shipped banks of retain probes from tables, rules and the Unicode CLDR.

    python tests/eval/authoring/make_banks.py      # writes eval/authoring/banks/*.jsonl

`examples/capitals/facts.toml` has facts that were checked by hand. Sums, code and calendars follow from rules. The
names of countries and capitals in other languages are the CLDR's (babel). `test_banks.py` makes them again and
compares.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[3]
BANKS = ROOT / "eval" / "authoring" / "banks"
FACTS = ROOT / "examples" / "capitals" / "facts.toml"
ASK = "Question: {question}\nAnswer:"
COMPLETE = "Complete this sentence: {prompt}"

GROUPS = {
    "capitals": ("capital", "kept-capital", "oceania-capital", "us-capital"),
    "countries": (
        *("continent", "their-continent", "more-continents", "their-language", "more-languages", "their-nationality"),
        *("nationality", "their-currency", "currency", "their-city", "city", "their-landmark", "their-food"),
    ),
    "grammar": (
        *("opposite", "plural", "past-tense", "past-form", "past-participle", "noun-plural", "superlative"),
        *("comparative", "young", "sound", "female"),
    ),
    "everyday": ("everyday", "idiom", "daily-life", "sequence", "next-number"),
    "knowledge": ("definition", "science", "author", "their-fact", "nature", "knowledge"),
    "words": ("french", "spanish", "german"),
}

_ELEMENTS = """
hydrogen H helium He lithium Li beryllium Be boron B carbon C nitrogen N oxygen O fluorine F neon Ne sodium Na
magnesium Mg aluminium Al silicon Si phosphorus P sulfur S chlorine Cl argon Ar potassium K calcium Ca
scandium Sc titanium Ti vanadium V chromium Cr manganese Mn iron Fe cobalt Co nickel Ni copper Cu zinc Zn
gallium Ga germanium Ge arsenic As selenium Se bromine Br krypton Kr rubidium Rb strontium Sr yttrium Y
zirconium Zr niobium Nb molybdenum Mo technetium Tc ruthenium Ru rhodium Rh palladium Pd silver Ag cadmium Cd
indium In tin Sn antimony Sb tellurium Te iodine I xenon Xe caesium Cs barium Ba lanthanum La cerium Ce
praseodymium Pr neodymium Nd promethium Pm samarium Sm europium Eu gadolinium Gd terbium Tb dysprosium Dy
holmium Ho erbium Er thulium Tm ytterbium Yb lutetium Lu hafnium Hf tantalum Ta tungsten W rhenium Re osmium
Os iridium Ir platinum Pt gold Au mercury Hg thallium Tl lead Pb bismuth Bi polonium Po astatine At radon Rn
francium Fr radium Ra actinium Ac thorium Th protactinium Pa uranium U neptunium Np plutonium Pu americium Am
curium Cm berkelium Bk californium Cf einsteinium Es fermium Fm mendelevium Md nobelium No lawrencium Lr
rutherfordium Rf dubnium Db seaborgium Sg bohrium Bh hassium Hs meitnerium Mt darmstadtium Ds roentgenium Rg
copernicium Cn nihonium Nh flerovium Fl moscovium Mc livermorium Lv tennessine Ts oganesson Og
"""
ELEMENTS = tuple(_ELEMENTS.split())
"""Names and symbols in the order of their atomic numbers (IUPAC)."""

ALSO = {"aluminium": "aluminum", "sulfur": "sulphur", "caesium": "cesium"}

CODE = """\
len('banana')
'abc'.upper()
'Hello'.lower()
max(3, 9, 4)
min(7, 2, 5)
sum([1, 2, 3])
abs(-12)
round(3.7)
7 // 2
7 % 3
2 ** 5
sorted([3, 1, 2])
[4, 5, 6][-1]
'python'[0]
'a,b,c'.split(',')
'-'.join(['x', 'y'])
len([1, 2, 3, 4])
list(range(3))
'abc'[::-1]
'abc' + 'def'
'ab' * 3
bool(0)
bool('a')
not True
3 == 3.0
'a' in 'cat'
int('42')
str(15)
float('2.5')
type(1).__name__
type('a').__name__
type(1.5).__name__
type(True).__name__
len({})
{'a': 1}['a']
{'x': 5}.get('x')
list({'k': 1})
len(set([1, 1, 2]))
[x * 2 for x in [1, 2, 3]]
any([False, True])
all([True, False])
'hello'.replace('l', 'L')
'hello'.find('e')
'hello'.count('l')
'hello'.startswith('he')
'a'.isdigit()
'5'.isdigit()
divmod(17, 5)
tuple([1, 2])
ord('A')
chr(98)
hex(255)
bin(5)
10 / 4
10 - 3 * 2
(1 + 2) * 3
1 < 2
5 <= 4
True and False
True or False
'abc'.index('c')
' hi '.strip()
'title'.capitalize()
[3, 1, 2].index(1)
None is None
list('abc')
0.5 + 0.25
pow(2, 3)
100 // 7
""".splitlines()
"""Python expressions, whose values Python gives."""

STATEMENTS = (
    ("In Python, a function is defined with the keyword", "def"),
    ("In Python, a class is defined with the keyword", "class"),
    ("In Python, a function gives back a value with the keyword", "return"),
    ("In Python, a module is loaded with the keyword", "import"),
    ("In Python, a loop is left early with the keyword", "break"),
    ("In Python, the next pass of a loop begins with the keyword", "continue"),
    ("In Python, an exception is handled in a block that begins with the keyword", "except"),
    ("In Python, an exception is thrown with the keyword", "raise"),
    ("In Python, a generator function gives values with the keyword", "yield"),
    ("In Python, an anonymous function begins with the keyword", "lambda"),
    ("In Python, the value that stands for nothing is called", "None"),
    ("In C, the function in which a program begins is called", "main"),
    ("In SQL, rows are read with the statement", "SELECT"),
    ("In SQL, rows are added with the statement", "INSERT"),
    ("In SQL, rows are removed with the statement", "DELETE"),
    ("In SQL, rows are filtered by the clause", "WHERE"),
    ("In SQL, rows are sorted by the clause ORDER", "BY"),
    ("In git, changes are recorded with the command git", "commit"),
    ("In git, a repository is copied with the command git", "clone"),
    ("In git, commits are sent to a remote with the command git", "push"),
    ("In HTML, a paragraph is marked by the tag", "p"),
    ("In JavaScript, a constant is declared with the keyword", "const"),
    ("In a Unix shell, files are listed with the command", "ls"),
    ("In a Unix shell, the current folder is printed by the command", "pwd"),
    ("In a Unix shell, a file is removed with the command", "rm"),
    ("In a Unix shell, a folder is made with the command", "mkdir"),
)

COUNTRIES = {
    "AL": "Tirane", "AD": "Andorra", "AT": "Vienna", "BY": "Minsk", "BE": "Brussels", "BA": "Sarajevo", "BG": "Sofia",
    "HR": "Zagreb", "CZ": "Prague", "DK": "Copenhagen", "EE": "Tallinn", "FI": "Helsinki", "FR": "Paris",
    "DE": "Berlin", "GR": "Athens", "HU": "Budapest", "IE": "Dublin", "IT": "Rome", "LV": "Riga", "LT": "Vilnius",
    "MT": "Malta", "MD": "Chisinau", "MC": "Monaco", "ME": "Podgorica", "NL": "Amsterdam", "MK": "Skopje",
    "NO": "Oslo", "PL": "Warsaw", "PT": "Lisbon", "RO": "Bucharest", "RU": "Moscow", "RS": "Belgrade",
    "SK": "Bratislava", "SI": "Ljubljana", "ES": "Madrid", "SE": "Stockholm", "GB": "London", "JP": "Tokyo",
    "TH": "Bangkok", "IR": "Tehran", "IQ": "Baghdad", "EG": "Cairo", "CU": "Havana", "PE": "Lima", "VE": "Caracas",
    "KE": "Nairobi", "GE": "Tbilisi", "AM": "Yerevan", "AZ": "Baku", "AF": "Kabul", "KR": "Seoul", "SA": "Riyadh",
    "LB": "Beirut", "SY": "Damascus", "JO": "Amman", "UY": "Montevideo", "ET": "Addis_Ababa", "SO": "Mogadishu",
}  # fmt: skip
"""Countries whose capital gives a time zone its name, with the zone's last word."""

SAME = {"Andorra", "Malta", "Monaco"}
"""Zones named after the country."""

LANGUAGES = {
    "de": ("German", "Was ist die Hauptstadt von {question}?",
           "Welcher Wochentag kommt nach {question}?",
           "Welcher Monat kommt nach {question}?",
           "Wie viel ist {question}?",
           "plus"),
    "fr": ("French", "Quelle est la capitale du pays suivant : {question} ?",
           "Quel jour de la semaine vient après {question} ?",
           "Quel mois vient après {question} ?",
           "Combien font {question} ?",
           "plus"),
    "es": ("Spanish", "¿Cuál es la capital de este país: {question}?",
           "¿Qué día de la semana viene después de {question}?",
           "¿Qué mes viene después de {question}?",
           "¿Cuánto es {question}?",
           "más"),
    "it": ("Italian", "Qual è la capitale di questo paese: {question}?",
           "Quale giorno della settimana viene dopo {question}?",
           "Quale mese viene dopo {question}?",
           "Quanto fa {question}?",
           "più"),
    "pt": ("Portuguese", "Qual é a capital deste país: {question}?",
           "Que dia da semana vem depois de {question}?",
           "Que mês vem depois de {question}?",
           "Quanto é {question}?",
           "mais"),
}  # fmt: skip

NUMBERS = {
    "de": "eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn "
    "siebzehn achtzehn",
    "fr": "un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept dix-huit",
    "es": "uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis "
    "diecisiete dieciocho",
    "it": "uno due tre quattro cinque sei sette otto nove dieci undici dodici tredici quattordici quindici sedici "
    "diciassette diciotto",
    "pt": "um dois três quatro cinco seis sete oito nove dez onze doze treze catorze quinze dezesseis "
    "dezessete dezoito",
}
"""Number words from one on."""


def made() -> dict[str, str]:
    """Return the content of each bank's file."""
    banks: dict[str, list[dict[str, object]]] = {name: list(_facts(groups)) for name, groups in GROUPS.items()}
    banks |= {"elements": list(_elements()), "arithmetic": list(_sums()), "code": list(_code())}
    banks |= {language[0].lower(): list(_abroad(code)) for code, language in LANGUAGES.items()}
    return {
        f"{name}.jsonl": "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in _unique(lines))
        for name, lines in banks.items()
    }


def _unique(lines: list[dict[str, object]]) -> Iterator[dict[str, object]]:
    """Yield each question once, and each id."""
    ids: set[str] = set()
    asked: set[tuple[str, str]] = set()
    for line in lines:
        key = (str(line["template"]), str(line["question"]).casefold())
        if key in asked:
            continue
        asked.add(key)
        name, number = str(line["id"]), 2
        while line["id"] in ids:
            line |= {"id": f"{name}-{number}", "cluster": f"{name}-{number}"}
            number += 1
        ids.add(str(line["id"]))
        yield line


def _facts(groups: tuple[str, ...]) -> Iterator[dict[str, object]]:
    table = {group["name"]: group for group in tomllib.loads(FACTS.read_text(encoding="utf-8"))["group"]}
    for name in groups:
        group = table[name]
        template = group["templates"][0].replace("{}", "{question}")
        message = group["messages"][0].replace("{}", "{question}") if group.get("messages") else COMPLETE
        for subject, answer, *aliases in group["facts"]:
            yield _line(f"{name}-{subject}", subject, answer, template, message, group["answer_type"], *aliases)


def _line(
    name: str, question: str, answer: str, template: str, message: str, kind: str, *aliases: str
) -> dict[str, object]:
    name = re.sub(r"[^a-z0-9à-ÿ]+", "-", name.casefold()).strip("-")[:60].strip("-")
    line: dict[str, object] = {"id": name, "cluster": name, "question": question, "answer": answer}
    if aliases:
        line["aliases"] = list(aliases)
    return line | {"template": template, "message": message, "answer_type": kind}


def _elements() -> Iterator[dict[str, object]]:
    names, symbols = ELEMENTS[::2], ELEMENTS[1::2]
    for number, (name, symbol) in enumerate(zip(names, symbols, strict=True), start=1):
        both = [ALSO[name]] if name in ALSO else []
        ask = "The chemical symbol for {question} is"
        yield _line(f"symbol-{name}", name, symbol, ask, "What is the chemical symbol for {question}?", "symbol")
        ask = "The atomic number of {question} is"
        yield _line(
            f"atomic-number-{name}", name, str(number), ask, "What is the atomic number of {question}?", "number"
        )
        ask = "{question} is the chemical symbol for"
        message = "Which chemical element has the symbol {question}?"
        yield _line(f"element-{name}", symbol, name, ask, message, "element", *both)


def _sums() -> Iterator[dict[str, object]]:
    """Yield sums in words: signs are no words, so `2 + 3` and `2 × 3` would count as one question."""
    sums = [
        (first, word, second, result)
        for first in range(2, 13)
        for second in range(first, 13)
        for word, result in (("plus", first + second), ("times", first * second))
    ]
    sums += [(first, "minus", second, first - second) for first in range(20, 100, 7) for second in (3, 8, 11)]
    for first, word, second, result in sums:
        asked = f"{first} {word} {second}"
        yield _line(asked, asked, str(result), "{question} is", "What is {question}?", "number")


def _code() -> Iterator[dict[str, object]]:
    ask = ">>> {question}\n"
    message = "What does the Python expression {question} evaluate to? Answer with the value."
    for expression in CODE:
        result = repr(eval(expression))  # noqa: S307 (a table of this file)
        yield _line(f"python-{expression}", expression, result, ask, message, "value")
    for question, answer in STATEMENTS:
        yield _line(f"code-{question}", question, answer, "{question}", COMPLETE, "keyword")


def _abroad(code: str) -> Iterator[dict[str, object]]:
    """Yield capitals, weekdays, months and sums in a language."""
    from babel import Locale
    from babel.core import get_global
    from babel.dates import get_timezone_location

    _, capital, day, month, total, plus = LANGUAGES[code]
    locale = Locale(code)
    zones = {zone.rpartition("/")[2]: zone for own in get_global("territory_zones").values() for zone in own}
    for territory, zone in COUNTRIES.items():
        country = locale.territories[territory]
        city = get_timezone_location(zones[zone], locale=locale, return_city=True)
        if zone not in SAME and city.casefold() not in country.casefold():
            yield _line(f"{code}-capital-{territory}", country, city, ASK, capital, "city") | _asked(capital)
    days = [locale.days["stand-alone"]["wide"][number] for number in range(7)]
    months = [locale.months["stand-alone"]["wide"][number] for number in range(1, 13)]
    for ask, names, kind in ((day, days, "day"), (month, months, "month")):
        for number, one in enumerate(names):
            following = names[(number + 1) % len(names)]
            yield _line(f"{code}-{kind}-{number + 1}", one, following, ASK, ask, kind) | _asked(ask)
    numbers = NUMBERS[code].split()
    for first in range(1, 10):
        for second in range(first, 10):
            result = first + second
            asked = f"{numbers[first - 1]} {plus} {numbers[second - 1]}"
            line = _line(f"{code}-{first}-plus-{second}", asked, numbers[result - 1], ASK, total, "number", str(result))
            yield line | _asked(total)


def _asked(ask: str) -> dict[str, str]:
    return {"template": ASK.replace("{question}", ask), "message": ask}


if __name__ == "__main__":
    for file, text in made().items():
        (BANKS / file).write_text(text, encoding="utf-8")
        print(file, text.count("\n"))  # noqa: T201
