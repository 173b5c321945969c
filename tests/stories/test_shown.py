"""How text on the screen is told: slides that build up or return, words over the picture, text that scrolls."""

from __future__ import annotations

from itertools import pairwise

import pytest

from fdvs.captioners.facts import Change
from fdvs.records import Level, PageKind, ShownPage, StoryNode, clock
from fdvs.stories.outline import Paragraph, outline
from fdvs.stories.standing import shown_pages, subject_changes
from tests.stories.films import build, facts, measured, page, record_of, still_facts

CLIP_MS = 4000
TEN = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def of_level(nodes: tuple[StoryNode, ...], level: Level) -> list[StoryNode]:
    return [node for node in nodes if node.level is level]


def still_film(num_clips: int, *pages: ShownPage) -> list[StoryNode]:
    return list(build(measured([still_facts] * num_clips, clip_ms=CLIP_MS, pages=pages)).nodes)


def told(num_clips: int, *pages: ShownPage) -> str:
    """The story as it is read, on one line."""
    record = record_of(measured([still_facts] * num_clips, clip_ms=CLIP_MS, pages=pages))
    return " ".join(item.text for item in outline(record) if isinstance(item, Paragraph))


def test_a_slide_is_told_as_a_slide_and_not_as_a_still_picture() -> None:
    slide = page(0, 16_000, (0, ["Rivers", "Water runs downhill", "and carries sand"]), title="Rivers")
    assert told(4, slide) == 'The slide "Rivers" is shown from 0:00 to 0:16: "Water runs downhill and carries sand".'


def test_a_slide_that_builds_up_names_the_time_of_each_step() -> None:
    slide = page(0, 24_000, (0, ["Rivers"]), (5000, ["Springs"]), (13_000, ["Deltas", "Floods"]), title="Rivers")
    nodes = build(measured([still_facts] * 6, clip_ms=CLIP_MS, pages=[slide])).nodes
    (scene,) = of_level(nodes, Level.SCENE)
    assert scene.text == (
        'The slide "Rivers" is shown from 0:00 to 0:24 and builds up: at 0:05 "Springs", at 0:13 "Deltas / Floods".'
    )
    assert scene.sentences[0].sources == tuple(step.caption_id for step in slide.steps)
    assert nodes[0].title == "Rivers"
    assert nodes[0].text == 'The slide "Rivers" is shown from 0:00 to 0:24: "Springs / Deltas / Floods".'


def test_one_slide_is_one_scene_however_much_is_added_to_it() -> None:
    slide = page(8000, 60_000, *[(8000 + 6000 * i, [f"Point {i} of many"]) for i in range(8)], title="Points")
    scenes = of_level(tuple(still_film(20, slide)), Level.SCENE)
    assert [scene.span.start_ms for scene in scenes] == [0, 8000, 60_000]


def test_a_slide_longer_than_a_node_may_be_is_told_on_where_it_grows() -> None:
    steps = [(4000 * i, [f"Point {i} of many"]) for i in range(0, 60, 10)]
    slide = page(0, 240_000, *steps, title="Points")
    scenes = of_level(tuple(still_film(60, slide)), Level.SCENE)
    assert len(scenes) >= 3, "60 clips need three scenes of at most 24"
    joined = " ".join(scene.text for scene in scenes)
    assert all(joined.count(f'"Point {i} of many"') == 1 for i in range(0, 60, 10))
    assert "builds up further" in scenes[1].text
    assert len({sentence.text for scene in scenes for sentence in scene.sentences}) == len(scenes)
    assert scenes[1].title == "Points, continued"


def test_above_the_scenes_a_slide_is_told_once_however_many_scenes_it_stands_over() -> None:
    steps = [(4000 * i, [f"Point {i} of many"]) for i in range(0, 60, 10)]
    film, *_ = still_film(60, page(0, 240_000, *steps, title="Points"))
    assert film.text == (
        'The slide "Points" is shown from 0:00 to 4:00: "Point 0 of many / Point 10 of many / Point 20 of many / '
        'Point 30 of many / Point 40 of many / Point 50 of many".'
    )
    assert len(film.sentences[0].sources) == len(steps), "what is told of a later step cites it"


