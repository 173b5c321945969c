from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdvs.languages.families import Families, spellings, stemmer
from fdvs.languages.function_words import language_of_query, telling
from fdvs.languages.terms import terms


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Running DOGS, don't re-run!", ["running", "dogs", "don", "t", "re", "run"]),
        ("Große STRASSE 42", ["grosse", "strasse", "42"]),
        ("Ｆｕｌｌ width ﬁ", ["full", "width", "fi"]),
        ("Geschwin\u00addigkeit", ["geschwindigkeit"]),  # a soft hyphen is no border
        ("हिन्दी में", ["हिन्दी", "में"]),  # vowel signs belong to their word
        ("猫", ["猫"]),
        ("机器学习AI课", ["机", "器", "学", "习", "机器", "器学", "学习", "ai", "课"]),
        ("ﾃﾞｰﾀ", ["デ", "ー", "タ", "デー", "ータ"]),
        ("กำ", ["กํ", "า", "กํา"]),  # a mark stays with its letter
        ("", []),
        ("\x00\ud83d … _", []),
    ],
)
def test_text_is_cut_into_terms(text: str, found: list[str]) -> None:
    assert terms(text) == found


def test_a_query_is_looked_up_by_its_pairs_alone() -> None:
    assert terms("机器学习 猫", query=True) == ["机器", "器学", "学习", "猫"]


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_any_text_gives_terms_without_blanks_that_a_query_finds_again(text: str) -> None:
    found = terms(text)
    assert all(term and not any(c.isspace() for c in term) for term in found)
    assert set(terms(text, query=True)) <= set(found)


def test_spellings_are_what_people_type() -> None:
    assert spellings("übung") == ("übung", "ubung", "uebung")
    assert spellings("ёж") == ("ёж", "еж")
    assert spellings("smørrebrød") == ("smørrebrød", "smorrebrod", "smoerrebroed")
    assert spellings("が") == ("が",)
    assert spellings("dog") == ("dog",)


WORDS = ["übungen", "haus", "häuser", "corner", "corn", "höchstgeschwindigkeit", "geschwindigkeiten", "学习"]


@pytest.fixture
def german() -> Families:
    families, numbers = Families.of(WORDS, {"de": [0, 1, 2, 5, 6, 7], "en": range(8)})
    assert numbers == [families.family(word) for word in WORDS]
    return families


def test_forms_and_spellings_are_one_family(german: Families) -> None:
    assert german.family("häuser") == german.family("haeuser") == german.family("haus")
    assert german.family("uebung") == german.family("ubung") == german.family("übungen")
    assert german.family("zug") is None


def test_a_stemmer_sees_the_words_of_its_language_only(german: Families) -> None:
    assert stemmer("de")("corner") == stemmer("de")("corn")
    assert german.family("corner") != german.family("corn")


def test_a_word_is_found_inside_compounds_of_languages_that_have_them(german: Families) -> None:
    (longer,) = german.compounds("geschwindigkeit")
    assert longer == german.family("höchstgeschwindigkeit")
    english, _ = Families.of(["party", "art"], {"en": range(2)})
    assert english.compounds("art") == set()


def test_the_language_of_a_query_is_that_of_its_function_words() -> None:
    assert language_of_query(terms("Was zeigt der Film?"), ["de", "en"]) == "de"
    assert language_of_query(terms("what is shown"), ["de", "en"]) == "en"
    assert language_of_query(terms("Tiger"), ["de", "en"]) is None
    assert language_of_query(terms("was zeigt der Film"), ["en"]) == "en"  # nobody speaks German there


def test_function_words_tell_nothing_in_their_language_only() -> None:
    assert telling(terms("Wo ist die Katze?"), "de") == ["katze"]
    assert telling(terms("will the tiger die"), "en") == ["tiger", "die"]
    assert telling(terms("猫是什么", query=True), "zh") == ["猫是"]
