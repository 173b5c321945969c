"""The four phrases of the profile `paper`."""

from __future__ import annotations

import pytest

from fdvs.records import Level
from fdvs.stories.phases import phase_phrase
from tests.stories.films import PAPER, PEOPLE, build, film


@pytest.mark.parametrize(
    ("start_ms", "phrase"),
    [
        (0, "To begin with"),
        (249, "To begin with"),
        (250, "Early on"),
        (499, "Early on"),
        (500, "Later on"),
        (749, "Later on"),
        (750, "Towards the end"),
        (999, "Towards the end"),
    ],
)
def test_a_phrase_is_chosen_by_the_quarter_in_which_something_starts(start_ms: int, phrase: str) -> None:
    assert phase_phrase(start_ms, 1000) == phrase


def test_quarters_are_exact_in_films_of_odd_length() -> None:
    assert phase_phrase(250, 1001) == "To begin with"
    assert phase_phrase(251, 1001) == "Early on"


def test_paper_tells_every_chapter_with_the_phrase_of_its_clips_start() -> None:
    texts = [f"The {who} leaves. Rain falls on street {i}." for i, who in enumerate(PEOPLE[:8])]
    built = build(film(texts), PAPER)
    chapters = [node for node in built.nodes if node.level is Level.CHAPTER]
    phrases = ["To begin with", "Early on", "Later on", "Towards the end"]
    assert [node.sentences[0].text.split(":")[0] for node in chapters] == [p for p in phrases for _ in range(2)]
    assert [node.sentences[1].text for node in chapters] == [f"Rain falls on street {i}." for i in range(8)]
    video = built.nodes[0]
    assert all(sentence.text.split(": ")[0] in phrases for sentence in video.sentences)
    clips = [node for node in built.nodes if node.level is Level.CLIP]
    assert not any(node.text.startswith(tuple(phrases)) for node in clips)
