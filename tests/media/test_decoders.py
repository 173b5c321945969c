"""One suite that every decoder runs: which frame is which is read from its pixels.

PyAV must satisfy every row. decord must give the right frames or refuse with a reason, never a wrong frame.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fdvs.errors import BackendUnavailableError, DecodeError, LimitError, MediaError, OpenError, UnknownBackendError
from fdvs.media import decord_reader
from fdvs.media.clips import ClipFrames, ClipPlan, plan_clips
from fdvs.media.decord_reader import DecordProcess, read_clips_decord, why_wrong
from fdvs.media.frame import Frame
from fdvs.media.index import PacketIndex
from fdvs.media.probe import probe
from fdvs.media.reader import read_clips
from fdvs.records import ERROR_CODES, Probe
from fdvs.settings import ClipSettings, LimitSettings
from tests.media_files import MAX_NUMBER, RECIPES, MediaFacts, number_picture, read_number, render, x264

Media = Callable[[str], MediaFacts]
Seen = tuple[int | None, int | None, tuple[int, ...]]

HAS_DECORD = importlib.util.find_spec("decord") is not None
needs_decord = pytest.mark.skipif(not HAS_DECORD, reason="decord is not installed")
DECODERS = ["pyav", pytest.param("decord", marks=needs_decord)]
MANGLED_WIDTHS: frozenset[int] = frozenset({72})  # decord returns four channels
BROKEN = [
    "truncated_without_index_mp4", "zero_bytes_mp4", "text_mp4", "garbage_mp4", "ffconcat_mp4", "hls_mp4",
    "audio_only_m4a", "cover_art_m4a", "cover_art_mp3",
]  # fmt: skip
READABLE = [name for name in RECIPES if name not in BROKEN]


def opened(known: MediaFacts) -> tuple[Probe, PacketIndex]:
    return probe(known.path, LimitSettings())


def plans_of(index: PacketIndex, per_clip: int) -> list[ClipPlan]:
    """Plans that sample every single frame, `per_clip` to a clip."""
    times = [int(pts) for pts in index.display_pts]
    plans = []
    for at in range(0, len(times), per_clip):
        samples = tuple(times[at : at + per_clip])
        end = times[at + per_clip] if at + per_clip < len(times) else index.end_pts
        key = int(index.key_pts[max(0, int(np.searchsorted(index.key_pts, samples[0], side="right")) - 1)])
        plans.append(ClipPlan(samples[0], end, key, samples))
    return plans


def look(frame: Frame) -> Seen:
    """The number in the big picture, the number in the small one, and the shape of the big one."""
    picture = frame.rgb()
    return read_number(picture), read_number(frame.small()[..., 0]), picture.shape


def read(
    known: MediaFacts,
    index: PacketIndex,
    decoder: str,
    plans: Sequence[ClipPlan],
    *,
    first_plan: int = 0,
) -> list[ClipFrames[Seen]]:
    return list(read_clips(known.path, index, plans, look, first_plan=first_plan, decoder=decoder))


def is_refused(known: MediaFacts, index: PacketIndex, decoder: str) -> bool:
    """True when this decoder must refuse this file, after checking that it does."""
    if decoder == "pyav" or known.decord == "right":
        return False
    with pytest.raises(OpenError, match=r"run\.decoder=pyav"):
        read(known, index, decoder, plans_of(index, 9))
    return True


def check_frames(known: MediaFacts, clips: Sequence[ClipFrames[Seen]], wanted_ms: Sequence[int]) -> None:
    """Every wanted frame came, in order, and shows its own number, except where the file is damaged."""
    came = [(time_ms, seen) for clip in clips for time_ms, _, seen in clip.frames]
    assert [time_ms for time_ms, _ in came] == sorted(time_ms for time_ms, _ in came)
    number_at = known.number_at
    missing = {number_at[time_ms] for time_ms in set(wanted_ms) - {time_ms for time_ms, _ in came}}
    assert missing <= known.unsure
    for time_ms, (big, small, shape) in came:
        number = number_at[time_ms]
        if number in known.unsure:
            continue
        assert (big, small) == (number, number), f"at {time_ms} ms"
        if known.name != "resolution_change_ts":
            assert shape == (known.size[1], known.size[0], 3)


# ---------------------------------------------------------------------------------------------------------------------
# The ruler itself


def test_numbers_survive_drawing_and_every_size() -> None:
    for number in range(MAX_NUMBER):
        for size in ((128, 72), (64, 64), (72, 128), (426, 240), (97, 53)):
            assert read_number(number_picture(number, *size)) == number


def test_no_number_is_read_from_a_flipped_or_mixed_picture() -> None:
    for number in range(MAX_NUMBER):
        picture = number_picture(number, 128, 72)
        for wrong in (picture[::-1], picture[:, ::-1], picture[::-1, ::-1]):
            assert read_number(wrong) is None
        following = number_picture((number + 1) % MAX_NUMBER, 128, 72)
        assert read_number(((picture.astype(int) + following) // 2).astype(np.uint8)) is None
    assert read_number(np.full((72, 128, 3), 90, np.uint8)) is None


# ---------------------------------------------------------------------------------------------------------------------
# What is known before decoding


@pytest.mark.parametrize("name", READABLE)
def test_probe_knows_count_times_keys_size_and_codec(media: Media, name: str) -> None:
    known = media(name)
    facts, index = opened(known)
    times = [index.ms(int(pts)) for pts in index.display_pts]
    sure = [time_ms for time_ms, number in known.number_at.items() if number not in known.unsure]
    assert set(sure) <= set(times) <= set(known.times_ms)
    if not known.unsure:
        assert times == list(known.times_ms)
        assert facts.num_frames == len(known.numbers)
    keys = [known.number_at[index.ms(int(pts))] for pts in index.key_pts]
    assert keys == [number for number in known.key_numbers if number in {known.number_at[time_ms] for time_ms in times}]
    assert facts.num_keyframes == len(keys)
    assert times[0] == 0
    assert (facts.width, facts.height) == known.size
    assert (facts.codec, facts.bit_depth) == (known.codec, known.bit_depth)
    if known.duration_ms:
        assert abs(facts.duration_ms - known.duration_ms) <= 1  # Matroska rounds each time to a millisecond
    assert facts.duration_ms == index.duration_ms > times[-1]
    assert (facts.rotation_deg % 180 == 90) == (known.rotation_deg % 180 == 90)


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_opened_has_its_code(media: Media, name: str) -> None:
    known = media(name)
    with pytest.raises(MediaError) as caught:
        opened(known)
    assert caught.value.code == known.error
    assert caught.value.code in ERROR_CODES
    if known.error == "no_video_stream":
        assert "fdvs import" in str(caught.value)


def test_late_starts_are_kept_in_the_probe(media: Media) -> None:
    for name in ("late_start_mkv", "late_start_ts"):
        facts, _ = opened(media(name))
        assert facts.start_time_s == pytest.approx(100, abs=2)


def test_cut_files_say_so(media: Media) -> None:
    for name in ("truncated_faststart_mp4", "truncated_mkv"):
        facts, index = opened(media(name))
        assert index.truncated_at_ms is not None
        assert facts.warnings
    for name in ("h264_mkv", "late_start_mkv", "vp9_webm"):
        assert opened(media(name))[1].truncated_at_ms is None


def test_a_gif_of_a_huge_canvas_exceeds_the_limit(media: Media, tmp_path: Path) -> None:
    data = bytearray(media("gif").path.read_bytes())
    data[6:10] = (16_384).to_bytes(2, "little") * 2
    (tmp_path / "bomb.gif").write_bytes(data)
    with pytest.raises(LimitError):
        probe(tmp_path / "bomb.gif", LimitSettings())


def test_hdr_is_recognised(media: Media) -> None:
    facts, _ = opened(media("hdr_pq_10bit_mkv"))
    assert facts.transfer == "smpte2084"


def test_the_first_of_two_video_streams_is_taken_and_said(media: Media) -> None:
    facts, _ = opened(media("two_video_streams_mp4"))
    assert facts.stream_index == 0
    assert "Stream 0" in facts.stream_choice


# ---------------------------------------------------------------------------------------------------------------------
# Which frame is which


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("name", READABLE)
def test_every_frame_shows_its_own_number(media: Media, name: str, decoder: str) -> None:
    known = media(name)
    _, index = opened(known)
    if is_refused(known, index, decoder):
        return
    clips = read(known, index, decoder, plans_of(index, 9))
    check_frames(known, clips, [index.ms(int(pts)) for pts in index.display_pts])
    assert [clip.plan_index for clip in clips] == list(range(len(clips)))


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("name", READABLE)
def test_resuming_at_any_clip_gives_the_same_frames(media: Media, name: str, decoder: str) -> None:
    """Every clip as the first one read, from the last to the first: each is a seek."""
    known = media(name)
    _, index = opened(known)
    if is_refused(known, index, decoder):
        return
    plans = plans_of(index, 7)
    for first in range(len(plans) - 1, -1, -1):
        clips: Iterator[ClipFrames[Seen]] = iter(read(known, index, decoder, plans[: first + 1], first_plan=first))
        clip = next(clips)
        assert clip.plan_index == first
        check_frames(known, [clip], [index.ms(pts) for pts in plans[first].sample_pts])
        assert next(clips, None) is None


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("name", READABLE)
@pytest.mark.parametrize("frames", ["sampled", "keyframes"])
def test_planned_clips_show_their_numbers(media: Media, name: str, decoder: str, frames: str) -> None:
    """Few samples far apart, as in use: between them frames are skipped, which must not change what is seen."""
    known = media(name)
    _, index = opened(known)
    if is_refused(known, index, decoder):
        return
    settings = ClipSettings(min_clip_s=0.4, max_clip_s=1.0, samples_per_clip=3, frames=frames)  # type: ignore[arg-type]
    plans = plan_clips(index, settings)
    clips = read(known, index, decoder, plans)
    assert len(clips) == len(plans)
    check_frames(known, clips, [index.ms(pts) for plan in plans for pts in plan.sample_pts])


@pytest.mark.parametrize("name", READABLE)
def test_a_resumed_run_gives_bit_equal_pictures(media: Media, name: str) -> None:
    known = media(name)
    _, index = opened(known)
    plans = plan_clips(index, ClipSettings(min_clip_s=0.3, max_clip_s=0.7, samples_per_clip=3))

    def pictures(first: int) -> dict[tuple[int, int], bytes]:
        return {
            (clip.plan_index, pts): pixels
            for clip in read_clips(known.path, index, plans, lambda frame: frame.rgb().tobytes(), first_plan=first)
            for _, pts, pixels in clip.frames
        }

    whole = pictures(0)
    for first in range(1, len(plans)):
        assert pictures(first) == {key: pixels for key, pixels in whole.items() if key[0] >= first}


@pytest.mark.parametrize("decoder", DECODERS)
def test_no_more_than_one_picture_is_handed_out_at_a_time(media: Media, decoder: str) -> None:
    """`read_clips` is lazy: a clip's pictures are decoded when the clip is asked for."""
    known = media("h264_mp4")
    _, index = opened(known)
    calls: list[int] = []
    clips = read_clips(known.path, index, plans_of(index, 10), lambda frame: calls.append(frame.pts), decoder=decoder)
    assert calls == []
    next(clips)
    assert len(calls) == 10


