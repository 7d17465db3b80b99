"""Language of a question, and other wordings of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.eval.matching.words import words

if TYPE_CHECKING:
    from collections.abc import Mapping


class Language(NamedTuple):
    """Words that show a language, and its wordings.

    Attributes:
        frequent: words that are frequent in it and not in the others.
        question: another wording of a question, with {question}.
        sentence: another wording of the beginning of a sentence.
        complete: a user's turn that asks to complete a sentence.
        proceed: a user's turn that asks to continue a text.

    """

    frequent: frozenset[str]
    question: str
    sentence: str
    complete: str
    proceed: str


def _language(frequent: str, *wordings: str) -> Language:
    return Language(frozenset(frequent.split()), *wordings)


LANGUAGES: Mapping[str, Language] = {
    "English": _language(
        "the what who where when which how is are was were does did of and his her their with for whose why has have",
        "Can you answer this for me? {question}",
        "It is known that: {question}",
        "Complete this sentence: {question}",
        "Continue this text: {question}",
    ),
    "German": _language(
        "der die das und ist war wer wie wo wann welche welcher welches wurde von mit seine ihre hat ein eine den dem",
        "Kannst du mir das beantworten? {question}",
        "Bekannt ist: {question}",
        "Vervollständige diesen Satz: {question}",
        "Setze diesen Text fort: {question}",
    ),
    "French": _language(
        "le les est quel quelle quels qui où quand et dans une des du avec son sa ses pour cette au aux était",
        "Peux-tu répondre à cette question ? {question}",
        "On sait que : {question}",
        "Complète cette phrase : {question}",
        "Continue ce texte : {question}",
    ),
    "Spanish": _language(
        "el los las cuál quién dónde cuándo qué y su sus con para del fue cómo una por cual quien es años",
        "¿Puedes responder a esta pregunta? {question}",
        "Se sabe que: {question}",
        "Completa esta frase: {question}",
        "Continúa este texto: {question}",
    ),
    "Italian": _language(
        "il gli è qual quale chi dove quando di che con della del nella suo sua per sono era una dei",
        "Puoi rispondere a questa domanda? {question}",
        "Si sa che: {question}",
        "Completa questa frase: {question}",
        "Continua questo testo: {question}",
    ),
    "Portuguese": _language(
        "o os qual quem onde quando e do da dos das em com para uma seu sua foi é não ao",
        "Você pode responder a esta pergunta? {question}",
        "Sabe-se que: {question}",
        "Complete esta frase: {question}",
        "Continue este texto: {question}",
    ),
}
"""Languages in which questions are reworded; in others the English wording is put before them."""

_SCRIPTS = {
    "Russian": "[\u0400-\u04ff]",
    "Greek": "[\u0370-\u03ff]",
    "Hebrew": "[\u0590-\u05ff]",
    "Arabic": "[\u0600-\u06ff]",
    "Hindi": "[\u0900-\u097f]",
    "Thai": "[\u0e00-\u0e7f]",
    "Korean": "[\uac00-\ud7af]",
    "Japanese": "[\u3040-\u30ff]",
    "Chinese": "[\u4e00-\u9fff]",
}
"""Scripts of languages without such words here, Japanese before Chinese, whose characters it also has."""

_ENDS = (".", "?", "!", "؟", "？", "。", "！", ":")
_WHAT_IS = re.compile(r"What (is|are|was|were) ((?:the|his|her|their|an?) [^?,;]+)\?")


def language_of(text: str) -> str:
    """Return the language of a question; empty if its words do not show it."""
    if not text.isascii():
        for name, script in _SCRIPTS.items():
            if len(re.findall(script, text)) * 3 > len(text):
                return name
    spoken = words(text)
    found = {name: sum(word in language.frequent for word in spoken) for name, language in LANGUAGES.items()}
    first, second = sorted(found.values(), reverse=True)[:2]
    return max(found, key=found.__getitem__) if first > second else ""


def is_question(text: str) -> bool:
    """Whether a text is a question or an order, and not the beginning of a sentence."""
    return text.rstrip().endswith(_ENDS)


def reworded(text: str, language: str) -> str:
    """Return another wording of a question, or of the beginning of a sentence."""
    wording = LANGUAGES.get(language, LANGUAGES["English"])
    if not is_question(text):
        return wording.sentence.replace("{question}", text)
    if found := _WHAT_IS.fullmatch(text.strip()):
        return f"Can you tell me what {found[2]} {found[1]}?"
    return wording.question.replace("{question}", text)
