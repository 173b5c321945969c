"""Captions made elsewhere: formats, cuts, gaps, ids and clear errors."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdvs.errors import InputError
from fdvs.records import CaptionKind, Level, Outcome, Span, StoryRecord
from fdvs.stories.file import dump_story
from fdvs.stories.importing import (
    ImportedCaption,
    ImportedVideo,
    attach_captions,
    clips_from_captions,
    evidence_of,
    import_settings,
    read_captions,
    read_import,
)
from fdvs.stories.tree import build_story
from tests.stories.films import SETTINGS, BagOfWords, clip_at, film, record_of


def seen(start_ms: int, end_ms: int, text: str = "A man walks") -> ImportedCaption:
    return ImportedCaption(Span(start_ms, end_ms), CaptionKind.VISUAL, text)


def lines(path: Path, *records: object) -> Path:
    text = "".join(json.dumps(record) + "\n" for record in records)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


def row(start: float, end: float, text: str = "A man walks", video: str = "a", **more: object) -> dict[str, object]:
    return {"video": video, "start_s": start, "end_s": end, "text": text, **more}


@pytest.mark.parametrize("name", ["c.jsonl", "c.jsonl.gz", "C.JSONL"])
def test_json_lines_are_read_by_video(tmp_path: Path, name: str) -> None:
    path = lines(
        tmp_path / name, row(5, 7.0005, "late"), row(0, 1, "x", "b", kind="speech"), row(0, 2, " two\n lines ")
    )
    a, b = read_captions([path])
    assert (a.name, a.duration_ms) == ("a", 7000)
    assert a.captions == (seen(0, 2000, "two lines"), seen(5000, 7000, "late"))
    assert b.captions == (ImportedCaption(Span(0, 1000), CaptionKind.SPEECH, "x"),)


def test_duration_is_as_told_else_the_largest_end(tmp_path: Path) -> None:
    path = lines(tmp_path / "c.jsonl", row(0, 2), row(1, 9), row(8, 12, "over", duration_s=10))
    (video,) = read_captions([path])
    assert video.duration_ms == 10_000
    assert video.captions[-1].span == Span(8000, 10_000)
    (video,) = read_captions([lines(tmp_path / "d.jsonl", row(1, 9), row(2, 3))])
    assert video.duration_ms == 9000


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (row(2, 2), r"c\.jsonl, line 2: end_s \(2\) must lie after start_s"),
        (row(-1, 2), "line 2: start_s must be a number of seconds from 0 on, got -1"),
        (row(True, 2), "line 2: start_s must be a number"),
        ({"video": "a", "start_s": 0, "end_s": 1}, "line 2: text must be a text, got null"),
        (row(0, 1, video=" "), "line 2: video must not be empty"),
        (row(0, 1, kind="smell"), "line 2: kind must be one of visual, speech"),
        (row(0, 1, duration_s=0), "line 2: duration_s must be above 0"),
        (row(0, 1e9), "line 2: end_s must be a number"),
        (row(50, 60, duration_s=40), "line 2: starts at 50.0 s, after the end of the video at 40.0 s"),
        ([1], "line 2: wants an object"),
    ],
)
def test_a_bad_line_is_an_error_with_file_and_number(tmp_path: Path, bad: object, message: str) -> None:
    path = lines(tmp_path / "c.jsonl", row(0, 1), bad)
    with pytest.raises(InputError, match=message):
        read_captions([path])


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\x00", b'{"a": NaN}', b"[" * 200_000])
def test_what_is_not_json_is_an_error_with_its_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b"\n\n" + content)
    with pytest.raises(InputError, match=r"c\.jsonl, line 3"):
        read_captions([path])


def test_two_durations_for_one_video_are_an_error(tmp_path: Path) -> None:
    path = lines(tmp_path / "c.jsonl", row(0, 1, duration_s=5), row(0, 1, duration_s=6))
    with pytest.raises(InputError, match=r"line 2: duration_s is 6.0, an earlier line says 5.0"):
        read_captions([path])


def test_damaged_missing_and_foreign_files_are_errors(tmp_path: Path) -> None:
    good = lines(tmp_path / "c.jsonl.gz", row(0, 1))
    good.write_bytes(good.read_bytes()[:-9])
    for path in (good, tmp_path / "missing.jsonl", tmp_path / "movie.mp4", tmp_path / "missing.json"):
        with pytest.raises(InputError, match=path.name.replace(".", r"\.")):
            read_import(path)


def test_captions_without_any_text_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no caption of 'a' has text"):
        read_captions([lines(tmp_path / "c.jsonl", row(0, 1, " "))])
    (video,) = read_captions([lines(tmp_path / "d.jsonl", row(0, 1, " ", duration_s=3))])
    assert (video.duration_ms, video.captions) == (3000, ())


SRT = "1\n00:00:01,000 --> 00:00:02,500\nHello\nthere\n\n2\n00:00:02,500 --> 00:00:04,000\nBye\n"


@pytest.mark.parametrize(
    ("name", "video", "kind"),
    [
        ("film.srt", "film", CaptionKind.SPEECH),
        ("film.en.srt", "film", CaptionKind.SPEECH),
        ("film.part.two.srt", "film.part.two", CaptionKind.SPEECH),
        ("film.captions.en.vtt", "film", CaptionKind.SPEECH),
        ("film.descriptions.pt-BR.vtt", "film", CaptionKind.VISUAL),
        ("film.descriptions.vtt", "film", CaptionKind.VISUAL),
    ],
)
def test_subtitle_files_are_captions_of_the_video_in_their_name(
    tmp_path: Path, name: str, video: str, kind: CaptionKind
) -> None:
    path = tmp_path / name
    path.write_text(SRT if name.endswith("srt") else "WEBVTT\n\n" + SRT.replace(",", "."), encoding="utf-8")
    (imported,) = read_captions([path])
    assert (imported.name, imported.duration_ms) == (video, 4000)
    assert imported.captions[0] == ImportedCaption(Span(1000, 2500), kind, "Hello there")
    assert read_captions([path], video="other")[0].name == "other"


def test_files_about_one_video_are_put_together(tmp_path: Path) -> None:
    (tmp_path / "film.srt").write_text(SRT, encoding="utf-8")
    both = [tmp_path / "film.srt", lines(tmp_path / "c.jsonl", row(0, 10, video="film"))]
    (imported,) = read_captions(both)
    assert [caption.kind for caption in imported.captions] == ["visual", "speech", "speech"]


def test_an_exported_story_comes_back(tmp_path: Path) -> None:
    record = record_of(film(["A man walks.", "A dog runs."]))
    path = tmp_path / "story.json"
    path.write_text(dump_story(record), encoding="utf-8")
    loaded = read_import(path)
    assert isinstance(loaded, StoryRecord)
    assert loaded.nodes == record.nodes


def test_clips_are_cut_at_every_start_and_gaps_are_failed_clips() -> None:
    imported = ImportedVideo("v", 12_000, (seen(1000, 6000, "a"), seen(4000, 5000, "b"), seen(8000, 10_000, "c")))
    clips, captions = clips_from_captions(imported)
    assert [(c.span.start_ms, c.span.end_ms) for c in clips] == [
        (0, 1000), (1000, 4000), (4000, 6000), (6000, 8000), (8000, 10_000), (10_000, 12_000),
    ]  # fmt: skip
    by_clip = {clip.id: clip.span.start_ms for clip in clips}
    assert [(by_clip[c.clip_id], c.text, c.outcome, c.reason) for c in captions] == [
        (0, "", Outcome.FAILED, "no caption"),
        (1000, "a", Outcome.OK, ""),
        (4000, "b", Outcome.OK, ""),
        (6000, "", Outcome.FAILED, "no caption"),
        (8000, "c", Outcome.OK, ""),
        (10_000, "", Outcome.FAILED, "no caption"),
    ]
    assert captions[1].span == Span(1000, 6000), "a caption keeps its own span"


def test_ids_come_from_content() -> None:
    a = ImportedVideo("v", 5000, (seen(0, 5000),))
    assert a.id == ImportedVideo("v", 5000, (seen(0, 5000),)).id
    others = [ImportedVideo("w", 5000, a.captions), ImportedVideo("v", 6000, a.captions), ImportedVideo("v", 5000, ())]
    assert len({a.id, *(other.id for other in others)}) == 4
    assert clips_from_captions(a) == clips_from_captions(a)


def test_a_caption_given_twice_is_kept_twice() -> None:
    _, captions = clips_from_captions(ImportedVideo("v", 5000, (seen(0, 5000), seen(0, 5000))))
    assert len({caption.id for caption in captions}) == 2


def test_captions_are_attached_to_the_clip_in_which_they_start() -> None:
    clips = [clip_at(0, 5000), clip_at(5000, 10_000)]
    told = attach_captions(clips, [seen(4000, 12_000), seen(5000, 6000)])
    assert [(item.clip_id, item.span.end_ms) for item in told] == [(clips[0].id, 10_000), (clips[1].id, 6000)]
    with pytest.raises(InputError, match="after the end"):
        attach_captions(clips, [seen(10_000, 11_000)])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 90_000), st.integers(1, 20_000), st.sampled_from(["a cat", "a dog"])), max_size=40
    ),
    st.integers(1, 30_000),
)
def test_any_captions_give_a_sound_story(rows: list[tuple[int, int, str]], extra_ms: int) -> None:
    captions = tuple(sorted(seen(start, start + length, text) for start, length, text in rows))
    end_ms = max((caption.span.end_ms for caption in captions), default=0)
    imported = ImportedVideo("v", end_ms + extra_ms, captions)
    clips, told = clips_from_captions(imported)
    starts = {clip.span.start_ms for clip in clips}
    assert starts >= {caption.span.start_ms for caption in captions}
    built = build_story(imported.video(), evidence_of(clips, told), import_settings(SETTINGS), BagOfWords())
    assert sum(node.level is Level.CLIP for node in built.nodes) == len(clips)
    assert len(told) - sum(item.outcome is Outcome.FAILED for item in told) == len(captions)
