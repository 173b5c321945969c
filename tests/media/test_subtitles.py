"""Sidecars and embedded tracks become cues; no subtitle, however broken, fails a video."""

from __future__ import annotations

import itertools
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pysubs2
import pytest

from fdvs.errors import InputError
from fdvs.media.index import PacketIndex, make_index
from fdvs.media.probe import probe
from fdvs.media.subtitle_tracks import MAX_CUE_CHARS, MAX_CUES, RawCue, clean_lines, normal_language
from fdvs.media.subtitles import (
    MAX_SIDECARS,
    Cue,
    collect_cues,
    cues_from_text_file,
    find_sidecars,
    read_embedded,
    read_sidecar,
    reduce_rolling,
)
from fdvs.records import Span
from fdvs.settings import LimitSettings
from tests.media_files import RECIPES, add_stream, encode, x264

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
SUBTITLES = SHARED / "text" / "subtitles"
needs_texts = pytest.mark.skipif(not SUBTITLES.is_dir(), reason="the shared subtitles are not here")


def index_of(duration_ms: int) -> PacketIndex:
    """A packet index of a video that starts at 0 and lasts so long."""
    return make_index(Fraction(1, 1000), np.array([0], np.int64), is_key=np.array([True]), last_duration=duration_ms)


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def told(path: Path) -> list[tuple[int, int, str]]:
    return [(cue.span.start_ms, cue.span.end_ms, cue.text) for cue in cues_from_text_file(path)]


SRT = "1\n00:00:01,000 --> 00:00:02,500\nHello\nthere\n\n2\n00:00:03,000 --> 00:00:04,000\nBye\n"


# ---------------------------------------------------------------------------------------------------------------------
# Which files


def test_sidecars_are_found_by_stem_and_language(tmp_path: Path) -> None:
    for name in [
        "talk.mp4", "talk.srt", "talk.en.srt", "talk.pt-BR.vtt", "talk.DE.SRT", "talk.en.forced.ass",
        "talk.zh-Hans.srt", "talk.notes.srt", "talk2.srt", "talk.en.txt", "other.srt", "talk.en.us.srt",
    ]:  # fmt: skip
        (tmp_path / name).write_text("x")
    (tmp_path / "talk.fr.srt").mkdir()
    os.mkfifo(tmp_path / "talk.it.srt")
    assert [path.name for path in find_sidecars(tmp_path / "talk.mp4")] == [
        "talk.DE.SRT", "talk.en.forced.ass", "talk.en.srt", "talk.pt-BR.vtt", "talk.srt", "talk.zh-Hans.srt",
    ]  # fmt: skip


def test_a_sidecar_belongs_to_the_video_with_the_longest_stem(tmp_path: Path) -> None:
    for name in ["talk.mp4", "talk.de.mkv", "talk.de.srt", "talk.en.srt"]:
        (tmp_path / name).write_text("x")
    assert [path.name for path in find_sidecars(tmp_path / "talk.mp4")] == ["talk.en.srt"]
    assert [path.name for path in find_sidecars(tmp_path / "talk.de.mkv")] == ["talk.de.srt"]


def test_stems_compare_equal_in_both_unicode_forms(tmp_path: Path) -> None:
    (tmp_path / "caf\u00e9.mp4").write_text("x")
    (tmp_path / "cafe\u0301.en.srt").write_text("x")
    assert len(find_sidecars(tmp_path / "caf\u00e9.mp4")) == 1


def test_undecodable_names_and_missing_folders_are_no_trouble(tmp_path: Path) -> None:
    odd = os.fsdecode(b"a\xff\nb")
    (tmp_path / f"{odd}.mp4").write_text("x")
    written(tmp_path / f"{odd}.en.srt", "no times here")
    assert len(find_sidecars(tmp_path / f"{odd}.mp4")) == 1
    with pytest.raises(InputError) as caught:
        read_sidecar(tmp_path / f"{odd}.en.srt")
    str(caught.value).encode()  # can be printed and stored
    assert find_sidecars(tmp_path / "gone" / "x.mp4") == []


