"""Search and answers with the sentence encoder of the package, on text that people wrote."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fdvs.encoders.text import TextEncoder, text_encoder
from fdvs.records import Level, Sentence, Span, StoryNode, Video
from fdvs.retrieval.answer import ask
from fdvs.retrieval.search import search
from fdvs.retrieval.story_file import node_vectors
from fdvs.store.library import Store

CAPTIONS = Path(__file__).parents[3] / "shared" / "data" / "text" / "activitynet_captions_qa.jsonl.gz"


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return text_encoder("minilm")


def put(store: Store, encoder: TextEncoder, name: str, captions: Sequence[tuple[float, float, str]]) -> str:
    """A video that is told by timed captions, without levels between."""
    ids = [f"{name}-{i}" for i in range(len(captions))]
    leaves = [
        StoryNode(
            node_id,
            Level.CLIP,
            name,
            (),
            Span(int(start * 1000), max(int(end * 1000), int(start * 1000) + 1)),
            "",
            (Sentence(text.strip(), ("caption",)),),
            "imported",
        )
        for node_id, (start, end, text) in zip(ids, captions, strict=True)
    ]
    whole = Span.union([leaf.span for leaf in leaves])
    nodes = [StoryNode(name, Level.VIDEO, None, tuple(ids), whole, name, (), "imported"), *leaves]
    store.put_video(Video(name, name, whole.end_ms))
    vectors = node_vectors(nodes, encoder)
    store.put_story(name, "s", {}, nodes, vectors=vectors, model=encoder.name, clips_hash="c", captions_hash="c")
    return name


def test_meaning_is_found_without_a_shared_word(encoder: TextEncoder) -> None:
    store = Store.in_memory()
    put(
        store,
        encoder,
        "day.mp4",
        [
            (0, 4, "A puppy sprints across the lawn."),
            (4, 9, "Someone slices tomatoes on a wooden board."),
            (9, 12, "The title slide says: Annual report 2024."),
        ],
    )
    for query, start_s in (("a young dog running", 0), ("cutting vegetables", 4), ("company presentation", 9)):
        assert search(store, encoder, query, k=1)[0].span.start_s == start_s
    answer = ask(store, encoder, "What is being cut on the board?")
    assert answer.text == "Someone slices tomatoes on a wooden board."
    assert answer.citations[0].span == Span(4000, 9000)
    assert ask(store, encoder, "Which song does the choir sing?").abstained
    choice = ask(store, encoder, "What does the dog do?", options=["it sleeps in a basket", "it runs on grass"])
    assert choice.option_index == 1


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    if not CAPTIONS.is_file():
        pytest.skip("the shared texts are not here")
    with gzip.open(CAPTIONS, "rt", encoding="utf-8") as file:
        found = [json.loads(line) for line in file]
    return [row for row in found if row.get("annotator_b")][:80]


@pytest.fixture(scope="module")
def library(rows: list[dict[str, Any]], encoder: TextEncoder) -> Store:
    store = Store.in_memory()
    for row in rows:
        captions = sorted((*caption["t"], caption["text"]) for caption in row["annotator_a"])
        put(store, encoder, row["video"], captions)
    return store


@pytest.mark.shared
def test_what_one_person_wrote_finds_what_another_wrote_of_it(
    rows: list[dict[str, Any]], library: Store, encoder: TextEncoder
) -> None:
    queries = [(row["video"], caption["text"]) for row in rows[::2] for caption in row["annotator_b"][:2]]
    first = five = 0
    for video, text in queries:
        found = [hit.video_id for hit in search(library, encoder, text, k=5)]
        first += found[:1] == [video]
        five += video in found
    # Measured 0.68 and 0.86: sentences of a few words, many of which fit several of the 80 videos.
    assert first / len(queries) >= 0.6
    assert five / len(queries) >= 0.8


@pytest.mark.shared
def test_the_reader_abstains_on_what_no_video_shows(library: Store, encoder: TextEncoder) -> None:
    nowhere = [
        "What is the capital of France?",
        "Who won the world cup in 1998?",
        "How does the stock market work?",
        "Which medicine cures malaria?",
        "Where is the treasure buried?",
        "Why is the president angry at the senator?",
        "How many dinosaurs are eaten by the shark?",
        "When was the treaty signed?",
    ]
    assert [question for question in nowhere if not ask(library, encoder, question).abstained] == []


@pytest.mark.shared
def test_the_reader_answers_what_a_caption_says(
    rows: list[dict[str, Any]], library: Store, encoder: TextEncoder
) -> None:
    """Captions of the other annotator as questions about the right and about another video."""
    right = wrong = count = 0
    for row, other in zip(rows[::4], rows[1::4], strict=True):
        for caption in row["annotator_b"][:2]:
            count += 1
            right += not ask(library, encoder, caption["text"], video_id=row["video"]).abstained
            wrong += not ask(library, encoder, caption["text"], video_id=other["video"]).abstained
    # Measured 0.88 and 0.03.
    assert right / count >= 0.8
    assert wrong / count <= 0.15
