"""Facts of real films that a person has looked at: what the camera does, where it cuts, when it is black."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from fdvs.captioners.builtin import compare, describe
from fdvs.captioners.facts import Light, PictureFacts
from fdvs.captioners.measures import measure_clip
from fdvs.media.clips import plan_clips
from fdvs.media.probe import probe
from fdvs.media.reader import read_clips
from fdvs.records import Span
from fdvs.settings import load_settings

VIDEOS = Path(__file__).parents[3] / "shared" / "data" / "videos"

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not VIDEOS.is_dir(), reason="the shared videos (../shared/data/videos) are not there"),
]


@cache
def measured(name: str) -> tuple[tuple[Span, PictureFacts], ...]:
    """Span and facts of every clip of one video, in order."""
    settings = load_settings(environ={})
    _, index = probe(VIDEOS / name, settings.limits)
    plans = plan_clips(index, settings.clips)
    found = []
    for item in read_clips(VIDEOS / name, index, plans, lambda frame: frame.small()):
        small = np.stack([picture for _, _, picture in item.frames])
        span = Span(index.ms(item.plan.start_pts), index.ms(item.plan.end_pts))
        found.append((span, measure_clip(small, [time_ms for time_ms, _, _ in item.frames])))
    return tuple(found)


def at(name: str, seconds: float) -> PictureFacts:
    return next(facts for span, facts in measured(name) if span.contains(round(seconds * 1000)))


@pytest.mark.parametrize(
    "name",
    [
        "static_camera_one_by_one.mp4",
        "meeting_two_men_vp9.webm",
        "highway_traffic_mpeg4.avi",
        "lecture_gis.mp4",
        "talk_slides_laion_1080p.mp4",
    ],
)
def test_fixed_cameras_and_slides_never_move(name: str) -> None:
    assert Counter(facts.camera for _, facts in measured(name)) == {("still",): len(measured(name))}


def test_a_fixed_camera_has_no_cuts() -> None:
    for name in ("static_camera_one_by_one.mp4", "meeting_two_men_vp9.webm", "highway_traffic_mpeg4.avi"):
        assert sum(facts.num_cuts for _, facts in measured(name)) == 0


def test_the_empty_room_is_still_and_visits_are_not() -> None:
    assert at("static_camera_one_by_one.mp4", 1).is_still
    assert at("static_camera_one_by_one.mp4", 35).is_still
    assert max(at("static_camera_one_by_one.mp4", 19).changed) > 0.1


def test_the_lecture_stands_still_for_a_minute() -> None:
    assert all(facts.is_still for span, facts in measured("lecture_gis.mp4") if 45_000 <= span.start_ms < 80_000)


def test_the_film_opens_with_a_fade_in_and_a_tilt_down() -> None:
    film = "bbb_full_448x252.mkv"

    assert at(film, 1).light_change == Light.FADE_IN
    assert [at(film, second).camera for second in (3, 5, 7)] == [("tilt down",)] * 3
    assert "The camera tilts down." in describe(at(film, 5))
    assert at(film, 13).camera == at(film, 17).camera == ("still",)


def test_pans_and_zooms_of_the_film() -> None:
    film = "bbb_full_448x252.mkv"

    assert at(film, 359).camera[0] == at(film, 361).camera[0] == "pan left"
    assert at(film, 453).camera[0] == at(film, 465).camera[0] == "pan right"
    assert at(film, 427).camera[0] == "zoom in"


def test_a_cut_inside_a_clip_is_found() -> None:
    facts = at("bbb_full_448x252.mkv", 23)

    assert facts.num_cuts == 1
    assert facts.kinds.index("cut") == 4  # between the fifth and the sixth sample, where the film cuts at 23.1 s
    assert [colours[0][0] for colours in facts.cut_colours] == ["blue", "green"]


def test_fast_cuts_are_cuts() -> None:
    assert sum(facts.num_cuts for _, facts in measured("tears_of_steel_battle_vp8.webm")) >= 10


def test_shots_fade_through_black() -> None:
    opening, second, third, last = (facts for _, facts in measured("fades_between_shots.mp4"))

    assert opening.light_change == second.light_change == Light.FADE_IN
    assert third.black_ms
    assert third.black_ms[0][0] > third.times_ms[0]
    assert last.light_change == Light.FADE_OUT


def test_clips_of_one_place_are_more_alike_than_others() -> None:
    film = "bbb_full_448x252.mkv"

    assert compare(at(film, 5), at(film, 7)) < 0.2 < compare(at(film, 11), at(film, 17))
    assert compare(at(film, 17), at(film, 19)) < 0.1
