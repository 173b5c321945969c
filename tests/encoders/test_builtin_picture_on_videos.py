"""The built-in picture descriptor on real videos: what must be alike and what must not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fdvs.encoders.builtin_picture import BuiltinPictureEncoder
from fdvs.media.clips import plan_clips
from fdvs.media.probe import probe
from fdvs.media.reader import read_clips
from fdvs.settings import ClipSettings, LimitSettings

VIDEOS = Path(__file__).resolve().parents[3] / "shared" / "data" / "videos"

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not VIDEOS.is_dir(), reason="the shared videos are not here"),
]


def vectors_between(name: str, start_s: float, end_s: float) -> NDArray[np.float32]:
    """Vectors of the sampled frames of a stretch of a shared video."""
    encoder = BuiltinPictureEncoder()
    _, index = probe(VIDEOS / name, LimitSettings())
    plans = plan_clips(index, ClipSettings())
    frames = [frame for clip in read_clips(VIDEOS / name, index, plans, encoder.prepare) for frame in clip.frames]
    return encoder.encode([frame[2] for frame in frames if start_s * 1000 <= frame[0] < end_s * 1000])


@pytest.mark.parametrize(
    ("name", "start_s", "end_s"),
    [
        ("lecture_gis.mp4", 40, 88),  # a slide that stands still for a minute
        ("lecture_deep_learning_welcome.mp4", 68, 98),  # a bullet slide while the speaker talks
        ("static_camera_one_by_one.mp4", 0, 5),  # an empty room
    ],
)
def test_frames_of_a_shot_that_stands_still_are_alike(name: str, start_s: float, end_s: float) -> None:
    vectors = vectors_between(name, start_s, end_s)
    assert len(vectors) >= 16
    assert (vectors @ vectors.T).min() >= 0.99


def test_different_shots_of_one_video_are_far_apart() -> None:
    leaf = vectors_between("fades_between_shots.mp4", 2, 4)
    deer = vectors_between("fades_between_shots.mp4", 8, 10)
    grille = vectors_between("fades_between_shots.mp4", 13, 15)
    for one, other in ((leaf, deer), (leaf, grille), (deer, grille)):
        assert len(one) >= 2
        assert (one @ other.T).max() < 0.8


def test_frames_of_different_videos_are_far_apart() -> None:
    paths = sorted((VIDEOS / "clips_with_captions").glob("*.mp4"))
    assert len(paths) == 24
    first = np.stack([vectors_between(f"clips_with_captions/{path.name}", 0, 60)[0] for path in paths])
    assert (first @ first.T)[np.triu_indices(len(first), 1)].max() < 0.8


def test_codec_hardly_matters() -> None:
    av1 = vectors_between("tears_of_steel_clip_av1.webm", 0, 1)
    vp9 = vectors_between("tears_of_steel_clip_vp9.webm", 0, 1)
    assert float(av1[0] @ vp9[0]) >= 0.97