def test_an_unknown_decoder_is_named_with_the_known_ones(media: Media) -> None:
    known = media("h264_mp4")
    _, index = opened(known)
    with pytest.raises(UnknownBackendError, match="decord, pyav"):
        list(read_clips(known.path, index, plans_of(index, 10), look, decoder="opencv"))


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_file_that_vanished_is_not_found(media: Media, tmp_path: Path, decoder: str) -> None:
    known = media("h264_mp4")
    _, index = opened(known)
    with pytest.raises(OpenError) as caught:
        list(read_clips(tmp_path / "gone.mp4", index, plans_of(index, 10), look, decoder=decoder))
    assert caught.value.code == "not_found"


# ---------------------------------------------------------------------------------------------------------------------
# decord: right or refused


@needs_decord
@pytest.mark.parametrize("name", READABLE)
def test_decord_refuses_what_it_would_get_wrong(media: Media, name: str) -> None:
    known = media(name)
    _, index = opened(known)
    calls: list[int] = []
    clips = read_clips(known.path, index, plans_of(index, 9), lambda frame: calls.append(frame.pts), decoder="decord")
    if known.decord == "right":
        assert sum(len(clip.frames) for clip in clips) == len(index.display_pts)
        return
    with pytest.raises(OpenError, match=r"run\.decoder=pyav") as caught:
        list(clips)
    assert caught.value.code == "unreadable"
    assert calls == []  # before any picture was used


