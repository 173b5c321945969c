"""What was measured, as prose: stretches with their times, what changed and not what stayed, what comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fdvs.captioners.facts import Change, Light, PictureFacts
from fdvs.records import Clip, Level, Span
from fdvs.stories.outline import Paragraph, outline
from fdvs.stories.returns import returns_of
from tests.stories.films import PAPER, SETTINGS, build, facts, measured, picture, record_of, same_picture, still_facts

Maker = Callable[[Clip], PictureFacts]


def moving(region: int | None = 5, share: float = 0.1, colour: str = "grey") -> Maker:
    return lambda clip: facts(clip, [Change.MOTION] * 3, colour, share=share, region=region)


def cutting(colour: str = "grey") -> Maker:
    return lambda clip: facts(clip, [Change.STILL, Change.CUT, Change.STILL], colour)


def still(colour: str = "grey") -> Maker:
    return lambda clip: still_facts(clip, colour)


def paragraphs(makers: list[Maker], *groups: tuple[int, ...]) -> list[str]:
    clips = measured(makers)
    record = record_of(clips, duplicates=[same_picture(clips, *group) for group in groups])
    return [item.text for item in outline(record) if isinstance(item, Paragraph)]


def test_clips_alike_are_one_sentence_and_the_look_is_told_once() -> None:
    assert paragraphs([still()] * 3 + [moving()] * 2) == [
        "A still picture until 0:12, mostly grey.",
        "Something moves until 0:20 at the right.",
    ]


def test_another_look_is_told() -> None:
    texts = paragraphs([moving(), moving(colour="red"), moving(colour="red"), still("red")])
    assert texts == [
        "Something moves until 0:12 at the right; the picture is red and grey.",
        "A still picture until 0:16, mostly red.",
    ]


def test_a_path_is_told_over_clips_and_to_and_fro_is_not() -> None:
    assert paragraphs([moving(3), moving(4), moving(5)])[0].startswith(
        "Something moves until 0:12, first at the left, then in the centre, then at the right"
    )
    to_and_fro = paragraphs([moving(3), moving(5), moving(3), moving(5)])[0]
    assert to_and_fro.startswith("Something moves until 0:16 in about a tenth of the picture at most")


def test_no_camera_is_claimed_where_none_was_measured() -> None:
    unknown: Maker = lambda clip: facts(clip, [Change.CUT, Change.CUT, Change.MOTION], share=0.5)  # noqa: E731
    assert all("omething" not in text for text in paragraphs([unknown] * 3))


def test_many_cuts_are_counted_and_few_are_told_with_their_time() -> None:
    few = paragraphs([cutting(), moving(), moving(), moving()])
    assert few[0] == "The picture cuts from mostly grey to mostly red around 0:01."
    many = paragraphs([cutting(), moving(), cutting(), cutting()])
    assert many == ["At least three cuts until 0:16, mostly grey."]


def test_light_and_sudden_changes_are_told_with_their_time() -> None:
    fading: Maker = lambda clip: replace(still_facts(clip), light_change=Light.FADE_IN.value)  # noqa: E731
    stepping: Maker = lambda clip: facts(clip, [Change.STILL, Change.STEP, Change.STILL], share=0.3)  # noqa: E731
    assert (
        paragraphs([fading, still()])[0] == "A still picture until 0:08, mostly grey; it comes out of black after 0:00."
    )
    assert paragraphs([still(), stepping])[0].endswith("about a third of the picture changes at once around 0:05.")


def test_a_picture_that_comes_back_is_told_with_its_first_time() -> None:
    texts = paragraphs([still(), still(), moving(), moving(), still(), still()], (0, 1, 4, 5))
    assert texts[-1] == "The picture of 0:00 is back until 0:24."


def test_a_picture_that_often_comes_back_is_counted_once_and_what_lies_between_is_told_apart() -> None:
    visits = [still(), still()]
    for region in (3, 5, 1, 7):
        visits += [moving(region), moving(region), still(), still()]
    rest = tuple(i for i in range(len(visits)) if i % 4 < 2)
    clips = measured(visits)
    built = build(clips, duplicates=[same_picture(clips, *rest)])
    scenes = [node for node in built.nodes if node.level is Level.SCENE]
    begins = [scene.span.start_ms for scene in scenes]
    assert {8000, 24_000, 40_000, 56_000} <= set(begins), "each visit begins a scene"
    text = " ".join(scene.text for scene in scenes)
    assert text.count("This picture returns at 0:16, 0:32, 0:48 and 1:04.") == 1


def test_times_of_a_group_are_joined_and_short_ones_are_no_return() -> None:
    clips = measured([still()] * 12)
    group = same_picture(clips, 0, 1, 4, 8)
    returns = returns_of(clips, [group])
    assert returns.showings == ((Span(0, 8000), Span(16_000, 20_000), Span(32_000, 36_000)),)
    assert [clip for clip in range(12) if returns.is_back(clip)] == [4, 8]
    assert returns.departures == {2, 5, 9}
    glimpse = replace(group.members[-1], span=Span(32_000, 33_000))
    soon = replace(group.members[1], span=Span(12_000, 16_000))
    assert not returns_of(clips, [replace(group, members=(group.members[0], soon, glimpse))]).showings


def test_other_groups_tell_no_returns() -> None:
    clips = measured([still(), moving(), moving(), still()])
    group = same_picture(clips, 0, 3)
    assert returns_of(clips, [group]).showings
    assert not returns_of(clips, [replace(group, kind="textual")]).showings
    assert not returns_of(clips, [replace(group, representative_video_id="cd" * 32)]).showings


def test_no_sentence_is_read_twice_in_a_film_of_facts() -> None:
    kinds = [still(), moving(3), moving(5), cutting(), still("red"), moving(None, 0.6)]
    makers = [kinds[i * i % 7 % 6] for i in range(120)]
    clips = measured(makers, clip_ms=2000, pictures=lambda i: picture(i // 11))
    texts = [item.text for item in outline(record_of(clips)) if isinstance(item, Paragraph)]
    assert len(texts) == len(set(texts))


def test_chapters_without_words_have_distinct_titles() -> None:
    makers = [moving(5, colour=colour) for colour in ("green", "red", "blue", "grey") for _ in range(30)]
    clips = measured(makers, pictures=lambda i: picture(i // 30))
    titles = [node.title for node in build(clips).nodes if node.level is Level.CHAPTER]
    assert len(titles) > 3
    assert len(set(titles)) == len(titles)


def test_where_one_colour_leads_everything_titles_say_where_things_move() -> None:
    clips = measured([still()] * 4 + [moving(3)] * 4)
    titles = {node.title for node in build(clips).nodes if node.level is Level.CLIP}
    assert titles == {"Still, mostly grey", "Movement at the left"}


def test_a_camera_that_is_swung_is_not_said_to_cut() -> None:
    swung: Maker = lambda clip: facts(  # noqa: E731
        clip, [Change.MOTION, Change.CUT, Change.MOTION, Change.MOTION], share=0.7
    )
    assert paragraphs([swung, moving(None, 0.7)])[0].startswith("Fast movement all over the picture until 0:08")
    held: Maker = lambda clip: facts(clip, [Change.MOTION, Change.CUT, Change.MOTION], share=0.1)  # noqa: E731
    assert paragraphs([held])[0].startswith("The picture cuts")


def test_a_scene_of_many_stretches_is_one_sentence_with_what_happens_in_it() -> None:
    one_scene = replace(SETTINGS, story=replace(SETTINGS.story, scene_sensitivity=0.0))
    clips = measured([moving(3), moving(4), still(), moving(4), cutting(), moving(4)])
    texts = [item.text for item in outline(record_of(clips, one_scene)) if isinstance(item, Paragraph)]
    assert len(texts) == 1
    assert "it is still from 0:08 to 0:12" in texts[0]
    assert "the picture cuts from mostly grey to mostly red around 0:17" in texts[0]


def test_a_showing_lasts_as_long_as_the_picture_is_shown() -> None:
    clips = measured([still()] * 12)
    group = same_picture(clips, 0, 1, 6)
    glimpses = [replace(group.members[-1], span=Span(at, at + 500)) for at in (24_000, 28_000)]
    assert not returns_of(clips, [replace(group, members=(group.members[0], *glimpses))]).showings


def test_returns_are_told_once_also_where_every_clip_is_a_chapter() -> None:
    makers = ([still()] * 2 + [moving()] * 2) * 4 + [still()] * 2
    clips = measured(makers)
    group = same_picture(clips, *(i for i in range(len(clips)) if i % 4 < 2))
    text = " ".join(node.text for node in build(clips, PAPER, [group]).nodes if node.level is Level.CHAPTER)
    assert text.count("This picture returns at") == 1
