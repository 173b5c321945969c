"""The packet index and opening: times, key pictures, hostile names and files."""

from __future__ import annotations

import os
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from fdvs.errors import LimitError, MediaError, OpenError
from fdvs.media import entry
from fdvs.media.container import FORMATS, open_container
from fdvs.media.index import make_index
from fdvs.media.probe import probe
from fdvs.settings import LimitSettings
from tests.media_files import Film, audio_file, render, x264
from tests.shared_library import SHARED_VIDEOS

NTSC = Fraction(1001, 30000)


def keys_at(count: int, *rows: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.isin(np.arange(count), rows)


# ---------------------------------------------------------------------------------------------------------------------
# Times


def test_times_are_counted_from_the_first_picture_and_rounded_once() -> None:
    index = make_index(NTSC, np.arange(100, 1100), is_key=keys_at(1000, 0))
    assert index.ms(100) == 0
    assert index.ms(101) == 33  # 33.37
    assert index.ms(1099) == round(999 * 1001 / 30)  # 33333.3, where a rounded frame step would drift to 32967
    assert index.duration_ms == round(1000 * 1001 / 30)


def test_the_last_pictures_own_duration_ends_the_video() -> None:
    pts = np.array([0, 40, 80])
    assert make_index(Fraction(1, 1000), pts, is_key=keys_at(3, 0), last_duration=7).duration_ms == 87
    assert make_index(Fraction(1, 1000), pts, is_key=keys_at(3, 0)).duration_ms == 120


def test_a_single_picture_lasts_as_long_as_its_rate_says() -> None:
    one = np.array([5])
    assert make_index(Fraction(1, 1000), one, is_key=keys_at(1, 0), mean_duration=40).duration_ms == 40
    assert make_index(Fraction(1, 1_000_000), one, is_key=keys_at(1, 0), mean_duration=1).duration_ms == 1


def test_display_order_differs_from_decode_order() -> None:
    index = make_index(Fraction(1, 25), np.array([0, 4, 2, 1, 3, 5]), is_key=keys_at(6, 0, 5))
    assert index.display_pts.tolist() == [0, 1, 2, 3, 4, 5]
    assert index.key_pts.tolist() == [0, 5]
    assert index.exact
    assert index.ordered


def test_repeated_times_are_kept_once_and_reported() -> None:
    index = make_index(Fraction(1, 25), np.array([0, 1, 2, 0, 1, 2]), is_key=keys_at(6, 0, 3))
    assert index.display_pts.tolist() == [0, 1, 2]
    assert not index.exact
    assert "3 pictures repeat" in index.warnings[0]


@pytest.mark.parametrize("time_base", [Fraction(1, 2000), Fraction(1001, 30000), Fraction(1, 90000), Fraction(7, 3)])
def test_a_published_time_is_the_exact_one_rounded_once_half_to_even(time_base: Fraction) -> None:
    index = make_index(time_base, np.array([5, 6, 7]), is_key=keys_at(3, 0))
    for pts in [*range(-40, 400), 10**12 + 1, 2**40 - 1]:
        assert index.ms(pts) == round((pts - 5) * time_base * 1000)
        assert type(index.ms(pts)) is int


def test_hours_of_packets_stay_small() -> None:
    count = 324_000  # three hours at 30 fps
    tracemalloc.start()
    index = make_index(Fraction(1, 30), np.arange(count), is_key=np.arange(count) % 60 == 0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert index.duration_ms == 3 * 3600 * 1000
    assert peak < 40 * 2**20


# ---------------------------------------------------------------------------------------------------------------------
# Clean starts


def avcc_sei(payload_type: int, first_byte: int) -> bytes:
    unit = bytes([6, payload_type, 1, first_byte, 0x80])
    return len(unit).to_bytes(4, "big") + unit


@pytest.mark.parametrize(
    ("head", "wanted"),
    [
        (b"\0\0\0\x02\x65\x88", (True, True)),  # IDR slice
        (avcc_sei(6, 0x80) + b"\0\0\0\x02\x41\x88", (False, True)),  # recovery point, count 0
        (avcc_sei(6, 0x40) + b"\0\0\0\x02\x41\x88", (False, False)),  # recovery point, count 1: gradual
        (avcc_sei(5, 0x80) + b"\0\0\0\x02\x41\x88", (False, False)),  # another message
        (b"\0\0\0\x02\x41\x88", (False, False)),
        (b"", (False, False)),
        (b"\0\0\0\x09\x06\xff", (False, False)),  # cut short
    ],
)
def test_h264_key_packets_are_told_apart(head: bytes, wanted: tuple[bool, bool]) -> None:
    assert entry.h264_entry(head, 4) == wanted


def test_annex_b_start_codes_are_read_too() -> None:
    assert entry.h264_entry(b"\0\0\0\1\x09\xf0\0\0\0\1\x65\x88", 0) == (True, True)


def test_hevc_sub_layers_are_read_from_both_forms() -> None:
    assert entry.hevc_sub_layers(b"\0\0\0\1\x42\x01\x04\x60") == 3
    assert entry.hevc_sub_layers(bytes([1, *[0] * 20, 1 << 3])) == 1
    assert entry.hevc_sub_layers(None) == 0


def test_intra_refresh_has_no_clean_start_but_the_first(tmp_path: Path) -> None:
    film = Film(
        "libx264", options={"preset": "veryfast", "x264-params": "keyint=20:intra-refresh=1:bframes=0:scenecut=0"}
    )
    render(tmp_path / "x.mkv", film)
    _, index = probe(tmp_path / "x.mkv", LimitSettings())
    assert index.is_key.sum() > 1
    assert index.is_start.tolist() == [True] + [False] * 59


# ---------------------------------------------------------------------------------------------------------------------
# Opening


@pytest.mark.parametrize(
    "name",
    ["-v.mp4", "a:b.mp4", "concat:x.mp4", "http:x.mp4", "quo\"te's.mp4", "two\nlines.mp4", "\u202ertl.mp4", "%d.mp4"],
)
def test_any_name_is_only_a_name(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    render(tmp_path / "plain.mp4", x264(num_frames=5))
    (tmp_path / "plain.mp4").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / name, Path(name)):
        assert probe(path, LimitSettings())[0].num_frames == 5


def test_bytes_that_are_no_text_are_a_name_too(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.mp4"))
    render(tmp_path / "plain.mp4", x264(num_frames=5))
    (tmp_path / "plain.mp4").rename(path)
    assert probe(path, LimitSettings())[0].num_frames == 5


def test_a_playlist_in_disguise_is_refused_though_ffmpeg_would_follow_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    render(tmp_path / "secret.mkv", x264(num_frames=5))
    (tmp_path / "x.mp4").write_text("ffconcat version 1.0\nfile secret.mkv\n")
    monkeypatch.chdir(tmp_path)
    with av.open("x.mp4") as followed:  # what would happen without the lists
        assert followed.format.name == "concat"
        assert sum(1 for _ in followed.demux()) > 5
    with pytest.raises(OpenError) as refused:
        open_container(tmp_path / "x.mp4")
    assert refused.value.code == "not_media"


def test_no_format_that_opens_other_files_is_allowed() -> None:
    allowed = set(FORMATS.split(","))
    assert not allowed & {"concat", "hls", "dash", "webm_dash_manifest", "imf", "image2", "lavfi", "sdp", "rtsp", "avs"}
    assert {"mov", "matroska", "webm", "avi", "mpegts"} <= allowed


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "notes.mp4").write_text("no video at all " * 100)
    (tmp_path / "half.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(3000))
    wanted = {
        "pipe.mp4": "unreadable",
        "folder.mp4": "unreadable",
        "empty.mp4": "empty_file",
        "notes.mp4": "not_media",
        "half.mp4": "truncated",
        "none.mp4": "not_found",
        "nul\0.mp4": "unreadable",
    }
    for name, code in wanted.items():
        with pytest.raises(OpenError) as error:
            open_container(tmp_path / name)
        assert error.value.code == code, name


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(b"x")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(OpenError, match="Permission denied") as error:
        open_container(path)
    assert error.value.code == "unreadable"


def test_sound_alone_points_to_import(tmp_path: Path) -> None:
    audio_file(tmp_path / "x.m4a", "aac")
    with pytest.raises(MediaError, match="fdvs import") as error:
        probe(tmp_path / "x.m4a", LimitSettings())
    assert error.value.code == "no_video_stream"


@pytest.mark.parametrize(
    "limits", [LimitSettings(max_frames=9), LimitSettings(max_pixels=9000), LimitSettings(max_duration_s=0.3)]
)
def test_limits_hold_before_anything_is_decoded(
    tmp_path: Path, limits: LimitSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    render(tmp_path / "x.mp4", x264(num_frames=10))
    assert probe(tmp_path / "x.mp4", LimitSettings(max_frames=10, max_pixels=128 * 72))[0].num_frames == 10

    def decoded(*_: object) -> None:
        raise AssertionError("decoded before the limits were checked")

    monkeypatch.setattr("fdvs.media.probe._first_picture", decoded)
    with pytest.raises(LimitError) as error:
        probe(tmp_path / "x.mp4", limits)
    assert error.value.code == "limit"


@pytest.mark.shared
@pytest.mark.skipif(not SHARED_VIDEOS.is_dir(), reason="no shared videos")
def test_avi_counts_what_decodes_and_not_what_is_stored() -> None:
    facts, index = probe(SHARED_VIDEOS / "highway_traffic_mpeg4.avi", LimitSettings())
    assert facts.num_frames == 1699  # of 1702 packets
    assert not index.exact
    assert facts.duration_ms == 28350


@pytest.mark.shared
@pytest.mark.skipif(not SHARED_VIDEOS.is_dir(), reason="no shared videos")
def test_the_streams_own_duration_counts() -> None:
    facts, _ = probe(SHARED_VIDEOS / "nasa_two_streams_subs.mp4", LimitSettings())
    assert facts.duration_ms == 13000  # the container says 16570
    assert facts.stream_choice.startswith("Stream 0 (h264 320x180) is used")