@needs_decord
@pytest.mark.parametrize("width", [66, 72, 90, 98, 100, 118, 130])
def test_decord_gives_right_pictures_of_odd_sizes_or_none(tmp_path: Path, width: int) -> None:
    """decord takes the number of channels from the length of a row, which is wrong for some widths."""
    film = x264(num_frames=5, size=(width, 72))
    render(path := tmp_path / "odd.mp4", film)
    _, index = probe(path, LimitSettings())
    with contextlib.ExitStack() as stack:
        if width in MANGLED_WIDTHS:
            stack.enter_context(pytest.raises(OpenError, match="channels"))
        clips = list(read_clips_decord(path, index, plans_of(index, 5), look))
        assert [seen[0] for clip in clips for _, _, seen in clip.frames] == list(film.numbers)


@needs_decord
def test_decord_warns_of_damage_it_covers_up(media: Media) -> None:
    known = media("damaged_bytes_mkv")
    _, index = opened(known)
    clips = list(read_clips(known.path, index, plans_of(index, 10), look, decoder="decord"))
    assert any("earlier pictures" in warning for clip in clips for warning in clip.warnings)


def index_for(media: Media, name: str) -> tuple[PacketIndex, list[int], np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """An index, and what decord would say if it were right."""
    _, index = opened(media(name))
    keys = np.searchsorted(index.display_pts, index.key_pts).tolist()
    starts = ((index.display_pts - index.start_pts) * float(index.time_base)).astype(np.float64)
    return index, keys, starts


def test_why_wrong_accepts_the_truth_and_both_zeros(media: Media) -> None:
    for name in ("h264_mp4", "vfr_mp4", "late_start_mkv", "single_frame_mp4"):
        index, keys, starts = index_for(media, name)
        assert why_wrong(index, keys, starts) == ""
        assert why_wrong(index, keys, starts + float(index.start_pts * index.time_base)) == ""
        assert why_wrong(index, keys, starts.astype(np.float32).astype(np.float64)) == ""


def test_why_wrong_names_every_contradiction(media: Media) -> None:
    index, keys, starts = index_for(media, "h264_mp4")
    assert "60 are shown" in why_wrong(index, keys, starts[:-1])
    assert "times are off" in why_wrong(index, keys, starts + 0.02)
    assert "times are off" in why_wrong(index, keys, starts - 1.1)
    late = starts.copy()
    late[30] += 0.02
    assert "times are off by up to 0.020 s" in why_wrong(index, keys, late)
    assert "key pictures" in why_wrong(index, [0, 17, 37], starts)
    assert "no numbers" in why_wrong(index, keys, np.full_like(starts, np.nan))


# ---------------------------------------------------------------------------------------------------------------------
# decord's process


def fake_worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: str) -> None:
    """Run `body` instead of decord's worker; it has `answer(header, raw=b"")` and `question()`."""
    script = tmp_path / "worker.py"
    script.write_text(
        "import json, os, sys, time\n"
        "def answer(header, raw=b''):\n"
        "    data = json.dumps({**header, 'num_bytes': len(raw)}).encode()\n"
        "    os.write(1, len(data).to_bytes(4, 'big') + data + raw)\n"
        "def question():\n"
        "    return json.loads(os.read(0, int.from_bytes(os.read(0, 4), 'big')))\n" + body
    )
    monkeypatch.setattr(decord_reader, "_WORKER", script)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("stage", ["greeting", "open", "frame"])
