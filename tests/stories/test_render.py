"""What a story looks like in a terminal and as Markdown."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdvs.records import CaptionKind, DuplicateGroup, DuplicateMember, Level, Sentence, Span, StoryNode, StoryRecord
from fdvs.stories.render import markdown_text, render_markdown, render_tree, wrap
from tests.stories.films import PAPER, SETTINGS, VIDEO_ID, film, picture, record_of

BY_MODEL = replace(SETTINGS, captions=replace(SETTINGS.captions, captioner="openai"))


def two_chapters() -> StoryRecord:
    texts = ["A man walks through the old town."] * 3 + ["Rain falls on a window. A cat looks out."] * 3
    return record_of(film(texts, pictures=lambda i: picture(i // 3)), BY_MODEL)


def test_the_tree_shows_name_length_counts_chapters_and_times() -> None:
    assert render_tree(two_chapters()) == (
        "film.mp4 · 1:00 · 2 scenes in 2 chapters · 6 clips · described by openai\n"
        "\n"
        "1  0:00–0:30  A man walks through the old town\n"
        "   0:00  A man walks through the old town. This continues until 0:30.\n"
        "\n"
        "2  0:30–1:00  Rain falls on a window\n"
        "   0:30  Rain falls on a window. A cat looks out. Both continue until 1:00.\n"
    )


def test_a_story_without_a_vision_model_says_so_first_and_names_the_command() -> None:
    for text in (render_tree(record_of(film(["A still picture."]))), render_markdown(record_of(film(["Still."])))):
        head = " ".join(text.split("\n")[:4]).replace("\\", "")
        assert "no vision model: measured facts, text and speech only" in head
        assert "fdvs build VIDEO --captioner auto" in head
    first = render_tree(record_of(film(["A still picture."]))).splitlines()[0]
    assert first.startswith("no vision model: measured facts, text and speech only")
    assert "no vision model" not in render_tree(two_chapters())


def test_clips_that_repeat_are_counted_when_known() -> None:
    record = record_of(film(["A", "A", "A", "B"], said=lambda i: "Hello" if i == 3 else ""), BY_MODEL)
    seen = [caption for caption in record.captions if caption.kind is CaptionKind.VISUAL]
    said = next(caption for caption in record.captions if caption.kind is CaptionKind.SPEECH)
    members = [DuplicateMember(caption.id, VIDEO_ID, caption.span, 1.0, "exact") for caption in (*seen[1:3], said)]
    clip = DuplicateMember(seen[1].clip_id, VIDEO_ID, seen[1].span, 1.0, "exact")
    group = DuplicateGroup("textual", seen[0].id, VIDEO_ID, seen[0].span, (*members, clip))
    header = render_tree(replace(record, duplicates=(group,))).splitlines()[0]
    assert header.endswith("4 clips, 2 of them repeat what came before · described by")
    similar = replace(group, members=tuple(replace(member, rule="guard") for member in group.members))
    assert (
        render_tree(replace(record, duplicates=(similar,))).splitlines()[0].endswith("· 4 clips · described by openai")
    )
    measured = record_of(film(["A", "A", "A", "B"]))
    assert "repeat" not in render_tree(replace(measured, duplicates=(group,)))
    shown = replace(group, kind="visual", members=(clip,))
    assert "4 clips, 1 of them repeats what came before" in render_tree(replace(measured, duplicates=(shown,)))
    elsewhere = replace(group, representative_video_id="cd" * 32)
    assert (
        render_tree(replace(record, duplicates=(elsewhere,)))
        .splitlines()[0]
        .endswith("· 4 clips · described by openai")
    )


def test_hours_are_shown_with_parts_and_wide_times() -> None:
    record = record_of(film([f"Scene {i // 9} of the film" for i in range(1100)], pictures=lambda i: picture(i // 9)))
    text = render_tree(record)
    assert re.search(r"^Part 1 · 0:00:00–\d:\d\d:\d\d · ", text, re.MULTILINE)
    assert re.search(r"^ +0:00:00  Scene 0 of the film", text, re.MULTILINE)
    assert text.count("Part ") == sum(node.level is Level.PART for node in record.nodes)
    assert len(text.splitlines()) < 500


def test_paper_stories_are_told_chapter_by_chapter() -> None:
    text = render_tree(record_of(film(["One sentence.", "Another one."]), PAPER))
    assert "2 chapters · 2 clips" in text
    assert "   0:00  To begin with: One sentence." in text
    assert "   0:10  Later on: Another one." in text


@pytest.mark.parametrize("width", [40, 60, 100])
def test_no_line_is_wider_than_asked(width: int) -> None:
    words = " ".join(f"word{i}" for i in range(60))
    record = record_of(film([words, "漢字" * 50, "x" * 300]), BY_MODEL)
    for line in render_tree(record, width).splitlines():
        assert sum(2 if "一" <= character <= "鿿" else 1 for character in line) <= width


def test_untrusted_text_can_neither_steer_the_terminal_nor_start_a_line() -> None:
    evil = "\x1b[2J\x1b]0;owned\x07 red\u202etxt.exe\n# heading\n\n1. item"
    record = record_of(film([evil]), BY_MODEL, name="ev\x1bil\n.mp4")
    text = render_tree(record)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", text)
    assert not re.search(r"^(#|1\. item)", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("*bold* _it_ `code`", r"\*bold\* \_it\_ \`code\`"),
        ("[x](http://a.b) <script>", r"\[x\](http\://a.b) \<script\>"),
        ("www.evil.org a@b.c", r"www\.evil.org a\@b.c"),
        ("&lt; a|b ~~x~~ $y$", r"\&lt; a\|b \~\~x\~\~ \$y\$"),
        ("two\nlines", "two lines"),
        ("a \\* b", r"a \\\* b"),
    ],
)
def test_markdown_text_means_nothing_but_itself(text: str, escaped: str) -> None:
    assert markdown_text(text) == escaped


def test_markdown_has_a_heading_per_chapter_and_an_item_per_paragraph() -> None:
    text = render_markdown(two_chapters())
    assert text.startswith("# film.mp4\n\nfilm.mp4 · 1:00")
    assert "\n### 1 · 0:00–0:30 · A man walks through the old town\n\n- **0:00** A man walks" in text
    assert "\n\n### 2 · 0:30–1:00 · Rain falls on a window\n\n- **0:30** Rain" in text


def test_sentences_of_one_second_share_a_paragraph_and_others_do_not() -> None:
    record = record_of(film(["First.", "Second."], clip_ms=400), BY_MODEL)
    assert "0:00  First. Second.\n" in render_tree(record)
    record = record_of(film(["First.", "Second."], clip_ms=1000), BY_MODEL)
    assert "0:00  First.\n   0:01  Second.\n" in render_tree(record)


def test_a_story_of_gaps_still_shows_its_chapters() -> None:
    record = record_of(film(["", ""]), BY_MODEL)
    assert render_tree(record).endswith("1  0:00–0:20  not described (failed)\n")


@given(st.text(alphabet="ab漢 \u0301", max_size=80), st.integers(4, 20))
def test_wrapping_keeps_every_word_and_the_width(text: str, width: int) -> None:
    lines = wrap(text, width)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(sum({"漢": 2, "\u0301": 0}.get(c, 1) for c in line.strip()) <= width for line in lines)


def test_rendering_needs_only_what_the_file_holds() -> None:
    clip = StoryNode("clip-1", Level.CLIP, "ch", (), Span(0, 10), "t", (Sentence("Told.", ("clip-1",)),), "w")
    chapter = replace(clip, id="ch", level=Level.CHAPTER, parent="v", children=("clip-1",))
    whole = replace(chapter, id="v", level=Level.VIDEO, parent=None, children=("ch",))
    record = two_chapters()
    bare = StoryRecord(replace(record.video, duration_ms=10), {}, (), (whole, chapter, clip))
    assert render_tree(bare) == "film.mp4 · 0:00 · 1 chapter · 1 clip\n\n1  0:00–0:00  t\n   0:00  Told.\n"