@pytest.mark.parametrize(
    ("tag", "expected"),
    [("en", "en"), ("eng", "en"), ("ger", "de"), ("PT-br", "pt-BR"), ("zh_hans_cn", "zh-Hans-CN"), ("es-419", "es-419"),
     ("und", ""), ("", ""), ("english please", ""), ("tlh", "tlh")],
)  # fmt: skip
def test_languages_are_written_in_one_way(tag: str, expected: str) -> None:
    assert normal_language(tag) == expected


# ---------------------------------------------------------------------------------------------------------------------
# One file


def test_srt_gives_spans_and_text(tmp_path: Path) -> None:
    assert told(written(tmp_path / "a.srt", SRT)) == [(1000, 2500, "Hello there"), (3000, 4000, "Bye")]


def test_language_comes_from_the_name_or_the_webvtt_header(tmp_path: Path) -> None:
    assert read_sidecar(written(tmp_path / "a.pt-BR.srt", SRT)).language == "pt-BR"
    vtt = "WEBVTT\nKind: captions\nLanguage: fr\n\n00:01.000 --> 00:02.000\nSalut\n"
    assert read_sidecar(written(tmp_path / "a.vtt", vtt)).language == "fr"
    assert read_sidecar(written(tmp_path / "a.es.vtt", vtt)).language == "es"


def test_webvtt_notes_styles_names_and_settings_are_no_text(tmp_path: Path) -> None:
    text = (
        "WEBVTT - title\nX: y\n\nSTYLE\n::cue { color: red }\n\nNOTE a remark\nover two lines\n\n"
        "intro\n00:01.000 --> 00:02.000 align:start position:0%\nFirst\n\nNOTE 00:05.000 is no time\n\n"
        "part two\n00:00:03.000 --> 00:00:04.000\nThey counted to\n42\n\nREGION\nid:x\n"
    )
    assert told(written(tmp_path / "a.vtt", text)) == [(1000, 2000, "First"), (3000, 4000, "They counted to 42")]


def test_numbers_that_are_spoken_stay_and_cue_numbers_go(tmp_path: Path) -> None:
    text = (
        "1\n00:00:01,000 --> 00:00:02,000\nHow many?\n\n2\n00:00:02,000 --> 00:00:03,000\n42\n\n"
        "3\n00:00:03,000 --> 00:00:04,000\n7\n"
    )
    assert [text for _, _, text in told(written(tmp_path / "a.srt", text))] == ["How many?", "42", "7"]


def test_inline_word_times_of_automatic_captions_are_no_cues(tmp_path: Path) -> None:
    text = "WEBVTT\n\n00:00.000 --> 00:02.000\nhello<00:00:00.500><c> big</c><00:00:01.000><c> world</c>\n"
    assert told(written(tmp_path / "a.vtt", text)) == [(0, 2000, "hello big world")]


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("<i>Hi</i> <font color='#fff'>you</font>", "Hi you"),
        ("{\\an8}{\\i1}Top{\\i0}", "Top"),
        ("Tom &amp; Jerry &lt;3&nbsp;x", "Tom & Jerry <3 x"),
        ("&lt;b&gt;not bold&lt;/b&gt;", "<b>not bold</b>"),
        ("a < b and c > d", "a < b and c > d"),
        ("x\x00y\x1b[31mz\x7f", "x y [31mz"),
        ("\u202eabc\u202c \ufeffd\u00ade", "abc de"),
        ("می\u200cخواهم 👩\u200d🚀", "می\u200cخواهم 👩\u200d🚀"),
        ("{see page 3}", "{see page 3}"),
        ("&#0;&#xD800;ok", "\ufffd\ufffdok"),
    ],
)
def test_markup_entities_and_control_characters_are_removed(raw: str, clean: str) -> None:
    assert " ".join(clean_lines(raw)) == clean


def test_voices_are_kept_beside_the_text(tmp_path: Path) -> None:
    text = "WEBVTT\n\n00:01.000 --> 00:02.000\n<v.loud Boon's Mom>Look!</v>\n"
    (cue,) = cues_from_text_file(written(tmp_path / "a.vtt", text))
    assert (cue.text, cue.speaker) == ("Look!", "Boon's Mom")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_unicode_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    text = SRT.replace("Hello", "Grüße – 日本")
    track = read_sidecar(written(tmp_path / "a.srt", text, encoding))
    assert track.cues[0].text == "Grüße – 日本 there"
    assert track.warnings == ()