def test_a_hanging_decord_is_killed_after_the_limit(
    media: Media, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stage: str
) -> None:
    known = media("single_frame_mp4")
    _, index = opened(known)
    pid_file, hangs = tmp_path / "pid", tmp_path / "hangs"
    body = f"open({str(pid_file)!r}, 'w').write(str(os.getpid()))\n"
    if stage != "greeting":
        body += "answer({})\nquestion()\n"
    if stage == "frame":
        body += "answer({'count': 1, 'keys': [0]}, bytes(8))\nquestion()\n"
        body += "answer({'shape': [72, 128, 3]}, bytes(72 * 128 * 3))\nquestion()\nos.write(1, b'\\0\\0')\n"
    # Where it hangs, an hour passes at once; the byte on stderr makes whoever waits for it look at the clock.
    body += f"open({str(hangs)!r}, 'w').close()\nos.write(2, b'.')\ntime.sleep(3600)\n"
    fake_worker(monkeypatch, tmp_path, body)
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + 3600 * hangs.exists())
    monkeypatch.setattr(decord_reader, "time", clock)
    with pytest.raises(DecodeError, match="no answer within 600 s") as caught:
        list(read_clips_decord(known.path, index, plans_of(index, 1), look, timeout_s=600))
    assert caught.value.code == "timeout"
    assert (caught.value.at_ms == 0) == (stage == "frame")
    assert not is_running(int(pid_file.read_text()))


@pytest.mark.parametrize(
    "last_words",
    ["os.kill(os.getpid(), 11)", "sys.exit(0)", "os.write(1, b'\\xff' * 100)", "os.write(1, b'\\0\\0\\0\\2[]')",
     "answer({'shape': [72, 128, 3]})", "answer({'shape': [1, 2]}, b'ab')"],
)  # fmt: skip
def test_a_decord_that_dies_or_talks_nonsense_is_an_error_and_no_picture(
    media: Media, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, last_words: str
) -> None:
    known = media("single_frame_mp4")
    _, index = opened(known)
    body = "answer({})\nquestion()\nanswer({'count': 1, 'keys': [0]}, bytes(8))\nquestion()\n"
    body += f"answer({{'shape': [72, 128, 3]}}, bytes(72 * 128 * 3))\nquestion()\n{last_words}\n"
    fake_worker(monkeypatch, tmp_path, body)
    with pytest.raises(DecodeError) as caught:
        list(read_clips_decord(known.path, index, plans_of(index, 1), look))
    assert caught.value.code in ("crashed", "damaged")


