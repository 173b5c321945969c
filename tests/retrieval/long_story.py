"""A story of three hours on five levels, in which every node says something of its own."""

from __future__ import annotations

from functools import cache

from fdvs.records import Level, Sentence, StoryNode
from fdvs.store.library import Store
from tests.retrieval.stories import node, put

NUM_CLIPS = 1080  # of ten seconds
CLIPS_PER_SCENE, SCENES_PER_CHAPTER, CHAPTERS_PER_PART = 6, 10, 6

_WHO = ("a fisherman", "the captain", "a girl", "two sailors", "the cook", "an old woman", "a gull", "the mechanic")
_DOES = ("mends", "carries", "drops", "paints", "lifts", "washes", "hides", "sells", "repairs", "finds")
_WHAT = ("a net", "a lantern", "the anchor", "a barrel", "a rope", "some bread", "the radio", "a map", "a lifebelt")


def clip_text(index: int) -> str:
    who, does, what = _WHO[index % 8], _DOES[index // 8 % 10], _WHAT[index // 80 % 9]
    return f"{who.capitalize()} {does} {what} near pier {index}."


@cache
def long_story() -> tuple[StoryNode, ...]:
    clips = [node(Level.CLIP, (5 * i, 5 * i + 5), [clip_text(i)]) for i in range(NUM_CLIPS)]
    scenes = _above(Level.SCENE, clips, CLIPS_PER_SCENE)
    chapters = _above(Level.CHAPTER, scenes, SCENES_PER_CHAPTER)
    parts = _above(Level.PART, chapters, CHAPTERS_PER_PART)
    (top,) = _above(Level.VIDEO, parts, len(parts))
    by_parent = {
        child: parent for one in (*scenes, *chapters, *parts, top) for child in one.children for parent in [one.id]
    }
    every = [top, *parts, *chapters, *scenes, *clips]
    return tuple(
        StoryNode(
            one.id, one.level, by_parent.get(one.id), one.children, one.span, one.title, one.sentences, one.writer
        )
        for one in sorted(every, key=lambda one: (one.span.start_ms, -one.span.end_ms, every.index(one)))
    )


def _above(level: Level, below: list[StoryNode], count: int) -> list[StoryNode]:
    """Nodes over `count` nodes each; the first sentence is one of the first of them, the other is their own."""
    made = []
    for start in range(0, len(below), count):
        some = below[start : start + count]
        first, last = some[0].span.start_ms // 2000, some[-1].span.end_ms // 2000
        own = f"The {level} {start // count} of the harbour, where work goes on near the pier."
        bare = node(level, (first, last), [own], some)
        sentences = (Sentence(some[0].sentences[0].text, (some[0].id,)), *bare.sentences)
        made.append(
            StoryNode(bare.id, level, None, bare.children, bare.span, f"Harbour, {level} {start}", sentences, "model")
        )
    return made


def long_library() -> tuple[Store, str]:
    store = Store.in_memory()
    return store, put(store, "harbour.mp4", long_story())
