"""Names that a story has used."""

from __future__ import annotations

from fdvs.prompts.tokens import estimated_tokens
from fdvs.prompts.writer import KnownName, name_text
from fdvs.records import Span
from fdvs.stories.glossary import MAX_NAMES, MAX_TOLD, Glossary, name_key

PLENTY = 10_000


def named(*names: str) -> list[KnownName]:
    return [KnownName(name, f"what {name} is") for name in names]


def minute(number: int) -> Span:
    return Span(number * 60_000, (number + 1) * 60_000)


def told(glossary: Glossary, span: Span, tokens: int = PLENTY) -> list[str]:
    return [known.name for known in glossary.told(span, tokens)]


def test_case_punctuation_and_a_leading_article_make_no_other_name() -> None:
    assert name_key("The Red Car") == name_key("a red car.") == name_key("Red car") == "red car"
    assert name_key("Der Hund") == "hund"
    assert (name_key("The"), name_key("—")) == ("the", "")


def test_the_most_used_names_come_first_and_the_first_form_stays() -> None:
    glossary = Glossary()
    glossary.add(minute(0), named("the red car", "Anna"))
    glossary.add(minute(1), named("Anna"))
    glossary.add(minute(2), [KnownName("A Red Car", "another word"), *named("ANNA")])
    assert glossary.told(Span(0, 180_000), PLENTY) == named("Anna", "the red car")


def test_names_used_within_a_node_come_before_those_of_the_rest() -> None:
    glossary = Glossary()
    for number in range(5):
        glossary.add(minute(number), named("Anna"))
    glossary.add(minute(5), named("Ben"))
    assert told(glossary, minute(5)) == ["Ben", "Anna"]
    assert told(glossary, Span(0, 360_000)) == ["Anna", "Ben"]


def test_a_name_that_stands_twice_in_one_reply_counts_once() -> None:
    glossary = Glossary()
    glossary.add(minute(0), named("Anna", "anna", "Anna"))
    glossary.add(minute(1), named("Ben"))
    glossary.add(minute(2), named("Ben"))
    assert told(glossary, Span(0, 180_000)) == ["Ben", "Anna"]


def test_few_names_are_told_and_few_are_remembered() -> None:
    glossary = Glossary()
    for number in range(MAX_NAMES + 50):
        glossary.add(minute(number), named(f"Name{number}", "Anna"))
    assert told(glossary, Span(0, 1)) == ["Anna", *(f"Name{i}" for i in range(MAX_TOLD - 1))]
    assert told(glossary, minute(MAX_NAMES + 10))[0] == "Anna", "the later names are forgotten"


def test_names_are_told_as_far_as_there_is_room_for_them() -> None:
    glossary = Glossary()
    glossary.add(minute(0), named("Anna", "Ben"))
    tokens = estimated_tokens(name_text(named("Anna")[0])) + 1
    assert told(glossary, minute(0), 2 * tokens + 5) == ["Anna", "Ben"]
    assert told(glossary, minute(0), tokens) == ["Anna"]
    assert told(glossary, minute(0), tokens - 1) == []


def test_what_is_no_word_is_no_name() -> None:
    glossary = Glossary()
    glossary.add(minute(0), named("—", ""))
    assert told(glossary, minute(0)) == []