def test_other_encodings_are_read_as_cp1252_with_a_warning(tmp_path: Path) -> None:
    track = read_sidecar(written(tmp_path / "a.srt", SRT.replace("Hello", "Grüße"), "cp1252"))
    assert track.cues[0].text == "Grüße there"
    assert "cp1252" in track.warnings[0]


def test_line_ends_of_all_systems_are_read(tmp_path: Path) -> None:
    for number, newline in enumerate(["\n", "\r\n", "\r"]):
        path = tmp_path / f"{number}.srt"
        path.write_bytes(SRT.replace("\n", newline).encode())
        assert told(path) == [(1000, 2500, "Hello there"), (3000, 4000, "Bye")]


def test_zero_and_negative_durations_end_at_the_next_cue(tmp_path: Path) -> None:
    text = (
        "1\n00:00:01,000 --> 00:00:01,000\nzero\n\n2\n00:00:03,000 --> 00:00:02,000\nnegative\n\n"
        "3\n00:00:20,000 --> 00:00:20,000\nlast\n"
    )
    collection = cues_from_text_file(written(tmp_path / "a.srt", text))
    assert [(cue.span.start_ms, cue.span.end_ms) for cue in collection] == [
        (1000, 3000),
        (3000, 8000),
        (20_000, 25_000),
    ]
    assert any("3 cues had no duration" in warning for warning in collection.warnings)


def test_unreadable_times_are_left_out_with_a_warning_and_their_text_is_not_someone_elses(tmp_path: Path) -> None:
    text = SRT + "\n3\n00:00:xx --> 00:00:09,000\nlost\n\n4\n00:00:08,000 --> 00:00:09,000\nfound\n"
    collection = cues_from_text_file(written(tmp_path / "a.srt", text))
    assert [cue.text for cue in collection] == ["Hello there", "Bye", "found"]
    assert any("1 cues had times" in warning for warning in collection.warnings)


def test_cues_out_of_order_are_sorted(tmp_path: Path) -> None:
    text = "2\n00:00:05,000 --> 00:00:06,000\nb\n\n1\n00:00:01,000 --> 00:00:02,000\na\n"
    assert [text for _, _, text in told(written(tmp_path / "a.srt", text))] == ["a", "b"]


ASS = (
    "[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\nFormat: Name, Fontname, Fontsize\nStyle: Default,Arial,20\n\n"
    "[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
    "Dialogue: 0,0:00:00.50,0:00:01.00,Default,Bob,0,0,0,,{\\an8}Hello,\\Nworld\n"
    "Comment: 0,0:00:00.50,0:00:01.00,Default,,0,0,0,,a remark\n"
    "Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,{\\p1}m 0 0 l 100 0\n"
)


def test_ass_gives_dialogue_without_comments_and_drawings(tmp_path: Path) -> None:
    (cue,) = cues_from_text_file(written(tmp_path / "a.ass", ASS))
    assert (cue.span, cue.text, cue.speaker) == (Span(500, 1000), "Hello, world", "Bob")


