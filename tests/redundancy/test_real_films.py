"""What recurs in the shared films, against times read off the pictures."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from fdvs.api import Library
from fdvs.records import DuplicateGroup, Span
from fdvs.settings import Settings
from tests.conftest import SharedLibrary
from tests.shared_library import SHARED_VIDEOS

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not SHARED_VIDEOS.is_dir(), reason="the shared videos are not here"),
]

ROOM, TALK, LECTURE = "static_camera_one_by_one.mp4", "talk_slides_laion_1080p.mp4", "lecture_gis.mp4"
# When nobody, not even a shadow, is in the room; the visits lie between.
EMPTY_S = ((0, 6.0), (20.5, 22.6), (45.5, 50.1), (70.5, 74.4), (87.5, 92.2), (120.8, 123.4), (136.8, 139.4))
# When the talk's slides change: title, what, why, results, emoji, shirts, get it, contact.
SLIDES_S = (0, 7.3, 51.3, 70.0, 90.0, 93.3, 100.7, 114.0, 122.6)


@pytest.fixture
def library(shared_library: SharedLibrary) -> Path:
    """The library of all shared films, in its default settings."""
    return shared_library("default")


def groups_of(library: Path, name: str) -> tuple[DuplicateGroup, ...]:
    with Library(library, settings=Settings(), create=False) as opened:
        return tuple(group for group in opened.story(name).record.duplicates if group.kind == "visual")


def times_of(group: DuplicateGroup) -> list[Span]:
    return [group.representative_span, *(member.span for member in group.members)]


def test_the_empty_room_is_one_group_with_all_its_times(library: Path) -> None:
    groups = groups_of(library, ROOM)
    (empty,) = [group for group in groups if group.representative_span.start_ms == 0]
    for start_s, end_s in EMPTY_S:
        covered = sum(
            max(0, min(span.end_ms, end_s * 1000) - max(span.start_ms, start_s * 1000)) for span in times_of(empty)
        )
        assert covered >= 0.9 * (end_s - start_s) * 1000, (start_s, end_s)
    # At most one sample (a quarter of a second) reaches into a visit.
    for span in times_of(empty):
        assert any(start_s - 0.3 <= span.start_s and span.end_s <= end_s + 0.3 for start_s, end_s in EMPTY_S), span


def test_six_visits_are_told_apart(library: Path) -> None:
    visits = [(end, start) for (_, end), (start, _) in pairwise(EMPTY_S)]
    assert len(visits) == 6
    groups = [group for group in groups_of(library, ROOM) if group.representative_span.start_ms > 0]
    for group in groups:
        times = Span.union(times_of(group))
        assert any(start <= times.start_s and times.end_s <= end for start, end in visits), times


def test_slides_of_a_talk_are_groups_of_their_own(library: Path) -> None:
    groups = groups_of(library, TALK)
    slides = list(pairwise(SLIDES_S))
    found = {
        next(i for i, (start, end) in enumerate(slides) if start - 0.1 <= times.start_s and times.end_s <= end + 0.1)
        for times in (Span.union(times_of(group)) for group in groups)
    }
    assert found == {1, 2, 3, 6, 7}  # the others fill no clip of their own after their first
    assert len(groups) == len(found)


def test_a_slide_that_stands_still_for_a_minute_is_one_group(library: Path) -> None:
    (group,) = groups_of(library, LECTURE)
    assert Span.union(times_of(group)).start_s == pytest.approx(29.3, abs=0.3)
    assert Span.union(times_of(group)).end_s == pytest.approx(91.2, abs=0.7)


def test_building_again_gives_the_same_bytes(library: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(library, tmp_path / "copy"))
    with Library(copy, settings=Settings(), create=False) as opened:
        before = opened.story(ROOM).render("json")
        assert '"same_picture"' in before
        opened.forget(ROOM)
        assert opened.build([SHARED_VIDEOS / ROOM]).exit_code == 0
        assert opened.story(ROOM).render("json") == before


FILM, EXCERPT = "bbb_full_448x252.mkv", "bbb_30s_360p.ts"
AV1, VP9 = "tears_of_steel_clip_av1.webm", "tears_of_steel_clip_vp9.webm"
BLACK = "fades_between_shots.mp4"


def test_an_excerpt_is_linked_to_its_minutes_and_codec_twins_to_each_other(library: Path) -> None:
    with Library(library, settings=Settings(), create=False) as opened:
        names = {video.id: video.name for video in opened.videos()}
        report = opened.redundancy()
    shared = [item for item in report.removed if item.video_id != item.kept_video_id]
    found = {
        frozenset({names[item.video_id], names[item.kept_video_id]}): (item.span, item.kept_span, item.rule)
        for item in shared
    }
    assert len(found) == len(shared)  # black and the many other shots make no link
    assert set(found) == {frozenset({FILM, EXCERPT}), frozenset({AV1, VP9})}
    # The excerpt is the first half minute of the film, picture for picture; it fades in from black.
    for span in found[frozenset({FILM, EXCERPT})][:2]:
        assert span.start_s <= 1.5
        assert 29.5 <= span.end_s <= 30.1
    assert found[frozenset({FILM, EXCERPT})][2] == "excerpt"
    assert found[frozenset({AV1, VP9})] == (Span(0, 16_666), Span(0, 16_666), "reencoding")


def test_shots_of_one_film_with_like_colours_are_not_grouped(library: Path) -> None:
    groups = groups_of(library, FILM)
    # Seen on the pictures: all that returns in the film does so from the same camera, within half a minute.
    assert len(groups) < 10
    assert all(Span.union(times_of(group)).duration_ms < 30_000 for group in groups)


def test_a_link_is_shown_for_each_of_its_videos(library: Path) -> None:
    with Library(library, settings=Settings(), create=False) as opened:
        for name in (AV1, VP9):
            shared = [item for item in opened.redundancy(name).removed if item.rule == "reencoding"]
            assert len(shared) == 1


def test_forgetting_a_video_removes_its_links(library: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(library, tmp_path / "copy"))
    with Library(copy, settings=Settings(), create=False) as opened:
        opened.forget(AV1)
        rules = [item.rule for item in opened.redundancy().removed if item.video_id != item.kept_video_id]
        assert rules == ["excerpt"]
