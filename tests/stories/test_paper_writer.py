"""The two hops of the profile `paper` with a model: a chapter of each clip, then one story of the kept chapters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from fdvs.chat.base import ChatReply, ChatRequest, Finish
from fdvs.cli.repeats import redundancy_lines
from fdvs.prompts.writer import SYSTEM, SYSTEM_CHAPTER
from fdvs.records import CaptionKind, Level, Span, StoryNode, clock
from fdvs.redundancy.report import report_of
from fdvs.settings import Settings
from fdvs.stories.evidence import ClipEvidence
from fdvs.stories.tree import BuiltStory, build_story, validate_sources, validate_tree
from tests.chat.scripted import ScriptedChat, refused, said, text_of
from tests.stories.films import PAPER, VIDEO_ID, BagOfWords, build, caption, film, video_of
from tests.stories.retelling import lines_of, reply_of, retell, what_of

TEXTS = [f"a {who} stands." for who in "baker doctor farmer pilot sailor tailor miner clerk".split()]  # noqa: SIM905


ALL = replace(PAPER, story=replace(PAPER.story, text_redundancy="none"))  # no chapter is left out


def told_by(model: ScriptedChat, clips: list[ClipEvidence], settings: Settings = ALL) -> BuiltStory:
    return build_story(video_of(clips), clips, settings, BagOfWords(), model=model)


class Compass:
    """What looks north or east, alone or with others, lies in one plane; every other text stands upright on it."""

    name = "compass"
    dimension = 3

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        known = {"North.": (1.0, 0.0, 0.0), "East.": (0.0, 1.0, 0.0)}
        return np.array([known.get(text, (0.0, 0.0, 1.0)) for text in texts], dtype=np.float32)


def pointed(ways: str, memory: int = 35, **story: object) -> tuple[BuiltStory, ScriptedChat]:
    """The story of clips whose captions differ and whose chapters say `North.` or `East.`, an N or E each."""
    left = iter(ways)

    def script(request: ChatRequest) -> str:
        return retell(request) if request.schema is not None else {"N": "North.", "E": "East."}[next(left)]

    model = ScriptedChat(script)
    clips = film(TEXTS[: len(ways)])
    settings = replace(PAPER, story=replace(PAPER.story, text_memory=memory, **story))  # type: ignore[arg-type]
    return build_story(video_of(clips), clips, settings, Compass(), model=model), model


def chapters_of(story: BuiltStory) -> list[StoryNode]:
    return [node for node in story.nodes if node.level is Level.CHAPTER]


def set_aside(story: BuiltStory) -> list[int]:
    """Which chapters, from 0, the story says are repeats."""
    ids = [node.id for node in chapters_of(story)]
    return sorted(ids.index(member.id) for group in story.repeats for member in group.members)


def test_a_chapter_is_told_from_its_clip_alone_in_at_most_a_hundred_tokens() -> None:
    model = ScriptedChat(retell)
    story = told_by(model, film(TEXTS))
    hops = [one for one in model.requests if what_of(one) == "chapter of the paper"]
    assert len(hops) == 8
    for text, request in zip(TEXTS, hops, strict=True):
        assert text_of(request).splitlines()[1].endswith(f'caption: "{text}"')
        assert not any(other in text_of(request) for other in TEXTS if other != text)
        assert (request.system, request.schema, request.max_tokens) == (SYSTEM_CHAPTER, None, 100)
        assert (request.temperature, request.num_pictures) == (0.0, 0)
    chapters = [node for node in story.nodes if node.level is Level.CHAPTER]
    assert [node.text for node in chapters] == [f"It is told that {text}" for text in TEXTS]
    assert all(sentence.sources == node.children for node in chapters for sentence in node.sentences)
    assert {node.writer for node in story.nodes if node.children} == {"scripted:scripted-1"}


def test_the_tokens_of_a_chapter_can_be_set() -> None:
    model = ScriptedChat(retell)
    told_by(model, film(TEXTS), replace(ALL, story=replace(ALL.story, chapter_tokens=128)))
    assert {one.max_tokens for one in model.requests} == {128, PAPER.story.writer_max_tokens}


def test_perception_is_told_as_names_and_values_the_action_first_then_by_time() -> None:
    (first,) = film([""], clip_ms=8000)

    def seen(start_ms: int, kind: CaptionKind, text: str) -> object:
        return caption(first.clip, text, kind, span=Span(start_ms, start_ms + 1))

    captions = (
        seen(4000, CaptionKind.VISUAL, "a rider on a horse"),
        seen(0, CaptionKind.VISUAL, "a horse"),
        seen(0, CaptionKind.OBJECTS, "horse, left, medium"),
        caption(first.clip, "riding a horse", CaptionKind.ACTION),
        caption(first.clip, "Something moves.", backend="builtin"),
    )
    model = ScriptedChat(retell)
    told_by(model, [replace(first, captions=captions)])  # type: ignore[arg-type]
    assert text_of(model.requests[0]).splitlines()[1:6] == [
        'at 0.00 s action: "riding a horse"',
        'at 0.00 s objects: "horse, left, medium"',
        'at 0.00 s caption: "a horse"',
        'at 0.00 s measured: "Something moves."',
        'at 4.00 s caption: "a rider on a horse"',
    ]


def test_the_story_is_told_from_the_chapters_with_the_phrase_of_their_quarter_before_each() -> None:
    model = ScriptedChat(retell)
    told_by(model, film(TEXTS))
    (story,) = (one for one in model.requests if what_of(one) == "video")
    # eight clips of ten seconds: two begin in each quarter, the third one exactly with the second quarter
    assert [(when, text) for _, when, _, text in lines_of(story)] == [
        ("To begin with, 0:00–0:10", f"It is told that {TEXTS[0]}"),
        ("To begin with, 0:10–0:20", f"It is told that {TEXTS[1]}"),
        ("Early on, 0:20–0:30", f"It is told that {TEXTS[2]}"),
        ("Early on, 0:30–0:40", f"It is told that {TEXTS[3]}"),
        ("Later on, 0:40–0:50", f"It is told that {TEXTS[4]}"),
        ("Later on, 0:50–1:00", f"It is told that {TEXTS[5]}"),
        ("Towards the end, 1:00–1:10", f"It is told that {TEXTS[6]}"),
        ("Towards the end, 1:10–1:20", f"It is told that {TEXTS[7]}"),
    ]
    assert "first, then, after that, finally" in text_of(story)
    assert (story.system, story.temperature) == (SYSTEM, 0.0)


@pytest.mark.parametrize(
    ("ways", "memory", "gone"),
    [
        # cosines to the mean before: 1, 0, 1/sqrt(5); their mean is 0.482
        ("NNEE", 35, [1]),
        # to the one chapter before: 1, 0, 1; their mean is 0.667
        ("NNEE", 1, [1, 3]),
        # 0, 1/sqrt(2), 1/sqrt(5), 2/sqrt(8): the mean is 0.465
        ("NENEN", 35, [2, 4]),
        # where all are equal, none is more like the rest than the others
        ("NNNN", 35, []),
        ("N", 35, []),
    ],
)
def test_the_rule_of_the_paper_compares_what_the_model_wrote(ways: str, memory: int, gone: list[int]) -> None:
    story, model = pointed(ways, memory)
    assert set_aside(story) == gone
    chapters = chapters_of(story)
    assert [node.text for node in chapters] == [{"N": "North.", "E": "East."}[way] for way in ways]
    assert all(node.id in story.vectors for node in chapters), "what is set aside is found as before"
    (video,) = (one for one in model.requests if what_of(one) == "video")
    spans = [chapter.span for i, chapter in enumerate(chapters) if i not in gone]
    assert [when.rpartition(", ")[2] for _, when, _, _ in lines_of(video)] == [
        f"{clock(span.start_ms)}–{clock(span.end_ms)}" for span in spans
    ]
    assert not {source for one in story.nodes[0].sentences for source in one.sources} & {chapters[i].id for i in gone}


def test_what_a_chapter_repeats_is_recorded_with_the_one_that_stands_for_it() -> None:
    story, _ = pointed("NENEN")
    chapters = chapters_of(story)
    (group,) = story.repeats
    assert (group.kind, group.representative_id, group.representative_span) == (
        "textual",
        chapters[0].id,
        chapters[0].span,
    )
    assert [(one.id, one.span, one.similarity, one.rule) for one in group.members] == [
        (chapters[i].id, chapters[i].span, 1.0, "adaptive_causal") for i in (2, 4)
    ]
    assert group.representative_video_id == group.members[0].video_id == VIDEO_ID


def test_captions_of_a_chapter_that_was_set_aside_are_not_counted_as_kept() -> None:
    story, _ = pointed("NENEN")
    clips = film(TEXTS[:5])
    captions = [one for evidence in clips for one in evidence.captions]
    report = report_of("film.mp4", [], captions, story.repeats, story.nodes)
    assert (report.captions_total, report.captions_kept) == (5, 3)
    assert redundancy_lines(report, {})[-1].split() == (
        ["0:20.0–0:50.0", "2", "chapters", "like", "0:00.0", "similarity", "1.000", "(adaptive_causal)"]
    )


@pytest.mark.parametrize(
    ("mode", "gone"), [("none", []), ("exact", [2, 3, 4]), ("guard", [2, 3, 4]), ("greedy", [2, 3, 4])]
)
def test_any_rule_can_compare_chapters(mode: str, gone: list[int]) -> None:
    assert set_aside(pointed("NENEN", text_redundancy=mode)[0]) == gone


def test_where_every_chapter_is_refused_the_rule_compares_what_stands_in_their_place() -> None:
    clips = film(TEXTS[:3])
    model = ScriptedChat(lambda request: refused() if request.schema is None else said(retell(request)))
    story = told_by(model, clips, PAPER)
    assert [node.writer for node in chapters_of(story)] == ["builtin"] * 3
    # of three texts that share all but one word, the third is more like the two before than the second is
    assert set_aside(story) == [2]
    assert len(lines_of(model.requests[-1])) == 2


def test_the_built_in_writer_compares_no_chapters() -> None:
    assert build(film(TEXTS), PAPER).repeats == ()


def test_the_story_of_many_chapters_is_told_from_all_of_them_and_cites_them() -> None:
    clips = film([f"clip {i}." for i in range(60)])
    model = ScriptedChat(retell)
    story = told_by(model, clips)
    validate_tree(story.nodes, clips[-1].clip.span.end_ms)
    validate_sources(story.nodes, {one.id for evidence in clips for one in evidence.captions})
    (video,) = (one for one in model.requests if what_of(one) == "video")
    assert len(lines_of(video)) == 60
    chapters = [node.id for node in story.nodes if node.level is Level.CHAPTER]
    assert [sentence.sources for sentence in story.nodes[0].sentences] == [(chapters[0],), (chapters[-1],)]
    assert sum(node.level is Level.PART for node in story.nodes) > 1


def test_an_hour_of_chapters_is_told_in_sections_where_it_does_not_fit() -> None:
    clips = film([f"clip {i}: a rider turns towards a village with white houses." for i in range(360)])
    model = ScriptedChat(retell, context_tokens=2048)
    story = told_by(model, clips)
    assert story.writing is not None
    assert story.writing.sectioned[-1].level is Level.VIDEO
    assert (story.writing.left_out, story.writing.nodes_fallen_back) == ((), 0)
    sections = [
        one for one in model.requests if what_of(one) == "video" and "of section" in text_of(one).split("\n")[0]
    ]
    assert len(sections) >= 4
    assert sum(len(lines_of(one)) for one in sections) >= 360
    assert lines_of(sections[-1])[-1][1].startswith("Towards the end, ")


@pytest.mark.parametrize(
    ("reply", "text", "asked", "truncated"),
    [
        (said("A baker stands. He looks up. Then he", Finish.LENGTH), "A baker stands. He looks up.", 1, 1),
        (said("A baker stands and looks up at", Finish.LENGTH), "A baker stands and looks up at…", 1, 1),
        (said("**A baker** stands.\n\n- He looks up [1]"), "A baker stands. - He looks up.", 1, 0),
        (said("\n"), "", 2, 0),
        (refused(), "", 1, 0),
        (said("I'm sorry, but I can't help with that."), "", 1, 0),
    ],
)
def test_a_chapter_is_what_a_reply_in_plain_text_holds(reply: ChatReply, text: str, asked: int, truncated: int) -> None:
    def script(request: ChatRequest) -> ChatReply:
        return reply if "baker" in text_of(request) and request.schema is None else said(retell(request))

    clips = film(TEXTS)
    model = ScriptedChat(script)
    story = told_by(model, clips)
    chapter = next(node for node in story.nodes if node.level is Level.CHAPTER)
    builtin = next(node for node in build(clips, PAPER).nodes if node.level is Level.CHAPTER)
    assert chapter.text == (text or builtin.text)
    assert chapter.writer == ("scripted:scripted-1" if text else "builtin")
    assert sum("baker" in text_of(one) for one in model.requests if one.schema is None) == asked
    assert story.writing is not None
    assert (story.writing.truncated, story.writing.nodes_fallen_back) == (truncated, int(not text))


def test_what_the_story_says_cites_the_chapters_it_names() -> None:
    def script(request: ChatRequest) -> str:
        return retell(request) if request.schema is None else reply_of([("First a baker, then others.", [1, 3, 3, 77])])

    story = told_by(ScriptedChat(script), film(TEXTS))
    chapters = [node.id for node in story.nodes if node.level is Level.CHAPTER]
    assert story.nodes[0].sentences[0].sources == (chapters[0], chapters[2])
    assert story.writing is not None
    assert story.writing.invented_sources == 1
