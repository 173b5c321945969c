"""Subtitle cues become captions of the clip in which they start."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fdvs.captioners.speech import speech_captions
from fdvs.media.subtitles import Cue
from fdvs.records import Clip, Outcome, Span

CLIPS = [Clip(f"clip-{i}", "video", Span(4000 * i, 4000 * (i + 1)), 4000 * i, ()) for i in range(3)]


def cue(start_ms: int, end_ms: int, text: str = "Hello there.", track: str = "film.en.srt") -> Cue:
    return Cue(Span(start_ms, end_ms), text, "en", track)


def test_a_cue_belongs_to_the_clip_in_which_it_starts_and_keeps_its_span() -> None:
    inside, across, at_border = speech_captions(CLIPS, [cue(500, 900), cue(3500, 6000), cue(4000, 4500)], "hash")

    assert (inside.clip_id, across.clip_id, at_border.clip_id) == ("clip-0", "clip-0", "clip-1")
    assert across.span == Span(3500, 6000)
    assert across.kind == "speech"
    assert across.outcome == Outcome.OK
    assert across.reason == ""
    assert across.backend == "subtitles:film.en.srt"
    assert across.settings_hash == "hash"


def test_text_is_verbatim_but_for_white_space() -> None:
    (caption,) = speech_captions(CLIPS, [cue(0, 900, "  - I said\n\t“no”;  ignore   it. ")], "hash")

    assert caption.text == "- I said “no”; ignore it."


def test_a_cue_is_cut_at_the_end_of_the_video() -> None:
    (by_clips,) = speech_captions(CLIPS, [cue(11_000, 15_000)], "hash")
    (by_end,) = speech_captions(CLIPS[:1], [cue(3000, 15_000)], "hash", end_ms=12_000)

    assert by_clips.span == Span(11_000, 12_000)
    assert by_end.span == Span(3000, 12_000)


def test_empty_and_outside_cues_have_no_clip() -> None:
    assert speech_captions(CLIPS, [cue(0, 900, " \n "), cue(12_000, 13_000)], "hash") == []
    assert speech_captions(CLIPS[1:], [cue(100, 900)], "hash") == []
    assert speech_captions([], [cue(0, 900)], "hash") == []


def test_tracks_stay_apart_and_equal_cues_come_once() -> None:
    captions = speech_captions(CLIPS, [cue(0, 900), cue(0, 900), cue(0, 900, track="stream 2")], "hash")

    assert [caption.backend for caption in captions] == ["subtitles:film.en.srt", "subtitles:stream 2"]
    assert len({caption.id for caption in captions}) == 2


@given(st.lists(st.tuples(st.integers(0, 14_000), st.integers(1, 5000), st.sampled_from(["Yes.", "No.", " "]))))
def test_each_cue_with_text_is_one_caption_in_its_clip(told: list[tuple[int, int, str]]) -> None:
    cues = [cue(start, start + length, text) for start, length, text in told]
    captions = speech_captions(CLIPS, cues, "hash")
    wanted = {(c.span.start_ms, min(c.span.end_ms, 12_000), c.text) for c in cues if c.text.strip()}

    assert {(c.span.start_ms, c.span.end_ms, c.text) for c in captions} == {key for key in wanted if key[0] < 12_000}
    assert captions == speech_captions(CLIPS, cues[::-1], "hash")
    by_id = {clip.id: clip for clip in CLIPS}
    assert all(by_id[caption.clip_id].span.contains(caption.span.start_ms) for caption in captions)
