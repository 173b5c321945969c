"""Story files of stories that models made: what comes back, and that nothing of the machine goes in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fdvs import Library, Story
from fdvs.pipeline import story_settings
from fdvs.records import Caption, CaptionKind, Level, Outcome, StoryRecord
from fdvs.settings import load_settings
from fdvs.stories.file import dump_story, load_story
from fdvs.stories.outline import honest_line, summary_line
from fdvs.stories.schema import check_against_schema
from fdvs.stories.tree import build_story
from tests.chat.scripted import ScriptedChat
from tests.stories.films import BagOfWords, caption, film, video_of
from tests.stories.retelling import retell

TEXTS = ["A woman rides a horse along a beach.", "A man repairs a red car.", "Children fly kites on a hill."]
KINDS = {
    CaptionKind.OBJECTS: "At 0:00: large horse (left).",
    CaptionKind.ACTION: "Guessed: riding a horse (likely, 0.62).",
}


def seen_by(backend: str, *more: tuple[CaptionKind, str]) -> list[Any]:
    """Clips with a sentence by one back end and captions of other kinds by others; the last sentence has failed."""
    clips = []
    for one in film([*TEXTS, ""], backend=backend):
        others = tuple(caption(one.clip, KINDS[kind], kind, backend=who) for kind, who in more)
        clips.append(replace(one, captions=(*one.captions, *others)))
    return clips


def told(clips: list[Any], **settings: dict[str, Any]) -> StoryRecord:
    loaded = load_settings(environ={}, flags=settings)
    model = ScriptedChat(retell, model=loaded.story.writer_model) if loaded.story.writer_model else None
    if model is not None:
        model.name = loaded.story.writer
    built = build_story(video_of(clips), clips, loaded, BagOfWords(), model=model)
    captions = tuple(one for evidence in clips for one in evidence.captions)
    return StoryRecord(video_of(clips), story_settings(loaded), captions, built.nodes)


OTHERS = ((CaptionKind.OBJECTS, "grounding_dino"), (CaptionKind.ACTION, "video_classifier"))


@pytest.mark.parametrize(
    ("captioner", "sentences_by", "others"),
    [
        ("openai", "openai", OTHERS),
        ("paper", "blip2", OTHERS),
        ("clip", "clip", ((CaptionKind.OBJECTS, "clip"), (CaptionKind.ACTION, "clip"))),
        ("import", "import", ((CaptionKind.OBJECTS, "import"), (CaptionKind.ACTION, "import"))),
        ("builtin", "builtin", OTHERS),
    ],
)
def test_who_described_and_who_wrote_is_read_back(
    captioner: str, sentences_by: str, others: tuple[tuple[CaptionKind, str], ...]
) -> None:
    record = told(
        seen_by(sentences_by, *others),
        captions={"captioner": captioner, "captioner_model": "Owner/Eyes", "enrich": "objects,action"},
        story={"writer": "openai", "writer_model": "Owner/Pen"},
    )
    text = dump_story(record)
    check_against_schema(json.loads(text))
    back = load_story(text)
    assert dump_story(back) == text
    assert [replace(one, settings_hash="s") for one in back.captions] == list(record.captions)
    assert back.nodes == record.nodes
    assert {node.writer for node in back.nodes} == {"builtin", "openai:Owner/Pen"}
    assert (summary_line(back), honest_line(back)) == (summary_line(record), honest_line(record))


def test_a_story_file_by_models_answers_and_searches(tmp_path: Path) -> None:
    record = told(
        seen_by("openai", *OTHERS),
        captions={"captioner": "openai", "captioner_model": "Owner/Eyes", "enrich": "objects,action"},
        story={"writer": "openai", "writer_model": "Owner/Pen"},
    )
    file = tmp_path / "story.json"
    file.write_text(dump_story(record), encoding="utf-8")
    story = Story.load(file)
    assert story.search("somebody repairs a car", level="clip")[0].span.start_ms == 10_000
    answer = story.ask("What does the man repair?")
    assert answer.text is not None
    assert "car" in answer.text
    with Library(tmp_path / "library") as library:
        library.import_captions([file])
        assert library.search("somebody repairs a car", level="clip")[0].span.start_ms == 10_000
        assert library.story("film.mp4").render("json") == file.read_text(encoding="utf-8")


SECRET = "/home/somebody/secret"


@pytest.mark.parametrize(
    "settings",
    [
        {
            "captions": {
                "captioner": "transformers",
                "captioner_model": f"{SECRET}/eyes",
                "captioner_url": f"file:{SECRET}/eyes",
            }
        },
        {"captions": {"captioner": "clip", "captioner_model": f"transformers:{SECRET}/eyes"}},
        {"captions": {"captioner": "clip", "captioner_model": f"open_clip:{SECRET}/eyes/"}},
        {"captions": {"captioner": "clip", "captioner_model": f"open_clip:ViT-B-32@{SECRET}/eyes"}},
        {"captions": {"captioner": "clip", "captioner_model": "eyes@0a1b2c3d", "captioner_url": f"file:{SECRET}/eyes"}},
        {
            "captions": {
                "captioner": "paper",
                "detector_model": f"{SECRET}/eyes",
                "action_model": "~/secret/eyes",
                "frame_caption_model": "../secret/eyes",
            }
        },
        {
            "captions": {
                "captioner": "openai",
                "captioner_model": "eyes",
                "captioner_url": "https://user:sk-key@secret/v1",
            }
        },
        {"story": {"writer": "vllm", "writer_model": f"{SECRET}/eyes", "writer_url": f"file:{SECRET}/eyes"}},
        {"story": {"text_embedder": f"sentence-transformers:{SECRET}/eyes"}},
    ],
)
def test_no_place_and_no_key_gets_into_an_export(settings: dict[str, dict[str, str]]) -> None:
    loaded = load_settings(environ={}, flags=settings)
    clips = seen_by(loaded.captions.captioner)
    built = build_story(video_of(clips), clips, load_settings(environ={}), BagOfWords())
    captions = tuple(one for evidence in clips for one in evidence.captions)
    text = dump_story(StoryRecord(video_of(clips), story_settings(loaded), captions, built.nodes))
    for place in ("secret", "somebody", "sk-key", "://", "file:"):
        assert place not in text
    assert "eyes" in text
    assert all(node.level in Level for node in load_story(text).nodes)


@pytest.mark.parametrize(
    ("reason", "exported"),
    [
        ("the one at http://10.0.0.7:8000/v1/chat answered 500", "the one at a server answered 500"),
        (
            f"OSError: [Errno 2] No such file: '{SECRET}/eyes/model.safetensors'",
            "OSError: [Errno 2] No such file: 'model.safetensors'",
        ),
        ("cut at 200 tokens", "cut at 200 tokens"),
        ("400 and/or 500, 3/4 of them", "400 and/or 500, 3/4 of them"),
        ("no picture was decoded", "no picture was decoded"),
    ],
)
def test_why_a_caption_failed_is_exported_without_where(reason: str, exported: str) -> None:
    record = told(seen_by("openai"), captions={"captioner": "openai", "captioner_model": "eyes"})
    failed: Caption = replace(record.captions[-1], reason=reason)
    assert failed.outcome is Outcome.FAILED
    text = dump_story(replace(record, captions=(*record.captions[:-1], failed)))
    assert json.loads(text)["captions"][-1]["reason"] == exported
    assert dump_story(load_story(text)) == text
