from __future__ import annotations

from itertools import pairwise

import pytest

from fdvs.records import Span
from fdvs.screen_text.gate import LOOK_EVERY_MS, READING_MS, SAVED_AT_MOST_MS, is_line
from fdvs.screen_text.readings import Reading
from fdvs.screen_text.watch import TextWatch, WatchState
from tests.screen_text.pictures import KnowingEyes, drawn, frame

Picture = tuple[tuple[str, ...], int]  # lines and background


def told(readings: tuple[Reading, ...]) -> list[tuple[int, int, str, list[str]]]:
    return [(r.span.start_ms, r.span.end_ms, r.outcome, [line.text for line in r.lines]) for r in readings]


def watched(
    eyes: KnowingEyes, watch: TextWatch, start_ms: int, *pictures: tuple[str, ...], step_ms: int = 1000, **more: int
) -> tuple[Reading, ...]:
    """One clip of these pictures, each a tuple of lines, `step_ms` apart."""
    samples = []
    for i, lines in enumerate(pictures):
        background = 40 + 60 * (i % 4) if more.get("moving") else 235
        at = frame(eyes.draw(*lines, background=background), start_ms + i * step_ms)
        samples.append((at.time_ms, watch.shown(at, begins_clip=i == 0)))
    return watch.read(Span(start_ms, start_ms + len(pictures) * step_ms), samples)


@pytest.fixture
def eyes() -> KnowingEyes:
    return KnowingEyes()


@pytest.fixture
def watch(eyes: KnowingEyes) -> TextWatch:
    return TextWatch(WatchState(), lambda: eyes)


def test_the_last_picture_of_each_stretch_is_read_once(eyes: KnowingEyes, watch: TextWatch) -> None:
    head, both = ("Results",), ("Results", "Peak memory of it")
    assert told(watched(eyes, watch, 0, head, head, head, both, both)) == [
        (0, 3000, "read", ["Results"]),
        (3000, 5000, "read", [*both]),
    ]
    assert told(watched(eyes, watch, 5000, both, both, both)) == [(5000, 8000, "same", [])]
    assert (eyes.glances, eyes.reads) == (2, 2)


def test_a_film_without_text_is_never_read(eyes: KnowingEyes, watch: TextWatch) -> None:
    readings = watched(eyes, watch, 0, *[()] * 12, moving=1)
    assert eyes.reads == 0
    assert eyes.glances == 12_000 // LOOK_EVERY_MS
    assert {r.outcome for r in readings} == {"no_text", "skipped"}
    assert readings[0].span.start_ms == 0
    assert readings[-1].span.end_ms == 12_000
    assert all(a.span.end_ms == b.span.start_ms for a, b in pairwise(readings))


@pytest.mark.parametrize("foreign", [False, True])
def test_what_moves_beside_a_slide_does_not_have_it_read_again(foreign: bool) -> None:
    eyes = KnowingEyes(foreign=foreign)
    watch = TextWatch(WatchState(), lambda: eyes)
    slide = ("Results", "Peak memory of it")
    samples = []
    for i in range(12):
        pixels = eyes.draw(*slide).copy()
        pixels[250:, 480:] = 30 + 70 * (i % 3)  # a head in the corner
        eyes.known[-1] = (pixels, slide)
        at = frame(pixels, 1000 * i)
        samples.append((at.time_ms, watch.shown(at, begins_clip=i == 0)))
    readings = watch.read(Span(0, 12_000), samples)
    assert eyes.reads == 1
    looked = [r for r in readings if r.outcome != "skipped"]
    assert [r.outcome for r in looked] == ["no_text" if foreign else "read", "same", "same", "same"]
    assert len(looked[0].places) == len(slide)


def test_text_that_comes_up_between_clip_borders_in_moving_pictures_is_found(
    eyes: KnowingEyes, watch: TextWatch
) -> None:
    pictures = [(), (), (), (), *[("A caption below",)] * 4, (), ()]
    readings = watched(eyes, watch, 0, *pictures, moving=1)
    assert "A caption below" in [line.text for r in readings for line in r.lines]


def test_more_text_than_may_be_read_is_told_with_its_time_and_read_later(eyes: KnowingEyes, watch: TextWatch) -> None:
    start, unread, read = 0, [], 0
    for n in range(40):  # a new slide each second, far more than is paid for
        slide = (f"Slide number {n} {'abcdefgh'[n % 8] * 9}",)
        readings = watched(eyes, watch, start, slide, slide, step_ms=500)
        read += sum(r.outcome == "read" for r in readings)
        unread += [r.time_ms for r in readings if r.outcome == "skipped" and r.time_ms >= 0]
        start += 1000
    assert read == eyes.reads <= (SAVED_AT_MOST_MS + start) // READING_MS
    assert read >= SAVED_AT_MOST_MS // READING_MS
    assert len(unread) == 40 - read
    calm = watched(eyes, watch, start + 60_000, ("The end of it all",), ("The end of it all",))
    assert [r.outcome for r in calm] == ["read"]


def test_going_on_from_a_stored_state_gives_what_an_uninterrupted_run_gives(eyes: KnowingEyes) -> None:
    both = ("A", "Second line of it")
    clips: list[list[tuple[str, ...]]] = [[("A",)] * 3, [("A",), both], [()] * 4, [both] * 2]

    def run(*, interrupted: bool) -> list[tuple[Reading, ...]]:
        watch, start, made = TextWatch(WatchState(), lambda: eyes), 0, []
        for clip in clips:
            if interrupted:
                watch = TextWatch(WatchState.from_bytes(watch.state.to_bytes()), lambda: eyes)
            made.append(watched(eyes, watch, start, *clip))
            start += 1000 * len(clip)
        return made

    assert run(interrupted=True) == run(interrupted=False)
    assert [r.outcome for r in run(interrupted=False)[0]] == ["read"]


def test_pictures_are_let_go_of_when_the_next_shows_the_same_and_when_the_clip_is_read(
    eyes: KnowingEyes, watch: TextWatch
) -> None:
    pixels = eyes.draw("Results")
    shown = [watch.shown(frame(pixels, 100 * i), begins_clip=i == 0) for i in range(3)]
    assert [one.frame is not None for one in shown] == [False, False, True]
    watch.read(Span(0, 300), [(100 * i, one) for i, one in enumerate(shown)])
    assert shown[-1].frame is None


def test_the_last_sample_of_a_clip_is_kept_whatever_the_next_clip_shows(eyes: KnowingEyes, watch: TextWatch) -> None:
    pixels = eyes.draw("Results")
    last = watch.shown(frame(pixels, 0), begins_clip=True)
    watch.shown(frame(pixels, 100), begins_clip=True)
    assert last.frame is not None


def test_a_clip_without_samples_has_no_readings_and_changes_nothing(watch: TextWatch) -> None:
    before = watch.state
    assert watch.read(Span(0, 100), []) == ()
    assert watch.state is before


def test_large_pictures_are_held_reduced(watch: TextWatch) -> None:
    shown = watch.shown(frame(drawn("Results", size=(3840, 2160)), 0), begins_clip=True)
    assert shown.frame is not None
    assert shown.frame.rgb().shape == (1080, 1920, 3)


@pytest.mark.parametrize(("box", "fits"), [((0, 0, 100, 50), True), ((0, 0, 20, 300), True), ((0, 0, 50, 90), False)])
def test_a_place_for_a_word_is_clearly_longer_than_wide(box: tuple[int, int, int, int], fits: bool) -> None:
    assert is_line(box, 1600, 900) is fits
