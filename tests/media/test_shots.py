"""Shot cuts of films that were drawn: exact where shots change, none where they do not."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from fdvs.media.clips import plan_clips
from fdvs.media.index import PacketIndex
from fdvs.media.probe import probe
from fdvs.media.shot_cuts import ShotCut, borders, cuts_from
from fdvs.media.shots import look_for_signs, portions
from fdvs.settings import ClipSettings, LimitSettings
from tests.media.conftest import Media
from tests.media.shot_films import (
    FPS,
    FRAME_MS,
    Picture,
    cut_film,
    flat,
    hold,
    mixed,
    noisy,
    pan,
    render_pictures,
    slide,
    texture,
)
from tests.media_files import RECIPES, Film, x264

BLACK = flat(0)
ON = ClipSettings(min_clip_s=0, max_clip_s=0, shot_cuts="on")


def found_in(path: Path, portion_s: float = 300.0) -> tuple[PacketIndex, tuple[ShotCut, ...]]:
    _, index = probe(path, LimitSettings())
    begins = [*portions(index, portion_s), index.end_pts]
    return index, cuts_from(index, [look_for_signs(path, index, a, b) for a, b in pairwise(begins)])


def cuts(tmp_path: Path, pictures: list[Picture]) -> list[tuple[int, int]]:
    """(black, picture) of each cut found in a film, as numbers of pictures."""
    index, found = found_in(render_pictures(tmp_path / "film.mp4", pictures))
    return [(index.ms(cut.black_pts) // FRAME_MS, index.ms(cut.pts) // FRAME_MS) for cut in found]


CODED = {
    "mp4": x264(50),
    "one_key_picture.mkv": x264(1000),
    "all_intra.mp4": x264(1, b_frames=0),
    "ts": x264(50),
    "webm": Film("libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8", "crf": "30", "b": "0"}),
    "avi": Film("mpeg4", options={"b": "2000000"}),
    "mpg": Film("mpeg2video", options={"b": "3000000"}, num_b_frames=2, key_interval=15),
}


@pytest.mark.parametrize("name", CODED)
def test_hard_cuts_are_exact_to_the_picture_in_every_container(tmp_path: Path, name: str) -> None:
    film = cut_film()
    path = render_pictures(tmp_path / (name if "." in name else f"film.{name}"), film.pictures, CODED[name])
    index, found = found_in(path)
    assert [index.ms(cut.pts) for cut in found] == [number * FRAME_MS for number in film.cuts]
    assert all(cut.black_pts == cut.pts for cut in found)
    assert {cut.pts for cut in found} <= set(index.display_pts.tolist())


@pytest.mark.parametrize(
    "pictures",
    [
        pytest.param(hold(texture(1), 60), id="still"),
        pytest.param(noisy(hold(texture(1), 60), 8.0), id="noise"),
        pytest.param(noisy(hold(flat(90), 60), 8.0), id="noise-on-a-wall"),
        pytest.param(pan(3, 60, 3), id="pan"),
        pytest.param(pan(3, 60, 20), id="fast-pan"),
        pytest.param(pan(3, 60, 12, repeat=2), id="pan-drawn-on-twos"),
        pytest.param(hold(BLACK, 60), id="black"),
        pytest.param(hold(texture(1), 1), id="one-picture"),
        pytest.param(hold(texture(1), 2), id="two-pictures"),
    ],
)
def test_one_shot_has_no_cut(tmp_path: Path, pictures: list[Picture]) -> None:
    assert cuts(tmp_path, pictures) == []


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("seen", [flat(250), BLACK, texture(9)], ids=["white", "black", "other"])
def test_what_comes_back_at_once_was_never_left(tmp_path: Path, count: int, seen: Picture) -> None:
    shot = noisy(hold(texture(1), 30))
    assert cuts(tmp_path, [*shot, *hold(seen, count), *shot]) == []


def test_a_cut_within_a_flash_is_found_once(tmp_path: Path) -> None:
    pictures = [*noisy(hold(texture(1), 30)), *hold(flat(250), 2), *noisy(hold(texture(2), 30))]
    assert cuts(tmp_path, pictures) == [(30, 30)]


def test_slides_of_one_design_are_told_apart_and_a_slide_that_grows_is_one(tmp_path: Path) -> None:
    growing = [picture for lines in (2, 3, 4, 5) for picture in hold(slide(1, lines), 30)]
    assert cuts(tmp_path, [*growing, *hold(slide(2), 40), *hold(slide(3), 40)]) == [(120, 120), (160, 160)]


def test_a_fade_through_black_is_one_cut_that_knows_its_black(tmp_path: Path) -> None:
    fade_out, fade_in = mixed(texture(1), BLACK, 12), mixed(BLACK, texture(2), 12)
    ((black, picture),) = cuts(
        tmp_path, [*hold(texture(1), 30), *fade_out, *hold(BLACK, 10), *fade_in, *hold(texture(2), 30)]
    )
    assert 42 - 2 <= black <= 42  # the last pictures of the fade are black to the eye
    assert 52 <= picture <= 52 + 2


def test_black_that_is_cut_to_and_from_is_one_cut(tmp_path: Path) -> None:
    pictures = [*hold(texture(1), 30), *hold(BLACK, 10), *hold(texture(2), 30)]
    assert cuts(tmp_path, pictures) == [(30, 40)]


def test_black_at_both_ends_of_a_film(tmp_path: Path) -> None:
    pictures = [*hold(BLACK, 10), *hold(texture(1), 30), *hold(BLACK, 10)]
    assert cuts(tmp_path, pictures) == [(0, 10), (40, 50)]


@pytest.mark.parametrize("count", [10, 25, 50])
def test_a_dissolve_is_cut_in_its_middle(tmp_path: Path, count: int) -> None:
    first, second = noisy(hold(texture(1), 40), 2.0), noisy(hold(texture(2), 40), 2.0)
    ((black, picture),) = cuts(tmp_path, [*first, *mixed(texture(1), texture(2), count), *second])
    assert black == picture
    assert abs(picture - (40 + count / 2)) <= 4


def test_light_that_goes_up_slowly_is_no_cut(tmp_path: Path) -> None:
    dim = (texture(1) / 2.5).astype(np.uint8)
    assert cuts(tmp_path, [*hold(dim, 30), *mixed(dim, texture(1), 25), *hold(texture(1), 30)]) == []


def test_portions_find_what_is_found_in_one_go(tmp_path: Path) -> None:
    film = cut_film()
    fade = [*mixed(film.pictures[-1], BLACK, 10), *hold(BLACK, 30), *mixed(BLACK, film.pictures[0], 10)]
    path = render_pictures(tmp_path / "film.mp4", [*film.pictures, *fade, *film.pictures], x264(25))
    index, whole = found_in(path)
    assert len(whole) == 2 * len(film.cuts) + 1
    for portion_s in (1.0, 2.0, 5.0):
        assert len(portions(index, portion_s)) > 2
        assert found_in(path, portion_s)[1] == whole


@pytest.mark.parametrize("name", [name for name in RECIPES if RECIPES[name] is not None])
def test_every_readable_file_can_be_looked_through(media: Media, name: str) -> None:
    known = media(name)
    if known.error is not None:
        pytest.skip("cannot be opened, which test_decoders checks")
    index, found = found_in(known.path)
    plans = plan_clips(index, ON, found)
    assert (plans[0].start_pts, plans[-1].end_pts) == (index.start_pts, index.end_pts)
    assert {plan.start_pts for plan in plans} <= set(index.display_pts.tolist())
    assert found_in(known.path)[1] == found


@pytest.fixture(scope="module")
def plain_index(tmp_path_factory: pytest.TempPathFactory) -> PacketIndex:
    """Twelve seconds of one picture, with a key picture every two seconds."""
    path = render_pictures(tmp_path_factory.mktemp("plain") / "film.mp4", hold(texture(1), 12 * FPS), x264(50))
    return probe(path, LimitSettings())[1]


def starts_ms(index: PacketIndex, settings: ClipSettings, *cuts_ms: tuple[int, int]) -> list[int]:
    ticks = [ShotCut(*(index.start_pts + index.ticks(ms / 1000) for ms in cut)) for cut in cuts_ms]
    return [index.ms(plan.start_pts) for plan in plan_clips(index, settings, ticks)]


def test_clips_begin_at_cuts_and_not_at_key_pictures(plain_index: PacketIndex) -> None:
    assert starts_ms(plain_index, ON, (3000, 3000), (7400, 7400)) == [0, 3000, 7400]
    assert starts_ms(plain_index, ON) == [0]


def test_shots_are_joined_and_split_as_other_clips_are(plain_index: PacketIndex) -> None:
    settings = ClipSettings(min_clip_s=2, max_clip_s=4, shot_cuts="on")
    assert starts_ms(plain_index, settings, (3000, 3000), (4000, 4000)) == [0, 3000, 6000, 9000]


def test_short_black_begins_the_shot_that_follows_and_long_black_stands_alone(plain_index: PacketIndex) -> None:
    assert starts_ms(plain_index, ON, (3000, 3920)) == [0, 3000]
    assert starts_ms(plain_index, ON, (3000, 4000)) == [0, 3000, 4000]
    apart = ClipSettings(min_clip_s=0, max_clip_s=0, black_join_s=0, shot_cuts="on")
    assert starts_ms(plain_index, apart, (3000, 3920)) == [0, 3000, 3920]


def test_short_black_at_an_end_of_the_film_is_no_clip(plain_index: PacketIndex) -> None:
    assert starts_ms(plain_index, ON, (0, 800), (11_400, 12_000)) == [0]
    assert starts_ms(plain_index, ON, (0, 1800), (10_400, 12_000)) == [0, 1800, 10_400]


def test_a_time_that_the_index_does_not_know_is_moved_to_the_next_picture(plain_index: PacketIndex) -> None:
    pts = int(plain_index.display_pts[70]) + 1
    assert borders(plain_index, [ShotCut(pts, pts)], 1.0)[1] == int(plain_index.display_pts[71])
