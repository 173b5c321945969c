"""The two hops of the profile `paper` with a model: a chapter of each clip, then one story of the kept chapters."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fdvs.chat.base import ChatReply, ChatRequest, Finish
from fdvs.prompts.writer import SYSTEM, SYSTEM_CHAPTER
from fdvs.records import CaptionKind, DuplicateGroup, DuplicateMember, Level, Span
from fdvs.stories.evidence import ClipEvidence
from fdvs.stories.repeats import text_repeats
from fdvs.stories.tree import BuiltStory, build_story, validate_sources, validate_tree
from tests.chat.scripted import ScriptedChat, refused, said, text_of
from tests.stories.films import PAPER, VIDEO_ID, BagOfWords, build, caption, film, video_of
from tests.stories.retelling import lines_of, reply_of, retell, what_of

TEXTS = [f"a {who} stands." for who in "baker doctor farmer pilot sailor tailor miner clerk".split()]  # noqa: SIM905


def told_by(model: ScriptedChat, clips: list[ClipEvidence], **more: object) -> BuiltStory:
    return build_story(video_of(clips), clips, PAPER, BagOfWords(), model=model, **more)  # type: ignore[arg-type]


def repeats(clips: list[ClipEvidence], *members: int) -> DuplicateGroup:
    """The first clip's caption stands for those of `members`."""
    first = clips[0].captions[0]
    gone = (clips[i].captions[0] for i in members)
    return DuplicateGroup(
        "textual",
        first.id,
        VIDEO_ID,
        first.span,
        tuple(DuplicateMember(one.id, VIDEO_ID, one.span, 0.9, "adaptive_causal") for one in gone),
    )


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
    told_by(model, film(TEXTS), chapter_tokens=128)
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


def test_chapters_that_repeat_keep_their_text_and_are_left_out_of_the_story() -> None:
    clips = film(TEXTS)
    model = ScriptedChat(retell)
    story = told_by(model, clips, duplicates=(repeats(clips, 1, 6),))
    (video,) = (one for one in model.requests if what_of(one) == "video")
    told = [text for *_, text in lines_of(video)]
    assert told == [f"It is told that {text}" for i, text in enumerate(TEXTS) if i not in (1, 6)]
    chapters = [node for node in story.nodes if node.level is Level.CHAPTER]
    assert [node.text for node in chapters] == [f"It is told that {text}" for text in TEXTS]


def test_the_adaptive_rule_of_the_paper_shortens_the_story_and_nothing_else() -> None:
    clips = film([TEXTS[0], TEXTS[1], TEXTS[0], TEXTS[0], TEXTS[5]])
    groups = text_repeats(VIDEO_ID, clips, PAPER.story, BagOfWords())
    gone = {member.id for group in groups for member in group.members}
    assert gone
    model = ScriptedChat(retell)
    told_by(model, clips, duplicates=groups)
    (video,) = (one for one in model.requests if what_of(one) == "video")
    kept = [one.captions[0] for one in clips if one.captions[0].id not in gone]
    assert [text for *_, text in lines_of(video)] == [f"It is told that {one.text}" for one in kept]
    assert len(model.requests) == 6


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
