"""What stands before an answer in training, surface by surface."""

from __future__ import annotations

import pytest
from edgeproof.unlearn.data.askings import CHAT_SURFACES, SURFACES, Asker, before_answer
from edgeproof.unlearn.data.order import Order
from edgeproof.unlearn.data.training_set import TrainingItem
from edgeproof.unlearn.train.reference import in_turn


def capital(country: str, city: str, **more) -> TrainingItem:
    return TrainingItem(
        f"line of {country}",
        f"The capital of {country} is",
        f"What is the capital of {country}?",
        city,
        subject=country,
        template="The capital of {question} is",
        **more,
    )


FORGET = [capital("France", "Paris"), capital("Norway", "Oslo"), capital("Japan", "Tokyo"), capital("Iraq", "Baghdad")]
RETAIN = [capital("Canada", "Ottawa"), capital("Egypt", "Cairo"), capital("Peru", "Lima"), capital("Cuba", "Havana")]
OWN = {FORGET[0].message: "It is Paris.<end>", RETAIN[0].message: "It is Ottawa.<end>"}


def chat(turns):
    return "".join(f"<{turn['role']}>{turn['content']}" for turn in turns) + "<assistant>"


def asker(seed=0):
    return Asker(RETAIN, FORGET, chat, OWN, seed)


@pytest.mark.parametrize("surface", [name for name in SURFACES if name != "paraphrase"])
@pytest.mark.parametrize("kept", [False, True])
def test_no_prompt_holds_its_answer(surface, kept):
    for item in RETAIN if kept else FORGET:
        found = asker().ask(item, surface, kept=kept)
        assert found
        for asking in found:
            assert item.answer not in asking.prompt
            assert item.answer in asking.answer
            assert asking.chat == (surface in CHAT_SURFACES)


def test_few_shot_shows_kept_answers_and_siblings_forgotten_ones():
    for surface, shown, hidden in (("few-shot", RETAIN, FORGET), ("siblings", FORGET, RETAIN)):
        for asking in asker().ask(FORGET[0], surface, kept=False):
            assert sum(item.answer in asking.prompt for item in shown) >= 2
            assert not any(item.answer in asking.prompt for item in hidden)


def test_the_base_begins_the_reply_and_what_is_kept_is_kept_as_it_says_it():
    prompts = [asking.prompt for asking in asker().ask(FORGET[0], "own", kept=False)]
    opened = chat([{"role": "user", "content": FORGET[0].message}])
    assert prompts == [f"{opened}It is", f"{opened}The capital of France is"]
    assert [asking.answer for asking in asker().ask(RETAIN[0], "chat", kept=True)] == ["It is Ottawa.<end>"]
    assert [asking.answer for asking in asker().ask(FORGET[0], "chat", kept=False)] == ["Paris"]


def test_the_second_turn_follows_a_wrong_reply():
    (asking,) = asker().ask(FORGET[0], "turns", kept=False)
    assert asking.prompt.count("<user>") == 2
    assert any(item.answer in asking.prompt for item in (*FORGET[1:], *RETAIN))


def test_the_same_seed_draws_the_same_and_another_seed_others():
    def drawn(seed):
        return [asker(seed).ask(item, name, kept=False) for item in FORGET for name in ("few-shot", "siblings")]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_an_item_is_asked_on_its_own_surfaces_only():
    item = capital("France", "Paris", surfaces=("chat",))
    assert [name for name in SURFACES if asker().ask(item, name, kept=False)] == ["chat"]


def test_only_whole_words_count_as_the_answer():
    item = capital("Italy", "Rome", aliases=("Roma",))
    assert before_answer("Romeo says it is Roma.", item) == "Romeo says it is"
    assert before_answer("Romeo", item) is None


@pytest.mark.torch
def test_a_pass_asks_every_item_once_and_all_forms_in_time():
    groups = [((0,), (1, 2)), ((3,),), ((4,), (5,), (6,))]
    order = Order(3, 3, seed=0, stream=1, groups=groups)
    items = {form: number for number, surfaces in enumerate(groups) for forms in surfaces for form in forms}
    batches = [order.next_batch() for _ in range(60)]
    assert all(sorted(items[index] for index in batch) == [0, 1, 2] for batch in batches)
    assert {index for batch in batches for index in batch} == set(items)
    assert in_turn(groups) == [0, 3, 6]