def test_content_decides_what_a_file_is(tmp_path: Path) -> None:
    vtt = "WEBVTT\n\n00:01.000 --> 00:02.000\nsay\n\nNOTE hidden\n"
    assert told(written(tmp_path / "a.srt", vtt)) == [(1000, 2000, "say")]
    assert told(written(tmp_path / "b.srt", ASS)) == [(500, 1000, "Hello, world")]


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00" * 5000, bytes(range(256)) * 40, b"hello", b"-->", b"WEBVTT", b"[Script Info]\n[Events]\nDialogue: x",
     b"WEBVTT\nKind: chapters\n\n00:01.000 --> 00:02.000\nOne\n", b"\xff\xfe\n",
     b"1\n00:00:01,000 --> 00:00:02,000\n\n"],
)  # fmt: skip
def test_files_without_subtitles_are_an_input_error(tmp_path: Path, content: bytes) -> None:
    for name in ("a.srt", "a.vtt", "a.ass"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            read_sidecar(tmp_path / name)


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_sidecar(tmp_path / "gone.srt")


# ---------------------------------------------------------------------------------------------------------------------
# Hostile sizes


# What takes time in the square of these sizes takes hours: the time-out of every test is the limit here.
@pytest.mark.parametrize(
    "body",
    ["<a" * 1_000_000, "{\\" * 1_000_000, "&amp" * 500_000, "\n " * 1_000_000, "<v " * 600_000, "1\n" * 1_000_000,
     "0:0:0,0 --> " * 150_000, "00:00:01.000 -->\n" * 110_000, "{\\p1" * 400_000],
    ids=["tags", "overrides", "entities", "blanks", "voices", "numbers", "arrows", "halves", "drawings"],
)  # fmt: skip
def test_hostile_text_costs_linear_time(tmp_path: Path, body: str) -> None:
    heads = {
        "a.srt": "1\n00:00:01,000 --> 00:00:02,000\nfirst\n" + body,
        "a.vtt": "WEBVTT\n\n00:01.000 --> 00:02.000\nfirst\n" + body,
        "a.ass": ASS + "Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,," + body,
    }
    for name, text in heads.items():
        collection = cues_from_text_file(written(tmp_path / name, text))
        assert all(len(cue.text) <= 2 * MAX_CUE_CHARS for cue in collection)


@pytest.mark.parametrize("same_time", [False, True])
def test_millions_of_cues_end_with_a_warning(tmp_path: Path, same_time: bool) -> None:
    def stamp(ms: int) -> str:
        return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02},{ms % 1000:03}"

    lines = [f"{stamp(0 if same_time else i)} --> {stamp(i + 1)}\nx\n" for i in range(1_000_000)]
    path = written(tmp_path / "v.srt", "\n".join(lines))
    collection = cues_from_text_file(path)
    assert len(collection) + collection.num_repeats + collection.num_merged <= MAX_CUES
    assert any("only the first" in warning for warning in collection.warnings)


def test_the_character_limit_cuts_and_says_so(tmp_path: Path) -> None:
    text = "\n".join(f"{i}\n00:00:{i:02},000 --> 00:00:{i:02},900\n0123456789\n" for i in range(50))
    track = read_sidecar(written(tmp_path / "a.srt", text), max_chars=105)
    assert len(track.cues) == 10
    assert "limits.max_subtitle_chars" in track.warnings[0]


def test_the_character_limit_counts_all_tracks_of_a_video(tmp_path: Path) -> None:
    RECIPES["h264_mp4"](tmp_path)
    video = tmp_path / "h264.mp4"
    _, index = probe(video, LimitSettings())
    for language in ("de", "en", "fr"):
        written(tmp_path / f"h264.{language}.srt", f"1\n00:00:00,000 --> 00:00:01,000\n{language}3456789\n")
    collection = collect_cues(video, index, LimitSettings(max_subtitle_chars=20))
    assert [cue.language for cue in collection] == ["de", "en"]
    assert any("fr" in warning for warning in collection.warnings)


