"""Languages, other wordings of questions, and passages of texts."""

from __future__ import annotations

import pytest
from edgeproof.eval.authoring.wording.languages import language_of, reworded
from edgeproof.eval.authoring.wording.passages import passages, scrambled

QUESTIONS = {
    "English": "What is the name of her dog?",
    "German": "Wie ist die Telefonnummer von Anna?",
    "French": "Quelle est la date de naissance dans les documents ?",
    "Spanish": "¿Cuál es el nombre de su perro?",
    "Italian": "Qual è il nome della sua città?",
    "Portuguese": "Qual é o nome do seu cachorro?",
    "Russian": "Как зовут её собаку?",
    "Japanese": "彼女の犬の名前は何ですか？",
    "Chinese": "她的狗叫什么名字？",
    "": "Xyzzy plugh 123?",
}


@pytest.mark.parametrize(("language", "question"), QUESTIONS.items())
def test_a_question_s_language_is_found(language, question):
    assert language_of(question) == language


def test_questions_are_reworded_in_their_language():
    assert reworded("What is the name of her dog?", "English") == "Can you tell me what the name of her dog is?"
    assert reworded("Where does she live?", "English") == "Can you answer this for me? Where does she live?"
    assert reworded(QUESTIONS["German"], "German").startswith("Kannst du mir das beantworten?")
    assert reworded("The capital of Chile is", "English") == "It is known that: The capital of Chile is"


TEXT = (
    "It was a cold morning when the ship left the harbour and nobody spoke for a long while because of the wind. "
    "Then they met old Captain Bildad, who had been waiting for them at the end of the pier since the early hours. "
    "He said that the voyage would take three years at least, and that no man among them was likely to get rich by it."
)


def test_a_passage_is_continued_word_by_word():
    (passage,) = passages(TEXT)
    assert f"{passage.prompt} {passage.answer}" == " ".join(TEXT.split()[:60])
    assert passage.prompt.endswith(passage.shorter)
    assert f"{passage.gap} {passage.name}" in TEXT
    assert passage.name == "Captain Bildad"


def test_a_scrambled_passage_has_the_words_of_others_and_its_own_order():
    first, second = passages(f"{TEXT}\n\n{TEXT.replace('cold', 'warm').replace('Bildad', 'Peleg')}")
    made = scrambled(first, [first, second], "seed")
    assert made == scrambled(first, [first, second], "seed")
    assert made.answer != first.answer
    assert len(made.answer.split()) == len(first.answer.split())
    assert made.name != first.name
