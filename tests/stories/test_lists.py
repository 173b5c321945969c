"""Clips with several captions of models: sentences lead, lists of what was recognised stay with their clip."""

from __future__ import annotations

from dataclasses import replace

from fdvs.captioners.grounding import Detection, told
from fdvs.captioners.guesses import Guess, listed
from fdvs.captioners.regions import Box
from fdvs.records import CaptionKind, DuplicateGroup, DuplicateMember, Level, StoryNode
from fdvs.stories.evidence import ClipEvidence
from fdvs.stories.outline import num_repeating_clips
from tests.stories.films import SETTINGS, VIDEO_ID, build, caption, film, record_of

SENTENCES = [
    "A woman rides a horse along a beach.",
    "A man repairs a red car in a garage.",
    "Children fly kites on a hill.",
    "A cook slices onions in a kitchen.",
]
NAMES = ["horse", "car", "kite", "onion"]


def objects(name: str) -> str:
    """As the detector tells of two frames that show the same."""
    found = [Detection(name, 0.9, Box(0.0, 0.4, 0.3, 0.6))]
    return told([(0, found), (2000, found)])


def action(name: str) -> str:
    return listed([Guess(f"holding {name}", 0.62)])


def seen(texts: list[str], *, backend: str = "openai", said: str = "") -> list[ClipEvidence]:
    """Clips with a sentence, what was detected and a guess at what is done."""
    clips = []
    for one, name in zip(film(texts, backend=backend, said=lambda _: said), NAMES, strict=True):
        lists = (
            caption(one.clip, objects(name), CaptionKind.OBJECTS, backend="grounding_dino"),
            caption(one.clip, action(name), CaptionKind.ACTION, backend="video_classifier"),
        )
        clips.append(replace(one, captions=(*one.captions, *lists)))
    return clips


def above(nodes: tuple[StoryNode, ...]) -> str:
    return " ".join(f"{node.title}. {node.text}" for node in nodes if node.children)


def test_a_clip_tells_the_sentence_first_and_each_list_whole() -> None:
    clip = next(node for node in build(seen(SENTENCES)).nodes if node.level is Level.CLIP)
    assert [sentence.text for sentence in clip.sentences] == [SENTENCES[0], action("horse"), objects("horse")]
    assert clip.title == SENTENCES[0].rstrip(".")
    assert objects("horse") == "At 0:00: small horse (left). At 0:02: the same."


def test_lists_are_no_titles_and_not_told_above_clips_that_sentences_describe() -> None:
    text = above(build(seen(SENTENCES)).nodes)
    assert "At 0:0" not in text
    assert "Guessed" not in text
    assert sum(sentence in text for sentence in SENTENCES) == SETTINGS.story.sentences_per_scene == 3


def test_beside_measured_facts_one_list_is_told_and_speech_gives_the_title() -> None:
    nodes = build(seen(["Something moves."] * 4, backend="builtin", said="We ride along the coast today.")).nodes
    scene = next(node for node in nodes if node.level is Level.SCENE)
    lists = [one for one in scene.sentences if one.text.startswith(("Guessed", "At "))]
    assert len(lists) == 1
    assert "ride along the coast" in scene.title


def test_where_there_are_only_lists_they_are_all_there_is() -> None:
    clips = [replace(one, captions=one.captions[1:]) for one in seen(SENTENCES)]
    nodes = build(clips).nodes
    assert nodes[0].text
    clip = next(node for node in nodes if node.level is Level.CLIP)
    assert clip.title in {"Guessed: holding horse", "Small horse (left)", "Guessed: holding horse (likely, 0.62)"}


def test_equal_tags_of_clips_are_no_repeats_and_equal_sentences_are() -> None:
    clips = film(["Likely a kitchen."] * 3, backend="clip")
    first, *others = (one.captions[0] for one in clips)
    members = tuple(DuplicateMember(one.id, VIDEO_ID, one.span, 1.0, "exact") for one in others)
    group = DuplicateGroup("textual", first.id, VIDEO_ID, first.span, members)
    for captioner, repeating in (("clip", 0), ("openai", 2), ("builtin", 0)):
        settings = replace(SETTINGS, captions=replace(SETTINGS.captions, captioner=captioner))
        assert num_repeating_clips(replace(record_of(clips, settings), duplicates=(group,))) == repeating