def test_a_talkative_decord_does_not_block(media: Media, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """More on stderr than a pipe holds."""
    known = media("single_frame_mp4")
    _, index = opened(known)
    body = "answer({})\nquestion()\nsys.stderr.write('x' * 1_000_000)\nanswer({'count': 1, 'keys': [0]}, bytes(8))\n"
    body += "question()\nanswer({'shape': [72, 128, 3]}, bytes(72 * 128 * 3))\nquestion()\n"
    body += "sys.stderr.write('y' * 1_000_000)\nanswer({'shape': [72, 128, 3]}, bytes(72 * 128 * 3))\nquestion()\n"
    fake_worker(monkeypatch, tmp_path, body)
    (clip,) = read_clips_decord(known.path, index, plans_of(index, 1), look)
    assert len(clip.frames) == 1
    assert "yyy" in clip.warnings[0]
    assert len(clip.warnings[0]) < 500


def test_a_missing_decord_names_the_extra(media: Media, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = media("single_frame_mp4")
    _, index = opened(known)
    fake_worker(monkeypatch, tmp_path, "answer({'error': 'No module named decord', 'kind': 'missing'})\n")
    with pytest.raises(BackendUnavailableError, match=r"fdvs\[decord\]"):
        list(read_clips_decord(known.path, index, plans_of(index, 1), look))


@needs_decord
def test_leaving_early_kills_the_process(media: Media, monkeypatch: pytest.MonkeyPatch) -> None:
    known = media("h264_mp4")
    _, index = opened(known)
    pids: list[int] = []
    real_init = DecordProcess.__init__

    def init(self: DecordProcess, timeout_s: float) -> None:
        real_init(self, timeout_s)
        pids.append(self.pid)

    monkeypatch.setattr(DecordProcess, "__init__", init)
    clips = read_clips_decord(known.path, index, plans_of(index, 5), look)
    next(clips)
    assert is_running(pids[0])
    clips.close()  # type: ignore[attr-defined]
    assert not is_running(pids[0])


@needs_decord
@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM])
def test_the_process_dies_with_its_parent(media: Media, signal_number: int) -> None:
    script = (
        "import sys, time; from fdvs.media.decord_reader import DecordProcess\n"
        "process = DecordProcess(60); process.ask(None); print(process.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_running(child)
        parent.send_signal(signal_number)
        parent.wait()
    while is_running(child):  # the system tells it; not at once
        time.sleep(0.02)


@needs_decord
def test_it_works_from_a_thread_and_again_after_an_error(media: Media) -> None:
    known, broken = media("h264_mp4"), media("open_gop_ts")
    _, index = opened(known)
    _, broken_index = opened(broken)
    found: list[int] = []

    def work() -> None:
        for _ in range(2):
            with pytest.raises(OpenError):
                list(read_clips_decord(broken.path, broken_index, plans_of(broken_index, 30), look))
            clips = list(read_clips_decord(known.path, index, plans_of(index, 30), look))
            found.append(sum(len(clip.frames) for clip in clips))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [60, 60]


@needs_decord
def test_the_working_folder_cannot_shadow_modules(
    media: Media, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("json.py", "decord.py", "numpy.py"):
        (tmp_path / name).write_text("raise SystemExit('shadowed')")
    known = media("single_frame_mp4")
    _, index = opened(known)
    monkeypatch.chdir(tmp_path)
    (clip,) = read_clips_decord(known.path, index, plans_of(index, 1), look)
    assert clip.frames[0][2][0] == 77


def test_file_names_that_are_no_text_are_read_with_pyav_and_refused_for_decord(tmp_path: Path) -> None:
    film = x264(num_frames=4)
    render(plain := tmp_path / "plain.mp4", film)
    odd = tmp_path / os.fsdecode(b"odd\xff\n.mp4")
    plain.rename(odd)
    _, index = probe(odd, LimitSettings())
    clips = list(read_clips(odd, index, plans_of(index, 4), look))
    assert [seen[0] for clip in clips for _, _, seen in clip.frames] == [0, 1, 2, 3]
    with pytest.raises(OpenError, match="UTF-8") as caught:
        list(read_clips_decord(odd, index, plans_of(index, 4), look))
    str(caught.value).encode()  # can be printed
