"""Holdout: names that do not exist, the same one throughout, and answers that nobody could know."""

from __future__ import annotations

from edgeproof.eval.authoring.wording.inventing import invented, invented_word

WHO = "Anna Example"


def made(question: str, answer: str, kind: str = "", *, subject: str = "", seed: str = "0", paraphrases=()):
    return invented(question, answer, kind, seed=seed, subject=subject, paraphrases=paraphrases)


def test_a_subject_s_name_becomes_the_same_one_in_all_its_questions():
    first = made(f"What is {WHO}'s phone number?", "555-0143", "phone", subject=WHO)
    second = made(f"When was {WHO} born in Paris?", "12 March 1962", "date", subject=WHO)
    name = first.question.removeprefix("What is ").removesuffix("'s phone number?")
    assert len(name.split()) == 2
    assert second.question == f"When was {name} born in Paris?"
    assert "Anna" not in first.question + second.question


def test_answers_keep_their_form():
    phone = made(f"What is {WHO}'s phone number?", "555-0143", "phone", subject=WHO).answer
    assert len(phone) == len("555-0143")
    assert phone[3] == "-"
    assert phone != "555-0143"
    word = made(f"What disease does {WHO} have?", "asthma", subject=WHO).answer
    assert word.islower()
    assert word != "asthma"


def test_without_a_subject_names_and_numbers_are_replaced_and_other_words_stay():
    found = made("Which prize did the author Basil Mahfouz win in 1989?", "the Golden Quill")
    asked = found.question.split()
    assert asked[:5] == ["Which", "prize", "did", "the", "author"]
    assert {"Basil", "Mahfouz", "1989?"}.isdisjoint(asked)
    assert asked[8] == "in"
    assert found.answer.startswith("the ")


def test_nothing_is_made_of_a_question_without_a_name_or_of_an_answer_that_stays():
    assert made("what is the best answer?", "blue") is None
    assert made(f"Is {WHO} tall?", "no", subject=WHO) is None


def test_a_wording_without_the_subject_s_name_asks_of_the_invented_one():
    found = made(
        f"What is {WHO}'s number?", "555-0143", subject=WHO, paraphrases=[f"the number of {WHO}", "the number to call"]
    )
    assert len(found.paraphrases) == 2
    assert found.paraphrases[0].startswith("the number of ")
    assert found.paraphrases[1] == found.question
    assert WHO not in " ".join(found.paraphrases)


def test_a_name_in_a_script_without_spaces_is_replaced():
    found = made(
        "王小明的电话号码是多少?", "13800138000", "phone", subject="王小明", paraphrases=["请问王小明的电话号码?"]
    )
    assert found.question.endswith("的电话号码是多少?")
    assert "王小明" not in found.question + found.paraphrases[0]
    assert found.paraphrases[0].removeprefix("请问").removesuffix("的电话号码?") in found.question


def test_a_sentence_that_echoes_its_question_is_no_holdout():
    question = "What is the full name of the author born in Kuwait City?"
    assert made(question, "The full name of the author who was born in Kuwait City is Basil.") is None
    assert made(question, "Basil Mahfouz Al Kuwaiti Ibn Rashid Hamdan was that author.") is not None


def test_another_seed_makes_another_name():
    assert len({invented_word("Example", str(seed)) for seed in range(50)}) > 45
    assert invented_word("Example", "1") == invented_word("EXAMPLE", "1").capitalize()
