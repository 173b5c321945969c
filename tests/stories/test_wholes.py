"""What is told as one: visits between two times of a picture that comes back, and credits."""

from __future__ import annotations

from fdvs.captioners.facts import Change, PictureFacts
from fdvs.records import Clip, Level, PageKind
from fdvs.stories.returns import returns_of
from fdvs.stories.standing import shown_pages
from fdvs.stories.wholes import credits_of, visits_of, without_scraps
from tests.stories.films import build, facts, measured, page, picture, same_picture, still_facts


def moving(clip: Clip) -> PictureFacts:
    return facts(clip, [Change.MOTION] * 3, region=7)


def still(clip: Clip) -> PictureFacts:
    return still_facts(clip)


def test_a_visit_is_one_scene_however_much_changes_in_it() -> None:
    rest, visit = [still] * 2, [moving, still, moving, moving]
    clips = measured(rest + (visit + rest) * 3, pictures=lambda i: picture(i if i % 6 > 1 else 30))
    empty = tuple(i for i in range(len(clips)) if i % 6 < 2)
    group = same_picture(clips, *empty)
    built = build(clips, duplicates=[group])
    scenes = [node for node in built.nodes if node.level is Level.SCENE]
    assert [scene.span.start_ms for scene in scenes] == [0, 8000, 32_000, 56_000]
    assert "Something comes into the picture at the bottom and is gone again by 0:24" in scenes[1].text
    assert [scene.title for scene in scenes[1:]] == [
        "Something comes and goes until 0:32",
        "Something comes and goes until 0:56",
        "Something comes and goes until 1:20",
    ]


def test_what_is_away_for_long_is_no_visit() -> None:
    clips = measured([still, *[moving] * 20, still, moving, still, moving, moving])
    group = same_picture(clips, 0, 21, 23)
    found = visits_of(clips, returns_of(clips, [group]))
    assert range(1, 22) not in found
    assert range(22, 24) not in found, "what is gone for a moment has not left"


def test_credits_are_one_whole_from_the_first_text_to_the_last() -> None:
    pages = [
        page(4000, 8000, (4000, ["A film"])),
        page(160_000, 164_000, (160_000, ["Directed by"])),
        page(164_000, 180_000, (164_000, ["Anna", "Bert"]), kind=PageKind.SCROLL),
        page(182_000, 184_000, (182_000, ["Carl Dora Emil"])),
        page(188_000, 196_000, (188_000, ["Thanks to all"]), kind=PageKind.SCROLL),
    ]
    clips = measured([moving] * 52, pages=pages)
    shown = shown_pages(clips)
    assert credits_of(clips, shown) == range(40, 49)
    assert [one.page for one in without_scraps(clips, shown)] == [*pages[:3], pages[4]]
    scenes = [node for node in build(clips).nodes if node.level is Level.SCENE]
    assert [(s.span.start_ms, s.span.end_ms) for s in scenes if s.title == "Credits"] == [(160_000, 196_000)]
    assert "Carl" not in " ".join(scene.text for scene in scenes)
    assert build(clips).nodes[0].title == "A film", "who made a film is not what it is about"


def test_scrolling_text_early_in_a_film_is_no_credits() -> None:
    pages = [page(8000, 24_000, (8000, ["Long ago", "far away"]), kind=PageKind.SCROLL)]
    clips = measured([moving] * 50, pages=pages)
    assert credits_of(clips, shown_pages(clips)) is None
