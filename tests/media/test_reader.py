"""Reading clips: what is saved must never show. Every sample is compared with a full decode by FFmpeg's plain loop."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest

from fdvs.media import reader, schedule
from fdvs.media.clips import ClipFrames, ClipPlan, plan_clips
from fdvs.media.frame import Frame
from fdvs.media.index import PacketIndex, make_index
from fdvs.media.probe import probe
from fdvs.media.reader import read_clips
from fdvs.media.session import Session
from fdvs.settings import ClipSettings, LimitSettings
from tests.media_files import Film, render, x264, x265
from tests.shared_library import SHARED_VIDEOS

DEFAULT = ClipSettings()
PAPER = ClipSettings(min_clip_s=0, max_clip_s=0)
KEYS = ClipSettings(frames="keyframes")
SHORT = ClipSettings(min_clip_s=0.3, max_clip_s=0.9, samples_per_clip=4)
SHORT_KEYS = ClipSettings(min_clip_s=0.3, max_clip_s=0.9, samples_per_clip=4, frames="keyframes")

OPEN_GOP = x264(more=":open-gop=1:b-pyramid=normal:ref=5", num_frames=150)
INTRA_REFRESH = Film(
    "libx264", 150, options={"preset": "veryfast", "x264-params": "keyint=20:intra-refresh=1:bframes=0:scenecut=0"}
)
HIDDEN_VP8 = Film(
    "libvpx", 150, options={"auto-alt-ref": "1", "lag-in-frames": "16", "deadline": "realtime"}, key_interval=40
)
RENDERED = {
    "open.mp4": OPEN_GOP,
    "open.mkv": OPEN_GOP,
    "open.ts": OPEN_GOP,
    "closed.mp4": x264(num_frames=150),
    "closed.ts": x264(num_frames=150),
    "refresh.mkv": INTRA_REFRESH,
    "open265.mp4": x265(open_gop=True, num_frames=150),
    "open265.ts": x265(open_gop=True, num_frames=150),
    "layers265.mp4": x265(open_gop=False, more=":temporal-layers=3:b-pyramid=1", num_frames=150),
    "hidden.webm": HIDDEN_VP8,
    "asp.mp4": Film("mpeg4", 150, num_b_frames=2),
    "asp.avi": Film("mpeg4", 150, num_b_frames=2),
    "mpeg2.ts": Film("mpeg2video", 150, num_b_frames=2),
}


def fingerprint(frame: Frame) -> int:
    """Of every decoded sample value, before any conversion."""
    return zlib.crc32(frame._picture.to_ndarray().tobytes())


def looks(frame: Frame) -> tuple[int, int]:
    return zlib.crc32(frame.small().tobytes()), zlib.crc32(frame.rgb(48).tobytes())


@cache
def plain(path: Path, wanted: frozenset[int] | None = None) -> dict[int, int]:
    """Fingerprint of every picture by its time, from decoding everything in the simplest way.

    `wanted` are the times whose fingerprints are asked for: those of long films take longer than the decoding.
    """
    found: dict[int, int] = {}
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        for packet in container.demux(stream):
            try:
                pictures = packet.decode()
            except av.FFmpegError:
                continue
            for picture in pictures:
                pts = picture.pts
                if pts is not None and pts not in found and (wanted is None or pts in wanted):
                    found[pts] = zlib.crc32(picture.to_ndarray().tobytes())
    return found


def opened(path: Path, settings: ClipSettings) -> tuple[PacketIndex, list[ClipPlan]]:
    _, index = probe(path, LimitSettings())
    return index, plan_clips(index, settings)


def check_against_plain(path: Path, *settings: ClipSettings) -> None:
    read = []
    for one in settings:
        index, plans = opened(path, one)
        read.append((index, plans, list(read_clips(path, index, plans, fingerprint))))
    compared = frozenset(pts for _, _, clips in read for clip in clips for _, pts, _ in clip.frames)
    whole = plain(path, compared) if len(settings) > 1 else plain(path)
    for index, plans, clips in read:
        assert [clip.plan_index for clip in clips] == list(range(len(plans)))
        for clip in clips:
            assert clip.frames
            assert clip.warnings == ()
            for time_ms, pts, value in clip.frames:
                assert value == whole[pts], f"picture at {time_ms} ms"
                assert index.ms(pts) == time_ms
                assert clip.plan.start_pts <= pts < clip.plan.end_pts
            if index.exact:
                assert tuple(pts for _, pts, _ in clip.frames) == clip.plan.sample_pts


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("reader")

    def get(name: str) -> Path:
        path = folder / name
        if not path.exists():
            render(path, RENDERED[name])
        return path

    return get


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """First clips of the groups that were read a second time."""
    seen: list[int] = []
    original = reader.read_group

    def counted(
        path: Path, index: PacketIndex, plans: list[ClipPlan], at: int, *rest: object, **more: object
    ) -> object:
        seen.append(at)
        return original(path, index, plans, at, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(reader, "read_group", counted)
    return seen


# ---------------------------------------------------------------------------------------------------------------------
# Equal to a full decode


@pytest.mark.parametrize("settings", [SHORT, PAPER, SHORT_KEYS], ids=["sampled", "paper", "keyframes"])
@pytest.mark.parametrize("name", RENDERED)
def test_samples_equal_a_full_decode(
    name: str, settings: ClipSettings, rendered: Callable[[str], Path], groups: list[int]
) -> None:
    check_against_plain(rendered(name), settings)
    if name != "refresh.mkv":  # its key pictures are not whole on their own, so reading them again is right
        assert groups == []


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.skipif(not SHARED_VIDEOS.is_dir(), reason="no shared videos")
@pytest.mark.parametrize("name", sorted(path.name for path in SHARED_VIDEOS.glob("*.*")))
def test_samples_of_real_films_equal_a_full_decode(name: str, groups: list[int]) -> None:
    check_against_plain(SHARED_VIDEOS / name, DEFAULT, PAPER, KEYS)
    assert len(groups) <= 1  # lecture_gis.mp4 begins in front of its first displayed key picture


@pytest.mark.shared
@pytest.mark.skipif(not SHARED_VIDEOS.is_dir(), reason="no shared videos")
def test_samples_of_short_real_clips_equal_a_full_decode() -> None:
    paths = sorted((SHARED_VIDEOS / "clips_with_captions").glob("*.mp4"))
    assert len(paths) == 24
    for path in paths:
        check_against_plain(path, DEFAULT, PAPER, KEYS)


# ---------------------------------------------------------------------------------------------------------------------
# Resuming


@pytest.mark.parametrize("settings", [SHORT, SHORT_KEYS], ids=["sampled", "keyframes"])
@pytest.mark.parametrize("name", RENDERED)
def test_resuming_gives_bit_identical_clips(name: str, settings: ClipSettings, rendered: Callable[[str], Path]) -> None:
    path = rendered(name)
    index, plans = opened(path, settings)
    whole = list(read_clips(path, index, plans, looks))
    for first in range(len(plans)):
        assert list(read_clips(path, index, plans, looks, first_plan=first)) == whole[first:]
    assert list(read_clips(path, index, plans, looks, first_plan=len(plans))) == []


@pytest.mark.shared
@pytest.mark.skipif(not SHARED_VIDEOS.is_dir(), reason="no shared videos")
@pytest.mark.parametrize(
    "name",
    [
        "bbb_30s_360p.ts",
        "bbb_full_448x252.mkv",
        "lecture_gis.mp4",
        "nasa_hevc_10bit.mp4",
        "tears_of_steel_clip_vp9.webm",
    ],
)
def test_resuming_real_films_gives_bit_identical_clips(name: str) -> None:
    path = SHARED_VIDEOS / name
    index, plans = opened(path, DEFAULT)
    plans = plans[:16]
    whole = list(read_clips(path, index, plans, looks))
    for first in (1, len(plans) // 2, len(plans) - 1):
        assert list(read_clips(path, index, plans, looks, first_plan=first)) == whole[first:]


def test_resuming_reads_on_from_one_seek(rendered: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = rendered("closed.mp4")
    index, plans = opened(path, SHORT)
    seeks: list[int] = []
    original = Session._seek

    def counted(self: Session, target: int, row: int) -> object:
        seeks.append(target)
        return original(self, target, row)

    monkeypatch.setattr(Session, "_seek", counted)
    assert list(read_clips(path, index, plans, looks, first_plan=3))
    assert len(seeks) == 1
    assert index.pts[seeks[0]] == plans[3].key_pts


# ---------------------------------------------------------------------------------------------------------------------
# What is left out


def test_packets_behind_the_last_sample_and_unneeded_pictures_are_not_decoded(
    rendered: Callable[[str], Path],
) -> None:
    index, plans = opened(rendered("closed.mp4"), PAPER)
    wanted = np.array([pts for plan in plans for pts in plan.sample_pts])
    feed = schedule.reduced_feed(index, wanted)
    actions = np.frombuffer(feed.actions, np.uint8)[index.ordinals()]
    assert (actions == schedule.LEAVE_OUT).sum() >= len(plans)  # at least the last picture of each group
    assert (actions == schedule.DECODE).sum() == len(wanted)
    assert (actions == schedule.SKIM).any()
    assert set(schedule.plain_feed(index, 0).actions) <= {schedule.DECODE, schedule.LEAVE_OUT}


def test_an_open_group_keeps_what_its_leading_pictures_need() -> None:
    """Decode order I0 P3 b1 b2 | I6 b4 b5 P9 b7 b8: b5 is wanted, so all of the first group is needed."""
    pts = np.array([0, 3, 1, 2, 6, 4, 5, 9, 7, 8])
    keys = np.isin(pts, [0, 6])
    index = make_index(Fraction(1, 25), pts, is_key=keys, codec="hevc", skips_nonref=False)
    fed = schedule.reduced_feed(index, np.array([0, 2, 5, 6])).actions
    assert list(fed) == [1, 1, 1, 1, 1, 1, 1, 0, 0, 0]
    fed = schedule.reduced_feed(index, np.array([0, 3, 6, 7])).actions
    assert list(fed) == [1, 1, 0, 0, 1, 0, 0, 1, 1, 0]


def test_early_clips_do_not_read_the_rest_of_the_file(rendered: Callable[[str], Path]) -> None:
    path = rendered("closed.mp4")
    index, plans = opened(path, SHORT)
    with Session(path, index) as session:
        wanted = np.array(plans[0].sample_pts)
        decoded = list(session.pictures(schedule.reduced_feed(index, wanted)))
    assert len(decoded) <= 20  # of 150; the first group only


# ---------------------------------------------------------------------------------------------------------------------
# Damage


def damaged(source: Path, target: Path, seed: int) -> Path:
    data = bytearray(source.read_bytes())
    dice = random.Random(seed)
    for _ in range(25):
        data[dice.randrange(len(data) // 10, len(data) * 6 // 10)] ^= 0xFF  # the end may hold the table of contents
    target.write_bytes(data)
    return target


@pytest.mark.parametrize("name", ["open.mkv", "closed.mp4", "open265.ts", "refresh.mkv"])
@pytest.mark.parametrize("seed", [1, 2])
def test_damage_never_ends_a_run_and_looks_alike_after_resuming(
    name: str, seed: int, rendered: Callable[[str], Path], tmp_path: Path
) -> None:
    path = damaged(rendered(name), tmp_path / name, seed)
    index, plans = opened(path, SHORT)
    whole = list(read_clips(path, index, plans, looks))
    assert [clip.plan_index for clip in whole] == list(range(len(plans)))
    assert any(clip.frames for clip in whole)
    for first in range(1, len(plans)):
        assert list(read_clips(path, index, plans, looks, first_plan=first)) == whole[first:]


def test_damage_that_a_decoder_does_not_notice_never_ends_a_run(
    rendered: Callable[[str], Path], tmp_path: Path
) -> None:
    """VP8 has no check of its own: wrong bytes can leave traces across key pictures, so only survival is promised."""
    for seed in range(6):
        path = damaged(rendered("hidden.webm"), tmp_path / "x.webm", seed)
        index, plans = opened(path, SHORT)
        clips = list(read_clips(path, index, plans, looks))
        assert [clip.plan_index for clip in clips] == list(range(len(plans)))
        assert sum(len(clip.frames) for clip in clips) > len(plans)


def test_damage_is_told(rendered: Callable[[str], Path], tmp_path: Path) -> None:
    path = damaged(rendered("closed.mp4"), tmp_path / "x.mp4", 3)
    index, plans = opened(path, SHORT)
    warnings = [text for clip in read_clips(path, index, plans, looks) for text in clip.warnings]
    assert any("damaged data" in text for text in warnings)


def test_what_cannot_be_decoded_gives_empty_clips_and_no_error(rendered: Callable[[str], Path], tmp_path: Path) -> None:
    source = rendered("closed.mp4")
    index, plans = opened(source, SHORT)
    data = bytearray(source.read_bytes())
    start = data.index(b"mdat") + 4
    end = data.index(b"moov", start) if b"moov" in data[start:] else len(data)
    data[start + 800 : end - 4] = bytes(end - 4 - start - 800)
    (tmp_path / "x.mp4").write_bytes(data)
    clips = list(read_clips(tmp_path / "x.mp4", index, plans, looks))
    assert len(clips) == len(plans)
    assert clips[-1].frames == []
    assert any("cannot be decoded" in text for text in clips[-1].warnings)


def test_a_sample_that_the_savings_lost_is_fetched_plainly(
    rendered: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, groups: list[int]
) -> None:
    path = rendered("closed.mp4")
    index, plans = opened(path, PAPER)
    honest = list(read_clips(path, index, plans, fingerprint))
    lost = plans[2].sample_pts[3]
    feed = schedule.reduced_feed(index, np.array([pts for plan in plans for pts in plan.sample_pts]))
    actions = bytearray(feed.actions)
    actions[int(index.ordinals()[np.flatnonzero(index.pts == lost)[0]])] = schedule.LEAVE_OUT
    broken = schedule.Feed(0, 0, bytes(actions), feed.times, strict=False)
    monkeypatch.setattr(reader, "reduced_feed", lambda *_: broken)
    assert list(read_clips(path, index, plans, fingerprint)) == honest
    assert groups == [2]


def test_savings_that_keep_failing_are_given_up(
    rendered: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, groups: list[int]
) -> None:
    path = rendered("closed.mp4")
    index, plans = opened(path, PAPER)
    honest = list(read_clips(path, index, plans, fingerprint))
    nothing = schedule.Feed(0, 0, bytes(len(index.pts)), index.pts)
    monkeypatch.setattr(reader, "reduced_feed", lambda *_: nothing)
    assert list(read_clips(path, index, plans, fingerprint)) == honest
    assert len(groups) == len(plans)


def test_another_file_than_the_indexed_one_never_gives_wrong_times(
    rendered: Callable[[str], Path], tmp_path: Path
) -> None:
    """Exchanged between indexing and reading: what comes carries times that the new file really has, or nothing."""
    index, plans = opened(rendered("closed.mp4"), SHORT)
    render(tmp_path / "x.mp4", x264(num_frames=40, b_frames=0))
    whole = plain(tmp_path / "x.mp4")
    for clip in read_clips(tmp_path / "x.mp4", index, plans, fingerprint):
        for _, pts, value in clip.frames:
            assert whole[pts] == value


# ---------------------------------------------------------------------------------------------------------------------
# Times that cannot be trusted


def test_avi_samples_are_pictures_that_exist(rendered: Callable[[str], Path]) -> None:
    path = rendered("asp.avi")
    index, plans = opened(path, SHORT)
    assert not index.exact
    clips: list[ClipFrames[int]] = list(read_clips(path, index, plans, fingerprint))
    whole = plain(path)
    assert all(whole[pts] == value for clip in clips for _, pts, value in clip.frames)
    assert all(clip.frames for clip in clips)


def test_where_a_planned_time_has_no_picture_the_one_shown_then_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "x.mkv"
    render(path, Film("mjpeg", 6, pixel_format="yuvj420p", pts=(0, 40, 80, 200, 240, 280), time_base=Fraction(1, 1000)))
    _, index = probe(path, LimitSettings())
    loose = replace(index, exact=False)
    plans = [ClipPlan(0, 160, 0, (0, 50, 90, 150)), ClipPlan(160, 320, 160, (160, 210, 300))]
    clips = list(read_clips(path, loose, plans, fingerprint))
    assert [[pts for _, pts, _ in clip.frames] for clip in clips] == [[0, 40, 80], [200, 280]]
    assert clips[1].warnings  # nothing of that clip is shown at 160


def test_reading_stops_when_the_caller_does(rendered: Callable[[str], Path]) -> None:
    path = rendered("closed.mp4")
    index, plans = opened(path, SHORT)
    clips = read_clips(path, index, plans, looks)
    next(clips)
    clips.close()  # type: ignore[attr-defined]
    assert next(clips, None) is None
