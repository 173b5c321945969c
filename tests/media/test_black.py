"""Short black at a cut joins the clip that follows."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from fdvs.media.black import black_is_possible, black_start_before, is_black, join_black
from fdvs.media.clips import ClipFrames, ClipPlan, plan_clips
from fdvs.media.frame import Frame
from fdvs.media.index import PacketIndex, make_index
from fdvs.media.probe import probe
from fdvs.media.reader import read_clips
from fdvs.settings import ClipSettings, LimitSettings
from tests.shared_library import SHARED_VIDEOS

FPS = 25
Small = NDArray[np.uint8]


def film(path: Path, scenes: str, *, keys: tuple[int, ...]) -> Path:
    """Render one picture per letter: a and b are textured scenes, k is black, g dark grey. `keys`: key pictures."""
    dice = np.random.default_rng(7)
    textures = {
        "a": dice.integers(90, 250, (72, 128, 3), np.uint8),
        "b": np.kron(dice.integers(0, 250, (18, 32, 3), np.uint8), np.ones((4, 4, 1), np.uint8)),
        "k": np.zeros((72, 128, 3), np.uint8),
        "g": np.full((72, 128, 3), 60, np.uint8),
    }
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"x264-params": "scenecut=0:keyint=999:bframes=2"})
        stream.width, stream.height, stream.pix_fmt = 128, 72, "yuv420p"
        for number, letter in enumerate(scenes):
            picture = av.VideoFrame.from_ndarray(np.roll(textures[letter], number, axis=1), format="rgb24")
            picture = picture.reformat(format="yuv420p")
            picture.pts, picture.time_base = number, Fraction(1, FPS)
            picture.pict_type = 1 if number in keys else 0  # I
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def small(frame: Frame) -> Small:
    return frame.small()


def joined(
    path: Path, max_s: float = 1.0, *, first_plan: int = 0, first_start_ms: int | None = None
) -> list[ClipFrames[Small]]:
    _, index = probe(path, LimitSettings())
    plans = plan_clips(index, ClipSettings())
    clips = read_clips(path, index, plans, small, first_plan=first_plan)
    return list(join_black(path, index, clips, lambda value: value, max_s, first_start_ms=first_start_ms))


def borders(clips: list[ClipFrames[Small]], path: Path) -> list[int]:
    _, index = probe(path, LimitSettings())
    return [index.ms(clip.plan.start_pts) for clip in clips] + [index.ms(clips[-1].plan.end_pts)]


def flat(luma: int) -> Small:
    return np.full((64, 64, 3), luma, np.uint8)


# ---------------------------------------------------------------------------------------------------------------------
# What black is


def test_black_may_hold_a_few_bright_points() -> None:
    picture = flat(4)
    picture[2, 5:60] = 250  # 1.3 %
    assert is_black(picture)
    picture[3, 5:60] = 250
    assert not is_black(picture)
    assert not is_black(flat(40))


# ---------------------------------------------------------------------------------------------------------------------
# Where a cut moves to

CASES = {
    "ends at the cut": ("a" * 90 + "k" * 10 + "b" * 80, 90),
    "goes over the cut": ("a" * 92 + "k" * 8 + "k" * 8 + "b" * 72, 92),
    "one picture": ("a" * 99 + "k" + "b" * 80, 99),
    "begins at the cut": ("a" * 100 + "k" * 10 + "b" * 70, 100),
    "too long before": ("a" * 74 + "k" * 26 + "b" * 80, 100),
    "too long over the cut": ("a" * 90 + "k" * 10 + "k" * 16 + "b" * 64, 100),
    "not up to the cut": ("a" * 85 + "k" * 10 + "a" * 5 + "b" * 80, 100),
    "dark but not black": ("a" * 90 + "g" * 10 + "b" * 80, 100),
    "no black": ("a" * 100 + "b" * 80, 100),
}


@pytest.mark.parametrize("name", CASES)
def test_where_a_black_run_begins(name: str, tmp_path: Path) -> None:
    scenes, wanted = CASES[name]
    path = film(tmp_path / "x.mp4", scenes, keys=(0, 100))
    _, index = probe(path, LimitSettings())
    cut = int(index.key_pts[1])
    assert index.ms(cut) == 4000
    start = black_start_before(path, index, cut, 1.0)
    assert (4000 if start is None else index.ms(start)) == wanted * 40


@pytest.mark.parametrize("name", CASES)
def test_clips_meet_where_the_black_begins(name: str, tmp_path: Path) -> None:
    """The cheap test must let every real case through."""
    scenes, wanted = CASES[name]
    path = film(tmp_path / "x.mp4", scenes, keys=(0, 100))
    clips = joined(path)
    assert borders(clips, path) == [0, wanted * 40, 7200]
    first, second = (clip.plan for clip in clips)
    assert second.key_pts == second.sample_pts[0]
    assert all(pts < first.end_pts for pts in first.sample_pts)
    assert [pts for _, pts, _ in clips[0].frames] == list(first.sample_pts)


def test_a_film_that_ends_in_black_after_a_cut(tmp_path: Path) -> None:
    path = film(tmp_path / "x.mp4", "a" * 95 + "k" * 5 + "k" * 10, keys=(0, 100))
    _, index = probe(path, LimitSettings())
    start = black_start_before(path, index, int(index.key_pts[1]), 1.0)
    assert start is not None
    assert index.ms(start) == 95 * 40


def test_samples_in_the_black_leave_the_earlier_clip(tmp_path: Path) -> None:
    path = film(tmp_path / "x.mp4", "a" * 80 + "k" * 20 + "b" * 80, keys=(0, 100))
    before, after = joined(path)
    assert before.plan.sample_pts == tuple(pts for _, pts, _ in before.frames)
    assert len(before.frames) == 7  # the eighth, at 87/100 of the clip, is black
    assert len(after.frames) == 8
    assert not any(is_black(value) for _, _, value in before.frames)


def test_zero_seconds_changes_nothing(tmp_path: Path) -> None:
    path = film(tmp_path / "x.mp4", "a" * 90 + "k" * 10 + "b" * 80, keys=(0, 100))
    assert borders(joined(path, 0.0), path) == [0, 4000, 7200]


def test_resuming_gives_the_same_clips(tmp_path: Path) -> None:
    scenes = ("a" * 70 + "k" * 5 + "b" * 70 + "k" * 5) * 2
    path = film(tmp_path / "x.mp4", scenes, keys=(0, 75, 150, 225))
    whole = joined(path)
    assert borders(whole, path) == [0, 2800, 5800, 8800, 12000]
    for done in range(1, len(whole)):
        rest = joined(path, first_plan=done, first_start_ms=borders(whole, path)[done])
        assert [clip.plan for clip in rest] == [clip.plan for clip in whole[done:]]
        assert [clip.plan_index for clip in rest] == [clip.plan_index for clip in whole[done:]]


# ---------------------------------------------------------------------------------------------------------------------
# The cheap test


def textured(seed: int) -> Small:
    return np.random.default_rng(seed).integers(60, 255, (64, 64, 3), np.uint8)


def sized(sizes: list[int]) -> tuple[PacketIndex, ClipPlan]:
    """Pictures of 40 ms with key pictures first and at the end of `sizes`, where 20 pictures of 500 bytes follow."""
    count = len(sizes) + 21
    keys = np.isin(np.arange(count), [0, len(sizes)])
    size = np.array([*sizes, 40_000, *[500] * 20], np.int32)
    index = make_index(Fraction(1, 25), np.arange(count), is_key=keys, size=size)
    return index, ClipPlan(0, len(sizes), 0, (0, len(sizes) // 2))


def test_a_fade_out_is_worth_a_look() -> None:
    index, plan = sized([40_000, *[900] * 50, *[6000] * 10, *[60] * 10])
    assert black_is_possible(index, plan, textured(1), textured(2))


def test_a_still_slide_before_a_change_is_not_worth_a_look() -> None:
    index, plan = sized([40_000, *[60] * 70])
    assert not black_is_possible(index, plan, textured(1), textured(2))


def test_an_unchanged_picture_is_not_worth_a_look() -> None:
    index, plan = sized([40_000, *[900] * 50, *[6000] * 10, *[60] * 10])
    assert not black_is_possible(index, plan, textured(1), textured(1))


def test_a_split_without_a_key_picture_is_not_worth_a_look() -> None:
    index, plan = sized([40_000, *[900] * 50, *[6000] * 10, *[60] * 10])
    moved = ClipPlan(0, plan.end_pts - 1, 0, plan.sample_pts)
    assert not black_is_possible(index, moved, flat(0), flat(0))


@pytest.mark.shared
@pytest.mark.skipif(not SHARED_VIDEOS.is_dir(), reason="no shared videos")
def test_real_films() -> None:
    path = SHARED_VIDEOS / "fades_between_shots.mp4"  # its black begins at the cut and lasts 1.03 s
    assert borders(joined(path), path)[:2] == [0, 6006]
    path = SHARED_VIDEOS / "bbb_full_448x252.mkv"
    moved = borders(joined(path), path)
    assert 489958 in moved  # 0.54 s of black around the key picture at 490 s
    assert 490000 not in moved
    assert all(a < b for a, b in pairwise(moved))
