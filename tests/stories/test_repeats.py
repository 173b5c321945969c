"""Captions that say the same: what is grouped, in a story and in a library."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from fdvs.api import Library
from fdvs.records import Caption, CaptionKind, Clip, DuplicateGroup, Level, Outcome, Span
from fdvs.retrieval.story_file import Story
from fdvs.settings import StorySettings, TextMode
from fdvs.stories.choose import choose
from fdvs.stories.evidence import MEASURED, ClipEvidence
from fdvs.stories.lines import seen_lines
from fdvs.stories.repeats import multiplicities, text_repeats
from fdvs.stories.words import Rarity
from tests.retrieval.stories import FakeEncoder

BEACH = "A man walks along the beach."
AGAIN = "A man walks along the beach, along the beach."
DOG = "A dog digs in the sand."


def clips(*told: Sequence[tuple[str, CaptionKind, str]]) -> list[ClipEvidence]:
    """One clip of two seconds for each entry, which names its captions as (text, kind, back end)."""
    found = []
    for i, captions in enumerate(told):
        span = Span(i * 2000, i * 2000 + 2000)
        clip = Clip(f"clip-{i}", "video", span, span.start_ms, ())
        made = tuple(
            Caption(f"cap-{i}{'abc'[j]}", clip.id, span, kind, text, Outcome.OK, "", backend, "")
            for j, (text, kind, backend) in enumerate(captions)
        )
        found.append(ClipEvidence(clip, made, None, None))
    return found


def seen(text: str, backend: str = "model") -> list[tuple[str, CaptionKind, str]]:
    return [(text, CaptionKind.VISUAL, backend)]


def repeats(told: Sequence[ClipEvidence], mode: TextMode = "guard") -> dict[str, list[tuple[str, str]]]:
    groups = text_repeats("video", told, StorySettings(text_redundancy=mode), FakeEncoder())
    assert all(group.kind == "textual" for group in groups)
    return {group.representative_id: [(m.id, m.rule) for m in group.members] for group in groups}


def test_equal_and_similar_captions_go_and_new_words_stay() -> None:
    told = clips(seen(BEACH), seen(DOG), seen("A man WALKS along the beach!"), seen(AGAIN), seen(f"{BEACH} A kite."))
    assert repeats(told) == {"cap-0a": [("cap-2a", "exact"), ("cap-3a", "guard")]}
    assert repeats(told, "exact") == {"cap-0a": [("cap-2a", "exact")]}
    assert repeats(told, "none") == {}


def test_a_caption_of_several_sentences_goes_as_a_whole_or_not_at_all() -> None:
    told = clips(seen(f"{BEACH} {DOG}"), seen(BEACH), seen(f"{DOG} A gull cries."), seen(f"{BEACH} {DOG}"))
    assert repeats(told) == {"cap-0a": [("cap-3a", "exact")]}


def test_measured_captions_repeat_only_where_they_are_equal() -> None:
    still, dark = "A still picture, bright and grey.", "A still picture, grey, bright and bright."
    told = clips(seen(still, MEASURED), seen(dark, MEASURED), seen(still, MEASURED), seen(still))
    assert repeats(told, "greedy") == {"cap-0a": [("cap-2a", "exact")]}


def test_what_is_said_again_is_never_a_repeat() -> None:
    said = [("We are back.", CaptionKind.SPEECH, "subtitles")]
    assert repeats(clips(said, said, [*seen(BEACH), *said])) == {}


def test_text_on_the_screen_repeats_like_any_caption() -> None:
    sign = [("EXIT\nthis way", CaptionKind.SCREEN_TEXT, "rapidocr")]
    assert repeats(clips(sign, seen(DOG), sign)) == {"cap-0a": [("cap-2a", "exact")]}


def test_only_distinct_captions_are_encoded() -> None:
    encoder = FakeEncoder()
    told = clips(*[seen(BEACH)] * 5, seen(DOG), seen("Measured.", MEASURED))
    text_repeats("video", told, StorySettings(), encoder)
    assert encoder.encoded == [BEACH, DOG]
    text_repeats("video", told, StorySettings(text_redundancy="exact"), encoder)
    assert len(encoder.encoded) == 2


def test_a_chapter_of_the_paper_goes_with_all_its_captions() -> None:
    said = ("Look at that.", CaptionKind.SPEECH, "subtitles")
    told = clips(seen(BEACH), [*seen(BEACH)], [*seen(BEACH), said], seen(DOG), [])
    # Cosines with the chapters before: 1, then less for the one with speech, then little: the mean lies between.
    found = repeats(told, "adaptive_causal")
    assert found == {"cap-0a": [(id_, "adaptive_causal") for id_ in ("cap-1a", "cap-2a", "cap-2b")]}
    assert repeats(clips(*[seen(BEACH)] * 4), "adaptive_causal") == {}
    assert repeats(clips([], []), "adaptive_causal") == {}


def test_without_captions_there_are_no_groups() -> None:
    assert repeats(clips([], [])) == {}


# ---- in a library ---------------------------------------------------------------------------------------------

TEXTS = (BEACH, DOG, "A child builds a castle.", BEACH, AGAIN, "A boat sails past the pier.")


def imported(folder: Path, *assignments: str, profile: str | None = None) -> Library:
    file = folder / "captions.jsonl"
    rows = [{"video": "beach.mp4", "start_s": 4 * i, "end_s": 4 * i + 4, "text": t} for i, t in enumerate(TEXTS)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    library = Library(folder / "library", assignments=assignments, profile=profile)
    library.import_captions([file])
    return library


def test_what_is_set_aside_is_counted_recorded_and_found(tmp_path: Path) -> None:
    with imported(tmp_path) as library:
        report = library.redundancy("beach.mp4")
        assert (report.captions_total, report.captions_kept) == (6, 4)
        assert [(one.span.start_s, one.kept_span.start_s, one.rule) for one in report.removed] == [
            (12.0, 0.0, "exact"),
            (16.0, 0.0, "guard"),
        ]
        assert report.removed[0].similarity == 1.0
        assert 0.8 <= report.removed[1].similarity < 1
        hits = library.search("a man walking along the beach", level="clip", k=5)
        times = {span.start_s for hit in hits for span in (hit.span, *hit.also)}
        assert {0.0, 12.0, 16.0} <= times


@pytest.mark.parametrize("mode", ["none", "exact", "greedy", "adaptive_causal", "paper_literal", "fixed_threshold"])
def test_every_mode_can_be_set(tmp_path: Path, mode: TextMode) -> None:
    with imported(tmp_path, f"story.text_redundancy={mode}") as library:
        rules = {one.rule for one in library.redundancy("beach.mp4").removed}
        expected = {"none": set(), "exact": {"exact"}, "greedy": {"exact", "greedy"}, "fixed_threshold": set()}
        assert rules == expected.get(mode, {mode})


def test_the_profile_paper_removes_chapters_above_the_mean(tmp_path: Path) -> None:
    with imported(tmp_path, profile="paper") as library:
        removed = library.redundancy("beach.mp4").removed
        assert {one.rule for one in removed} == {"adaptive_causal"}
        assert {one.span.start_s for one in removed} >= {12.0, 16.0}
        assert library.search("a man walking along the beach", level="clip", k=1)


def test_multiplicity_survives_library_and_story_file(tmp_path: Path) -> None:
    with imported(tmp_path) as library:
        story = library.story("beach.mp4").record
        (tmp_path / "story.json").write_text(library.story("beach.mp4").render("json"))
    loaded = Story.load(tmp_path / "story.json").record
    beach = next(caption.id for caption in story.captions if caption.text == BEACH)
    assert multiplicities(story.duplicates) == multiplicities(loaded.duplicates) == {beach: 3}
    with Library(tmp_path / "other") as other:
        other.import_captions([tmp_path / "story.json"])
        assert multiplicities(other.story("beach.mp4").record.duplicates) == {beach: 3}


def test_groups_of_pictures_have_no_multiplicity() -> None:
    group = DuplicateGroup("visual", "clip-0", "video", Span(0, 1), ())
    assert multiplicities([group]) == {}


def test_a_summary_is_told_from_what_stayed(tmp_path: Path) -> None:
    with imported(tmp_path, "story.levels=paper", "story.sentences_per_video=6") as library:
        story = library.story("beach.mp4").record
    whole = story.nodes[0].text
    assert AGAIN not in whole
    assert all(text in whole for text in dict.fromkeys(TEXTS) if text != AGAIN)
    assert [node.text for node in story.nodes if not node.children][4] == AGAIN  # its clip still says it


def test_in_the_profile_paper_removed_chapters_do_not_reach_the_story(tmp_path: Path) -> None:
    with imported(tmp_path, profile="paper") as library:
        story = library.story("beach.mp4").record
    gone = {member.id for group in story.duplicates for member in group.members}
    assert gone
    above = [sentence for node in story.nodes if node.level is Level.VIDEO for sentence in node.sentences]
    captions = {caption.id for caption in story.captions}
    assert above
    assert not any(gone.issuperset(captions.intersection(sentence.sources)) for sentence in above)


def test_what_is_told_often_is_central() -> None:
    told = clips(seen("A dog digs holes in sand."), seen("Two boats sail past."))
    lines = [line for one in told for line in seen_lines(one)]
    rarity = Rarity([["dog", "digs", "holes", "sand"], ["boats", "sail", "past"]])
    boats = lines[1]
    assert choose(lines, 1, rarity, lambda line: 5 if line is boats else 1) == [boats]
    assert choose(lines, 1, rarity, lambda line: 1 if line is boats else 5) == [lines[0]]