def test_a_long_slide_that_does_not_change_is_not_told_twice() -> None:
    scenes = of_level(
        tuple(still_film(40, page(0, 160_000, (0, ["Rivers", "All of them"]), title="Rivers"))), Level.SCENE
    )
    assert [scene.text for scene in scenes] == [
        'The slide "Rivers" is shown from 0:00 to 2:40: "All of them".',
        f'The slide "Rivers" is still shown at 1:{scenes[1].span.start_ms // 1000 - 60:02d}.',
    ]


def test_slides_begin_scenes_and_come_after_each_other() -> None:
    first = page(0, 20_000, (0, ["Rivers", "Springs"]), title="Rivers")
    second = page(20_000, 40_000, (20_000, ["Lakes", "Shores"]), title="Lakes")
    nodes = tuple(still_film(10, first, second))
    scenes = of_level(nodes, Level.SCENE)
    assert [(scene.span.start_ms, scene.title) for scene in scenes] == [(0, "Rivers"), (20_000, "Lakes")]
    assert scenes[1].text == 'The slide "Lakes" is shown from 0:20 to 0:40: "Shores".'


def test_a_page_that_starts_late_in_a_clip_is_told_where_it_stands() -> None:
    first = page(0, 11_500, (0, ["Rivers", "Springs"]), title="Rivers")
    second = page(11_500, 24_000, (11_500, ["Lakes", "Shores"]), title="Lakes")
    scenes = of_level(tuple(still_film(6, first, second)), Level.SCENE)
    assert [scene.span.start_ms for scene in scenes] == [0, 12_000]
    assert "Lakes" in scenes[1].text
    assert "Lakes" not in scenes[0].text


def test_a_slide_that_returns_is_named_with_its_first_time() -> None:
    first = page(0, 16_000, (0, ["Rivers", "Springs"]), title="Rivers")
    other = page(16_000, 40_000, (16_000, ["Lakes", "Shores"]), title="Lakes")
    again = page(40_000, 56_000, (40_000, ["Rivers", "Springs"]), title="Rivers", repeats=first)
    text = told(14, first, other, again)
    assert text.endswith('The slide "Rivers" returns from 0:40 to 0:56, first seen at 0:00.')
    assert text.count("Springs") == 1


def test_a_slide_that_returns_often_is_counted_where_it_first_stands() -> None:
    title, pages = page(0, 12_000, (0, ["Rivers", "Springs"]), title="Rivers"), []
    for i in range(1, 8, 2):
        at = 12_000 * i
        pages.append(page(at, at + 12_000, (at, [f"Lake {i}", f"Shore {i}"]), title=f"Lake {i}"))
        back = at + 12_000
        pages.append(page(back, back + 12_000, (back, ["Rivers", "Springs"]), title="Rivers", repeats=title))
    text = told(27, title, *pages)
    assert text.startswith(
        'The slide "Rivers" is shown from 0:00 to 0:12: "Springs". This returns at 0:24, 0:48, 1:12 and 1:36.'
    )
    assert text.count("returns") == 1


def test_words_over_the_picture_are_told_once_and_are_no_title() -> None:
    mark = page(0, 40_000, (0, ["Copyright by Nobody"]), kind=PageKind.OVERLAY)
    moving = [lambda clip: facts(clip, [Change.MOTION] * 3, region=5)] * 10
    nodes = build(measured(moving, clip_ms=CLIP_MS, pages=[mark])).nodes
    text = " ".join(scene.text for scene in of_level(nodes, Level.SCENE))
    assert text.count('The words "Copyright by Nobody" stay on the screen for the whole film.') == 1
    assert all("Copyright" not in node.title for node in nodes if node.level is not Level.CLIP)
    assert len(of_level(nodes, Level.SCENE)) == 1


@pytest.mark.parametrize(("begins_ms", "lead"), [(8000, "Text scrolls"), (160_000, "Credits scroll")])
def test_scrolling_text_is_one_scene_told_once(begins_ms: int, lead: str) -> None:
    end_ms = begins_ms + 32_000
    steps = [(begins_ms + 2000 * i, [f"Name {i}", f"Task {i}"]) for i in range(16)]
    scroll = page(begins_ms, end_ms, *steps, kind=PageKind.SCROLL)
    scenes = of_level(tuple(still_film(50, scroll)), Level.SCENE)
    begun = [scene for scene in scenes if begins_ms <= scene.span.start_ms < end_ms]
    assert [scene.span.start_ms for scene in begun] == [begins_ms]
    assert begun[0].text.startswith(f'{lead} from {clock(begins_ms)} to {clock(end_ms)}, beginning with "Name 0 / ')