def test_too_many_sidecars_are_reported(tmp_path: Path) -> None:
    RECIPES["single_frame_mp4"](tmp_path)
    video = tmp_path / "single_frame.mp4"
    _, index = probe(video, LimitSettings())
    for number in range(MAX_SIDECARS + 5):
        tag = chr(97 + number // 26) + chr(97 + number % 26)
        written(tmp_path / f"single_frame.{tag}.srt", f"1\n00:00:00,000 --> 00:00:01,000\nline {tag}\n")
    collection = collect_cues(video, index)
    assert len(collection) == MAX_SIDECARS
    assert any(f"only the first {MAX_SIDECARS}" in warning for warning in collection.warnings)


# ---------------------------------------------------------------------------------------------------------------------
# Rolling captions


def raw(start_ms: int, end_ms: int, *lines: str) -> RawCue:
    return RawCue(start_ms, end_ms, lines)


def test_rolling_lines_are_told_once_at_the_time_they_appear() -> None:
    """Automatic WebVTT: every line shows while it grows, flashes alone for 10 ms, and stays above the next."""
    cues = [
        raw(0, 2000, "hello world"),
        raw(2000, 2010, "hello world"),
        raw(2010, 4000, "hello world", "this is"),
        raw(4000, 4010, "this is"),
        raw(4010, 6000, "this is", "the end"),
    ]
    reduced, vanished = reduce_rolling(cues)
    assert [(cue.start_ms, cue.text) for cue in reduced] == [(0, "hello world"), (2010, "this is"), (4010, "the end")]
    assert vanished == 2


def test_lines_that_grow_word_by_word_are_told_once() -> None:
    cues = [
        raw(0, 500, "we"),
        raw(500, 1000, "we are"),
        raw(1000, 1500, "we are live"),
        raw(1500, 2000, "we are live now"),
    ]
    # Touching cues on one line: the words overlap in time only when the display does.
    overlapping = [RawCue(cue.start_ms, cue.end_ms + 200, cue.lines) for cue in cues]
    reduced, _ = reduce_rolling(overlapping)
    assert [cue.text for cue in reduced] == ["we", "are", "live", "now"]
    assert [cue.start_ms for cue in reduced] == [0, 500, 1000, 1500]
    assert all(a.end_ms <= b.start_ms for a, b in itertools.pairwise(reduced))


def test_wrapped_overlaps_of_three_words_are_told_once_and_short_ones_stay() -> None:
    cues = [
        raw(0, 3000, "so this is the first big"),
        raw(2000, 5000, "the first big house in the"),
        raw(4000, 7000, "in the street"),
        raw(6000, 9000, "we know"),
    ]
    reduced, _ = reduce_rolling(cues)
    assert [cue.text for cue in reduced] == ["so this is the first big", "house in the", "in the street", "we know"]


def test_what_is_really_said_twice_stays() -> None:
    cues = [raw(0, 1000, "No."), raw(1000, 2000, "No."), raw(2000, 3000, "No. I said no."), raw(3000, 4000, "Fine.")]
    assert reduce_rolling(cues) == (cues, 0)


def test_a_single_overlap_does_not_make_a_track_rolling() -> None:
    cues = [
        raw(0, 2000, "one"),
        raw(1500, 3000, "one two"),
        raw(4000, 5000, "x"),
        raw(6000, 7000, "y"),
        raw(8000, 9000, "z"),
    ]
    assert reduce_rolling(cues) == (cues, 0)


@needs_texts
@pytest.mark.shared
def test_german_automatic_captions_keep_every_word_and_no_longer_overlap() -> None:
    path = SUBTITLES / "lecture_german_autocaptions.srt"
    reference = pysubs2.load(str(path), encoding="utf-8")
    collection = cues_from_text_file(path)
    words = [word for event in reference for word in event.plaintext.split()]
    assert [word for cue in collection for word in cue.text.split()] == words  # neighbours overlap, none repeats
    assert [cue.span.start_ms for cue in collection] == [event.start for event in reference]
    overlaps = sum(a.span.end_ms > b.span.start_ms for a, b in itertools.pairwise(collection.cues))
    assert overlaps == 0
    assert sum(a.end > b.start for a, b in itertools.pairwise(reference.events)) > 300


# ---------------------------------------------------------------------------------------------------------------------
# Real files


@needs_texts
@pytest.mark.shared
@pytest.mark.parametrize("path", sorted(SUBTITLES.glob("*")) if SUBTITLES.is_dir() else [], ids=lambda path: path.name)
def test_real_files_agree_with_pysubs2(path: Path) -> None:
    reference = pysubs2.load(str(path), encoding="utf-8")
    track = read_sidecar(path)
    assert track.warnings == ()
    assert [(cue.start_ms, cue.end_ms) for cue in track.cues] == [(event.start, event.end) for event in reference]
    ours = [cue.text for cue in track.cues]
    assert ours == [" ".join(event.plaintext.replace("&amp;", "&").split()) for event in reference]


@needs_texts
@pytest.mark.shared
def test_the_same_lecture_in_two_formats_counts_once(tmp_path: Path) -> None:
    for suffix in ("srt", "vtt"):
        source = SUBTITLES / f"lecture_crypto_arithmetic.{suffix}"
        (tmp_path / f"v.{suffix}").write_bytes(source.read_bytes())
    RECIPES["single_frame_mp4"](tmp_path)
    collection = collect_cues(tmp_path / "v.mp4", index_of(754_000))
    assert len(collection) == 157
    assert collection.num_merged == 157
    assert collection.cues[-1].span.end_ms == 754_000  # the file says 754,078
    assert collection.num_cut == 2


# ---------------------------------------------------------------------------------------------------------------------
# Embedded tracks and videos


def video_with_subtitles(path: Path, subtitles: Path, language: str, *, start_s: int = 0) -> Path:
    """A two-second video with the cues of a file as an embedded track; everything `start_s` later."""
    film = x264(pts=tuple(range(30 * start_s, 30 * start_s + 60)))
    options = {"avoid_negative_ts": "disabled"}
    with av.open(str(subtitles)) as source, av.open(str(path), "w", options=options) as container:
        pictures = add_stream(container, film)
        texts = container.add_stream_from_template(source.streams[0])
        texts.metadata["language"] = language
        container.start_encoding()
        for packet in encode(film, pictures):
            container.mux(packet)
        for packet in source.demux():
            if packet.size and packet.pts is not None and packet.time_base is not None:
                packet.pts += int(start_s / packet.time_base)
                packet.dts = packet.pts
                packet.stream = texts
                container.mux(packet)
    return path


@pytest.mark.parametrize("suffix", ["srt", "vtt", "ass"])
def test_embedded_tracks_are_read(tmp_path: Path, suffix: str) -> None:
    content = {
        "srt": "1\n00:00:00,500 --> 00:00:01,000\n<i>Hello</i> &amp; bye\n",
        "vtt": "WEBVTT\n\n00:00.500 --> 00:01.000\n<v Ann>Hello</v> &amp; bye\n",
        "ass": ASS.replace("Hello,\\Nworld", "Hello\\N& bye").replace("Bob", "Ann"),
    }[suffix]
    source = written(tmp_path / f"source.{suffix}", content)
    video = video_with_subtitles(tmp_path / "video.mkv", source, "ger")
    _, index = probe(video, LimitSettings())
    (cue,) = collect_cues(video, index)
    speaker = "" if suffix == "srt" else "Ann"
    assert cue == Cue(Span(500, 1000), "Hello & bye", "de", "stream 1", speaker)


def test_embedded_times_are_shifted_like_the_pictures(tmp_path: Path) -> None:
    source = written(tmp_path / "source.srt", "1\n00:00:00,500 --> 00:00:01,000\nx\n")
    video = video_with_subtitles(tmp_path / "video.mkv", source, "eng", start_s=100)
    facts, index = probe(video, LimitSettings())
    assert facts.start_time_s == pytest.approx(100)
    (cue,) = collect_cues(video, index)
    assert cue.span == Span(500, 1000)


def test_cues_beyond_the_end_are_cut_or_dropped_and_counted(tmp_path: Path) -> None:
    text = (
        "1\n00:00:01,000 --> 00:00:09,000\ncut\n\n2\n00:00:02,000 --> 00:00:03,000\nafter\n\n"
        "3\n00:00:00,000 --> 00:00:02,000\nwhole\n"
    )
    written(tmp_path / "h264.srt", text)
    RECIPES["h264_mp4"](tmp_path)
    _, index = probe(tmp_path / "h264.mp4", LimitSettings())
    collection = collect_cues(tmp_path / "h264.mp4", index)
    assert [(cue.text, cue.span) for cue in collection] == [("whole", Span(0, 2000)), ("cut", Span(1000, 2000))]
    assert (collection.num_cut, collection.num_dropped) == (1, 1)
    assert any("1 cue was cut" in warning for warning in collection.warnings)
    assert any("1 cues lie outside" in warning for warning in collection.warnings)


def test_identical_sidecars_and_embedded_tracks_count_once(tmp_path: Path) -> None:
    text = "1\n00:00:00,500 --> 00:00:01,000\nHello\n\n2\n00:00:01,000 --> 00:00:01,500\nAgain\n"
    source = written(tmp_path / "video.en.srt", text)
    written(tmp_path / "video.vtt", "WEBVTT\n\n00:00.501 --> 00:01.000\nHello\n\n00:01.000 --> 00:01.500\nAgain\n")
    video = video_with_subtitles(tmp_path / "video.mkv", source, "eng")
    _, index = probe(video, LimitSettings())
    collection = collect_cues(video, index)
    assert [(cue.text, cue.language, cue.track) for cue in collection] == [
        ("Hello", "en", "video.en.srt"),
        ("Again", "en", "video.en.srt"),
    ]
    assert collection.num_merged == 4


def test_languages_stay_apart_even_where_the_words_agree(tmp_path: Path) -> None:
    RECIPES["h264_mp4"](tmp_path)
    written(tmp_path / "h264.en.srt", "1\n00:00:00,500 --> 00:00:01,000\nOK\n")
    written(tmp_path / "h264.fr.srt", "1\n00:00:00,500 --> 00:00:01,000\nOK\n")
    _, index = probe(tmp_path / "h264.mp4", LimitSettings())
    assert [cue.language for cue in collect_cues(tmp_path / "h264.mp4", index)] == ["en", "fr"]


def test_the_same_words_at_another_time_are_not_merged(tmp_path: Path) -> None:
    RECIPES["h264_mp4"](tmp_path)
    written(tmp_path / "h264.srt", "1\n00:00:00,500 --> 00:00:01,000\nOK\n")
    written(tmp_path / "h264.vtt", "WEBVTT\n\n00:00.600 --> 00:01.000\nOK\n")
    _, index = probe(tmp_path / "h264.mp4", LimitSettings())
    assert len(collect_cues(tmp_path / "h264.mp4", index)) == 2


def test_a_bad_sidecar_is_a_warning_and_the_others_are_read(tmp_path: Path) -> None:
    RECIPES["h264_mp4"](tmp_path)
    (tmp_path / "h264.de.srt").write_bytes(b"\x00\x01\x02" * 100)
    written(tmp_path / "h264.en.srt", "1\n00:00:00,500 --> 00:00:01,000\nOK\n")
    _, index = probe(tmp_path / "h264.mp4", LimitSettings())
    collection = collect_cues(tmp_path / "h264.mp4", index)
    assert [cue.text for cue in collection] == ["OK"]
    assert any("h264.de.srt" in warning for warning in collection.warnings)


def test_a_video_that_vanished_keeps_its_sidecar_and_a_warning(tmp_path: Path) -> None:
    written(tmp_path / "gone.srt", "1\n00:00:00,500 --> 00:00:01,000\nOK\n")
    collection = collect_cues(tmp_path / "gone.mp4", index_of(2000))
    assert [cue.text for cue in collection] == ["OK"]
    assert any("embedded subtitles were not read" in warning for warning in collection.warnings)


def test_a_video_without_subtitles_has_no_cues_and_no_warnings(tmp_path: Path) -> None:
    RECIPES["h264_mp4"](tmp_path)
    _, index = probe(tmp_path / "h264.mp4", LimitSettings())
    collection = collect_cues(tmp_path / "h264.mp4", index)
    assert (collection.cues, collection.warnings) == ((), ())


@pytest.mark.skipif(not (SHARED / "videos").is_dir(), reason="the shared videos are not here")
@pytest.mark.shared
def test_two_embedded_tracks_of_a_real_file_count_once_and_are_cut() -> None:
    path = SHARED / "videos" / "nasa_two_streams_subs.mp4"
    _, index = probe(path, LimitSettings())
    tracks, problems = read_embedded(path, index)
    assert [(track.name, len(track.cues), track.language) for track in tracks] == [
        ("stream 2", 4, "en"),
        ("stream 5", 4, "en"),
    ]
    assert problems == []
    collection = collect_cues(path, index)
    assert [(cue.span.start_ms, cue.span.end_ms) for cue in collection] == [
        (210, 4260), (4260, 8350), (8350, 12_470), (12_470, 13_000),
    ]  # fmt: skip
    assert collection.cues[2].text == "at NASA’s Goddard Space Flight Center in Greenbelt, Maryland."
    assert collection.num_merged == 4
    assert any("stream 2: 1 cue was cut" in warning for warning in collection.warnings)
