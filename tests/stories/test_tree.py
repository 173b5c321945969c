"""The story tree: shape, ids, vectors."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdvs.captioners.facts import Change
from fdvs.errors import InputError
from fdvs.records import Level, Sentence, Span, StoryNode, content_id
from fdvs.settings import Settings
from fdvs.stories.evidence import ClipEvidence
from fdvs.stories.tree import BuiltStory, build_story, validate_sources, validate_tree
from tests.stories.films import PAPER, SETTINGS, BagOfWords, build, facts, film, picture, video_of

PHRASES = ["a red car drives", "two people talk in a room", "", "rain on a window", "a dog runs. It barks."]


@st.composite
def films(draw: st.DrawFn) -> list[ClipEvidence]:
    choices = draw(st.lists(st.integers(0, len(PHRASES) - 1), min_size=1, max_size=60))
    speaks = draw(st.sets(st.integers(0, 59), max_size=10))
    with_pictures = draw(st.booleans())
    return film(
        [PHRASES[i] for i in choices],
        clip_ms=draw(st.integers(1, 20_000)),
        said=lambda i: f"This is sentence {i}. And more" if i in speaks else "",
        pictures=lambda i: picture(choices[i], 0.01, i) if with_pictures else None,
    )


def levels(story: BuiltStory) -> dict[str, int]:
    return dict(Counter(str(node.level) for node in story.nodes))


@settings(max_examples=60, deadline=None)
@given(films(), st.integers(2, 24), st.sampled_from(["four", "paper"]))
def test_every_story_is_a_sound_tree(clips: list[ClipEvidence], max_children: int, shape: str) -> None:
    story = replace(SETTINGS.story, max_children=max_children, levels="paper" if shape == "paper" else "four")
    built = build(clips, replace(SETTINGS, story=story))
    validate_tree(built.nodes, clips[-1].clip.span.end_ms, max_children=max_children)
    validate_sources(built.nodes, {caption.id for item in clips for caption in item.captions})
    assert [node.id for node in built.nodes if node.level is Level.CLIP] == [item.clip.id for item in clips]
    assert {node.id for node in built.nodes if node.text} == set(built.vectors)
    for vector in built.vectors.values():
        assert vector.dtype == np.float32
        assert float(np.linalg.norm(vector)) == pytest.approx(1, abs=1e-5)
    for node in built.nodes:
        told = [sentence.text for sentence in node.sentences if not sentence.text.startswith("This ")]
        assert len(told) == len(set(told)), "no sentence stands twice in a node"


@pytest.mark.parametrize("settings_", [SETTINGS, PAPER])
def test_a_short_film_has_all_levels(settings_: Settings) -> None:
    four = {"clip": 1, "scene": 1, "chapter": 1, "video": 1}
    paper = {"clip": 1, "chapter": 1, "video": 1}
    assert levels(build(film(["A man walks."]), settings_)) == (paper if settings_ is PAPER else four)


def test_equal_input_gives_equal_stories_and_other_borders_other_ids() -> None:
    texts = ["a red car drives"] * 6 + ["two people talk in a room"] * 6
    a, b = build(film(texts)), build(film(texts))
    assert a.nodes == b.nodes
    assert all(np.array_equal(a.vectors[key], b.vectors[key]) for key in a.vectors)
    reworded = build(film([text.replace("red", "blue") for text in texts]))
    assert [node.id for node in reworded.nodes] == [node.id for node in a.nodes], "words do not shape ids, borders do"
    longer = build(film([*texts, "rain on a window"]))
    assert a.nodes[0].id not in {node.id for node in longer.nodes}


def test_ids_of_higher_nodes_hash_level_children_and_story_settings() -> None:
    built = build(film(["one", "two"]))
    scene = next(node for node in built.nodes if node.level is Level.SCENE)
    assert scene.id == content_id("scene", list(scene.children), SETTINGS.hash("story"))
    other = replace(SETTINGS, story=replace(SETTINGS.story, max_chapter_s=200.0))
    assert build(film(["one", "two"]), other).nodes[0].id != built.nodes[0].id
    captioned_by_another = replace(SETTINGS, captions=replace(SETTINGS.captions, captioner="openai"))
    assert build(film(["one", "two"]), captioned_by_another).nodes == built.nodes


def test_each_text_is_encoded_once() -> None:
    encoder = BagOfWords()
    clips = film(["a man walks", "a man walks", "a dog runs. It barks.", "a man walks"] * 10)
    build_story(video_of(clips), clips, SETTINGS, encoder)
    assert Counter(encoder.encoded).most_common(1)[0][1] == 1
    assert set(encoder.encoded) == {"a man walks.", "a dog runs. It barks.", "a dog runs.", "It barks."}


def test_times_in_a_sentence_do_not_change_its_vector() -> None:
    def vector(end_ms: int) -> list[float]:
        moving = film(["Something moves."], clip_ms=end_ms, backend="builtin")
        clips = [replace(item, facts=facts(item.clip, [Change.MOTION] * 3, region=5)) for item in moving]
        built = build(clips)
        assert f"until 0:{end_ms // 1000}" in built.nodes[0].text
        return [float(value) for value in built.vectors[built.nodes[0].id]]

    assert vector(20_000) == vector(40_000)


def test_a_clip_without_text_has_no_vector_and_says_why_in_its_title() -> None:
    built = build(film(["", "A man walks."]))
    silent = built.nodes[-2]
    assert (silent.text, silent.title, silent.id in built.vectors) == ("", "not described (failed)", False)


def test_a_film_of_which_nothing_is_known_is_still_a_tree() -> None:
    built = build(film([""] * 30))
    assert built.vectors == {}
    assert {node.title for node in built.nodes if node.level is not Level.SCENE} == {"not described (failed)"}
    chapters = [node.title for node in build(film([""] * 100)).nodes if node.level is Level.CHAPTER]
    assert chapters[:2] == ["not described (failed)", "not described (failed) (4:10)"]


def test_no_clip_and_clips_with_a_hole_are_refused() -> None:
    clips = film(["one", "two", "three"])
    with pytest.raises(InputError, match="at least one clip"):
        build_story(video_of(clips), [], SETTINGS, BagOfWords())
    with pytest.raises(InputError, match="20000 ms instead of 10000 ms"):
        build_story(video_of(clips), [clips[0], clips[2]], SETTINGS, BagOfWords())


def node(node_id: str, level: Level, parent: str | None, children: tuple[str, ...], span: Span) -> StoryNode:
    return StoryNode(node_id, level, parent, children, span, "title", (Sentence("text", ("cap",)),), "builtin")


GOOD = (
    node("v", Level.VIDEO, None, ("ch",), Span(0, 20)),
    node("ch", Level.CHAPTER, "v", ("s",), Span(0, 20)),
    node("s", Level.SCENE, "ch", ("a", "b"), Span(0, 20)),
    node("a", Level.CLIP, "s", (), Span(0, 10)),
    node("b", Level.CLIP, "s", (), Span(10, 20)),
)


def changed(index: int, **fields: object) -> tuple[StoryNode, ...]:
    nodes = list(GOOD)
    nodes[index] = replace(nodes[index], **fields)  # type: ignore[arg-type]
    return tuple(nodes)


def test_a_sound_tree_passes() -> None:
    validate_tree(GOOD, 20)
    validate_sources(GOOD, {"cap"})


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ((), "first node"),
        (GOOD[1:], "first node"),
        (changed(4, id="a"), "same id"),
        (changed(3, span=Span(0, 9)), "begins at 10 ms instead of 9 ms"),
        (changed(4, span=Span(10, 19)), "union"),
        (changed(2, span=Span(0, 19)), "union"),
        (changed(2, children=("b", "a")), "union"),
        (changed(2, children=("a",)), "union"),
        (changed(2, children=("a", "b", "c")), "does not exist"),
        (changed(3, parent="ch"), "as parent"),
        (changed(2, level=Level.VIDEO), "cannot have a video"),
        (changed(4, level=Level.SCENE), "cannot have a scene"),
        (changed(2, children=()), "clips have no children"),
        (changed(0, parent="s"), "first node"),
        ((*GOOD[:3], GOOD[4], GOOD[3]), "pre-order"),
        ((*GOOD, node("x", Level.CLIP, "s", (), Span(20, 30))), "pre-order"),
        (changed(3, sentences=(Sentence("text", ()),)), "without a source"),
        (changed(3, sentences=(Sentence(" ", ("cap",)),)), "without text"),
    ],
)
def test_every_broken_rule_of_the_tree_is_found(nodes: tuple[StoryNode, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        validate_tree(nodes, 20)


def test_too_many_children_a_wrong_duration_and_unknown_sources_are_found() -> None:
    with pytest.raises(InputError, match="at most 1"):
        validate_tree(GOOD, 20, max_children=1)
    with pytest.raises(InputError, match="20 ms instead of 30 ms"):
        validate_tree(GOOD, 30)
    with pytest.raises(InputError, match="source cap"):
        validate_sources(GOOD, {"other"})


@pytest.mark.slow
def test_a_hundred_hours_are_built() -> None:
    clips = film([PHRASES[i // 7 % 5] for i in range(36_000)], pictures=lambda i: picture(i // 7 % 5, 0.01, i % 50))
    built = build(clips)
    assert levels(built)["clip"] == 36_000
    assert levels(built)["part"] <= 24