def test_text_in_a_moving_picture_is_no_slide_and_begins_no_scene() -> None:
    sign = page(9000, 14_000, (9000, ["Bakery", "Open", "Closed"]), title="Bakery")
    moving = [lambda clip: facts(clip, [Change.MOTION] * 3, share=0.3)] * 8
    clips = measured(moving, clip_ms=CLIP_MS, pages=[sign])
    assert subject_changes(shown_pages(clips), 8) is None
    assert 'On screen from 0:09 to 0:14: "Bakery / Open / Closed".' in build(clips).nodes[0].text


def test_text_that_flashes_up_has_one_time() -> None:
    flash = page(8500, 9500, (8500, ["Nobody presents"]))
    assert 'On screen at 0:08: "Nobody presents".' in told(6, flash)


def test_words_that_stand_for_seconds_only_are_no_slide() -> None:
    card = page(8000, 11_000, (8000, ["Nobody", "presents"]), title="Nobody presents")
    assert 'On screen from 0:08 to 0:11: "Nobody presents".' in told(6, card)
    assert len(of_level(tuple(still_film(6, card)), Level.SCENE)) == 1


def test_a_crowded_page_is_named_by_a_few_of_its_lines_and_said_to_change() -> None:
    cats = [f"cat number {word}" for word in TEN]
    dogs = [f"dog number {word}" for word in TEN]
    crowded = page(0, 40_000, (0, cats * 2), (20_000, dogs * 2))
    text = told(10, crowded)
    assert text.startswith(
        'A crowded page is shown from 0:00 to 0:40 and changes: first about 20 lines, among them "cat '
    )
    assert ', at 0:20 about 20 new lines, among them "dog ' in text
    assert len(text) < 320
    menu = page(0, 40_000, (0, ["Settings", "Help", *cats * 2]))
    chapter = of_level(tuple(still_film(10, menu)), Level.CHAPTER)[0]
    assert chapter.title.startswith("Cat number"), "what most lines are about, not what stands first"


def test_the_quotes_of_a_few_steps_are_longer_than_those_of_many() -> None:
    long = [
        "Water runs downhill wherever it can and takes the sand along",
        "until it is too slow to carry it any more,",
    ]
    two = page(0, 24_000, (0, [*long, "which makes a delta out of a river mouth"]), (8000, ["Floods"]), title="")
    assert "river mouth" in told(6, two)


def test_a_quote_that_ends_a_sentence_needs_no_second_full_stop() -> None:
    slide = page(0, 16_000, (0, ["Rivers", "Water runs downhill."]), title="Rivers")
    assert told(4, slide) == 'The slide "Rivers" is shown from 0:00 to 0:16: "Water runs downhill."'


def test_small_words_in_a_moving_picture_are_told_but_are_no_title() -> None:
    moving = [lambda clip: facts(clip, [Change.MOTION] * 3, share=0.3)] * 8
    for height, is_title in ((20, False), (90, True)):
        sign = page(9000, 14_000, (9000, ["Bakery"]), title="Bakery", height=height)
        (film, *_) = build(measured(moving, clip_ms=CLIP_MS, pages=[sign])).nodes
        assert 'On screen from 0:09 to 0:14: "Bakery".' in film.text
        assert (film.title == "Bakery") is is_title


def test_every_caption_of_a_page_is_found_in_the_clip_in_which_it_starts() -> None:
    slide = page(0, 24_000, (0, ["Rivers"]), (5000, ["Springs"]), (13_000, ["Deltas", "Floods"]), title="Rivers")
    clips = of_level(tuple(still_film(6, slide)), Level.CLIP)
    assert ['On screen: "Rivers".' in clips[0].text, 'On screen from 0:05: "Springs".' in clips[1].text] == [True, True]
    assert 'On screen from 0:13: "Deltas / Floods".' in clips[3].text


def test_titles_of_slides_are_distinct_and_a_bullet_is_no_part_of_them() -> None:
    pages = [page(i * 30_000, (i + 1) * 30_000, (i * 30_000, ["• The plan", f"Day {i}", "x", "y"])) for i in range(6)]
    chapters = of_level(tuple(still_film(45, *pages)), Level.CHAPTER)
    assert len(chapters) > 1
    assert chapters[0].title == "The plan"
    assert all(a.title != b.title for a, b in pairwise(chapters))
