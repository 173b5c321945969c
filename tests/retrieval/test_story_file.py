from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fdvs.errors import InputError
from fdvs.records import Caption, CaptionKind, Level, Outcome, StoryRecord, Video, content_id
from fdvs.retrieval.search import search
from fdvs.retrieval.story_file import Story, node_vectors
from fdvs.store.library import Store
from fdvs.stories.file import dump_story
from tests.retrieval.stories import CLIP_MS, KITCHEN, FakeEncoder, put, story


def kitchen() -> StoryRecord:
    """A story as the exporter writes it: every clip has a caption that its sentence comes from."""
    nodes, captions = [], []
    for node in story(KITCHEN, summary=["A woman feeds her cat in a kitchen."]):
        if node.level is Level.CLIP:
            caption_id = content_id("caption", node.id)
            captions.append(
                Caption(caption_id, node.id, node.span, CaptionKind.VISUAL, node.text, Outcome.OK, "", "builtin", "")
            )
            nodes.append(replace(node, sentences=tuple(replace(s, sources=(caption_id,)) for s in node.sentences)))
        else:
            nodes.append(node if node.parent is None else replace(node, level=Level.CHAPTER))
    video = Video("0123456789abcdef" * 4, "kitchen.mp4", nodes[0].span.end_ms)
    settings = {"captions": {"captioner": "builtin"}, "story": {"writer": "builtin"}}
    return StoryRecord(video, settings, tuple(captions), tuple(nodes))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "kitchen.json"
    file.write_text(dump_story(kitchen()), encoding="utf-8")
    return file


def test_a_story_is_read_in_order_without_encoding_anything(path: Path) -> None:
    encoder = FakeEncoder()
    loaded = Story.load(path, encoder=encoder)
    assert [node.id for node in loaded.walk()] == [node.id for node in kitchen().nodes]
    assert loaded.video.name == "kitchen.mp4"
    assert [str(node.level) for node in loaded.at(8.5)] == ["video", "chapter", "clip"]
    assert loaded.at(8.5)[-1].text == "The cat drinks the milk."
    assert loaded.at(0)[-1].text == "A woman opens the fridge."
    assert encoder.encoded == []


@pytest.mark.parametrize("seconds", [-0.001, 7 * CLIP_MS / 1000, 1e9])
def test_a_time_outside_the_video_is_an_input_error(path: Path, seconds: float) -> None:
    with pytest.raises(InputError, match="outside the video"):
        Story.load(path).at(seconds)


def test_a_loaded_story_is_searched_and_asked_like_a_library(path: Path) -> None:
    encoder = FakeEncoder()
    loaded = Story.load(path, encoder=encoder)
    store = Store.in_memory()
    put(store, "kitchen.mp4", kitchen().nodes)
    for query in ("milk", "the kettle", "a cat on the table"):
        mine = loaded.search(query, k=6)
        theirs = search(store, encoder, query, k=6)
        assert [(h.node_id, h.similarity, h.rank_score) for h in mine] == [
            (h.node_id, h.similarity, h.rank_score) for h in theirs
        ]
    answer = loaded.ask("What does the cat drink?")
    assert answer.text == "The cat drinks the milk."
    assert answer.citations[0].video == "kitchen.mp4"
    assert loaded.ask("What does the cat drink?", options=["the milk", "hot tea"]).option_index == 0


def test_texts_are_encoded_once(path: Path) -> None:
    encoder = FakeEncoder()
    loaded = Story.load(path, encoder=encoder)
    loaded.search("milk")
    first = len(encoder.encoded)
    loaded.search("milk")
    assert len(encoder.encoded) == first + 1


def test_a_story_is_rendered(path: Path) -> None:
    loaded = Story.load(path)
    assert loaded.render("json") == path.read_text(encoding="utf-8")
    assert "kitchen.mp4" in loaded.render("tree")
    assert loaded.render("md").startswith("# kitchen.mp4")
    with pytest.raises(InputError, match="known: json, md, tree"):
        loaded.render("pdf")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe\x00", b'{"schema": "other/1"}'])
def test_a_file_that_is_no_story_is_an_input_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.json"
    file.write_bytes(content)
    with pytest.raises(InputError):
        Story.load(file)


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.json"):
        Story.load(tmp_path / "no.json")


def test_a_story_whose_tree_was_tampered_with_is_refused(path: Path) -> None:
    data = json.loads(path.read_text(encoding="utf-8"))
    data["nodes"][1]["parent"] = data["nodes"][2]["id"]
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(InputError):
        Story.load(path)


def test_vectors_of_higher_nodes_are_means_of_their_sentences() -> None:
    encoder, nodes = FakeEncoder(), kitchen().nodes
    vectors = node_vectors(nodes, encoder)
    scene = next(node for node in nodes if node.level is Level.CHAPTER)
    mean = encoder.encode([sentence.text for sentence in scene.sentences]).mean(axis=0)
    assert vectors[scene.id] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)
    assert all(np.linalg.norm(vector) == pytest.approx(1, abs=1e-5) for vector in vectors.values())
    assert node_vectors(story([["", ""]]), encoder) == {}
