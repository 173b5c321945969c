from __future__ import annotations

from collections.abc import Sequence

import pytest

from fdvs.languages.families import stemmer
from fdvs.languages.function_words import telling
from fdvs.languages.terms import terms
from fdvs.retrieval.grounding import WORDS_UNKNOWN, Grounding, ground

MILK = ["0:08–0:10 The cat drinks the milk."]


def stems(text: str) -> Sequence[str]:
    return [stemmer("en")(word) for word in telling(terms(text, query=True), "en")]


def grounded(answer: str, cited: Sequence[str] = MILK, question: str = "What happens?") -> Grounding:
    return ground(answer, cited, question, stems)


def test_an_answer_in_the_words_of_what_it_cites_has_full_support() -> None:
    assert grounded("The cat drinks the milk.") == Grounding((), 0, 1.0)
    assert grounded("Milk is drunk by a cat, at 0:08.").missing == ()
    assert grounded("The cats drink milk.").support == 1


def test_words_from_elsewhere_lower_the_support_to_nothing() -> None:
    assert grounded("The cat drinks wine.").words_share == pytest.approx(2 / 3)
    assert grounded("Wine.").support == 0
    assert grounded("A rocket lands on Mars.").support == 0


def test_a_number_that_stands_nowhere_is_missing() -> None:
    tower = ["The lighthouse is 32 metres tall."]
    assert grounded("It is 32 metres tall.", tower).support == 1
    wrong = grounded("The lighthouse is 45 metres tall.", tower)
    assert (wrong.missing, wrong.support) == (("45",), 0)
    assert grounded("45 of the 32 metres", tower).support == pytest.approx(0.5 * 2 / 3)
    assert grounded("It says 45.", tower, "Is it 45 metres tall?").missing == ()


@pytest.mark.parametrize(
    ("answer", "cited"),
    [
        ("2 men carry a sofa.", "Two men carry a sofa."),
        ("Two men carry a sofa.", "2 men carry a sofa."),
        ("It costs 1000 euros.", "It costs 1,000 euros."),
        ("It weighs 2.5 kg.", "It weighs 2.5 kg."),
    ],
)
def test_one_number_can_be_written_in_several_ways(answer: str, cited: str) -> None:
    assert grounded(answer, [cited]).support == 1


def test_small_numbers_may_be_counted_where_that_is_asked() -> None:
    dogs = ["A dog barks.", "Another dog barks."]
    assert grounded("2 dogs bark.", dogs, "How many dogs bark?").missing == ()
    assert grounded("2 dogs bark.", dogs, "Which dogs bark?").missing == ("2",)
    assert grounded("400 dogs bark.", dogs, "How many dogs bark?").missing == ("400",)


def test_names_are_words_with_a_capital_inside_a_sentence() -> None:
    told = ["A woman called Anna opens the fridge."]
    assert grounded("The woman is Anna. She opens Anna's fridge.", told).num_claims == 1
    assert grounded("The woman is Berta.", told).missing == ("Berta",)
    assert grounded("The woman is Berta.", told, "Is it Berta or Anna?").missing == ()
    assert grounded("A fridge. Someone opens it, I think.", told).num_claims == 0
    assert grounded("Die Frau öffnet den Kühlschrank.", ["Die Frau öffnet den Kühlschrank."]).num_claims == 0


def test_quoted_words_have_to_stand_there_as_they_are() -> None:
    slide = ['A slide says "Open data for all".']
    assert grounded('The slide says "open data".', slide).missing == ()
    for quote in ('"data open"', "“free data”", "«pen dat»"):
        assert grounded(f"The slide says {quote}.", slide).missing == (quote[1:-1],)


@pytest.mark.parametrize("answer", ["Yes.", "No, it is not.", "Die Katze trinkt nicht.", "猫喝牛奶。"])
def test_where_no_words_can_be_compared_they_count_half(answer: str) -> None:
    assert grounded(answer, ["The cat drinks the milk at the table."]).words_share is None
    assert grounded(answer, ["The cat drinks the milk at the table."]).support == WORDS_UNKNOWN


def test_missing_claims_are_named_in_the_order_of_the_answer_as_it_writes_them() -> None:
    assert grounded('At 00:09, 7 of 45 cats named Tom say "meow" 3 times.').missing == (
        "00:09",
        "7",
        "45",
        "3",
        "Tom",
        "meow",
    )
