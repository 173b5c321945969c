"""What a story says of how it was made: which models described and wrote it, and what no model has put into words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fdvs.records import CaptionKind, Outcome, StoryRecord
from fdvs.settings import Settings
from fdvs.stories.evidence import ClipEvidence
from fdvs.stories.outline import MENDED_BY, honest_line, summary_line
from fdvs.stories.render import render_markdown, render_tree
from fdvs.stories.tree import build_story
from tests.chat.scripted import ScriptedChat
from tests.stories.films import SETTINGS, BagOfWords, caption, film, video_of
from tests.stories.retelling import retell

TEXTS = ["A woman walks a dog.", "A man paints a door.", "Children fly kites."]
EYES, PEN = "Qwen/Qwen3-VL-4B-Instruct", "Qwen/Qwen3-4B"


def made_by(captioner: str, model: str = "", *, writer: str = "builtin", pen: str = "", **captions: str) -> Settings:
    return replace(
        SETTINGS,
        captions=replace(SETTINGS.captions, captioner=captioner, captioner_model=model, **captions),  # type: ignore[arg-type]
        story=replace(SETTINGS.story, writer=writer, writer_model=pen),
    )


def told(settings: Settings, clips: list[ClipEvidence]) -> StoryRecord:
    model = ScriptedChat(retell, model=settings.story.writer_model) if settings.story.writer_model else None
    built = build_story(video_of(clips), clips, settings, BagOfWords(), model=model)
    captions = tuple(one for evidence in clips for one in evidence.captions)
    return StoryRecord(video_of(clips), settings.content(), captions, built.nodes)


def made(settings: Settings) -> str:
    """The end of the summary line, after the clips are counted."""
    backend = settings.captions.captioner
    return summary_line(told(settings, film(TEXTS, backend=backend))).partition("3 clips")[2]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (made_by("builtin"), ""),
        (made_by("import"), ""),
        (made_by("openai", EYES), f" · described by {EYES}"),
        (made_by("openai", EYES, writer="vllm", pen=PEN), f" · described by {EYES}, written by {PEN}"),
        (made_by("import", writer="openai", pen=PEN), f" · written by {PEN}"),
        (made_by("clip", "clip-vit@0a1b2c3d"), " · tagged by clip-vit@0a1b2c3d"),
        (
            made_by("paper", detector_model="finder", action_model="/models/namer", frame_caption_model="blip"),
            " · described by finder and namer and blip",
        ),
        (made_by("openai", EYES, enrich="objects", detector_model="finder"), f" · described by {EYES} and finder"),
        (made_by("plugin"), " · described by plugin"),
    ],
)
def test_the_summary_says_which_models_described_and_wrote(settings: Settings, said: str) -> None:
    assert made(settings) == said


def test_a_writer_of_which_nothing_was_used_has_not_written() -> None:
    settings = made_by("openai", EYES, writer="vllm", pen=PEN)
    clips = film(TEXTS, backend="openai")
    built = build_story(video_of(clips), clips, settings, BagOfWords(), model=ScriptedChat(lambda _: "nonsense"))
    captions = tuple(one for evidence in clips for one in evidence.captions)
    record = StoryRecord(video_of(clips), settings.content(), captions, built.nodes)
    assert "written by" not in summary_line(record)


def test_a_story_by_a_vision_model_has_nothing_to_confess() -> None:
    assert honest_line(told(made_by("openai", EYES), film(TEXTS, backend="openai"))) is None


def test_a_story_of_tags_says_that_they_are_guesses() -> None:
    line = honest_line(told(made_by("clip", "clip-vit"), film(["Likely a kitchen."] * 3, backend="clip")))
    assert line is not None
    assert line.startswith("no sentences of a vision model: what is seen is guessed from a fixed list of words. ")
    assert line.endswith(MENDED_BY)


def test_the_command_that_mends_a_measured_story_is_there_word_for_word() -> None:
    line = honest_line(told(made_by("builtin"), film(TEXTS, backend="builtin")))
    assert line is not None
    assert line.endswith(
        "A vision model looks at it by: fdvs models get small, then fdvs build VIDEO --captioner auto "
        "(on a server: --captioner openai --captioner-url URL)"
    )


LONG = "the server answered 500 Internal Server Error: Traceback (most recent call last): CUDA out of memory"


def with_failures(*outcomes: Outcome) -> StoryRecord:
    """One clip per outcome; what went wrong has a long technical reason."""
    clips = []
    for outcome, one in zip(
        outcomes, film([TEXTS[i % 3] for i in range(len(outcomes))], backend="openai"), strict=True
    ):
        (seen,) = one.captions
        is_told = outcome in (Outcome.OK, Outcome.TRUNCATED)
        bad = replace(seen, text=seen.text if is_told else "", outcome=outcome, reason="" if is_told else LONG)
        clips.append(replace(one, captions=(bad,)))
    return told(made_by("openai", EYES), clips)


def test_clips_of_which_a_model_gave_no_words_are_counted_and_readers_see_no_traceback() -> None:
    record = with_failures(Outcome.OK, Outcome.FAILED, Outcome.TRUNCATED, Outcome.REFUSED)
    assert honest_line(record) == (
        "no words for 2 of 4 clips: the model refused or failed there. "
        "It is asked again by: the same fdvs build with --retry-failed"
    )
    silent = [node for node in record.nodes if not node.children and not node.text]
    assert [node.title for node in silent] == ["not described (failed)", "not described (refused)"]
    for text in (render_tree(record), render_markdown(record)):
        assert "Traceback" not in text
        assert TEXTS[0] in text


def test_a_story_of_failures_alone_is_still_a_tree_and_nobody_described_it() -> None:
    record = with_failures(Outcome.FAILED, Outcome.REFUSED)
    assert record.nodes[0].title == "not described (failed)"
    assert "described by" not in summary_line(record)
    assert "no words for 2 of 2 clips" in render_tree(record)


def test_a_clip_with_one_caption_that_failed_and_one_that_says_something_is_described() -> None:
    (one,) = film([TEXTS[0]], backend="openai")
    failed = caption(one.clip, "", CaptionKind.OBJECTS, backend="objects", outcome=Outcome.FAILED)
    record = told(made_by("openai", EYES, enrich="objects"), [replace(one, captions=(*one.captions, failed))])
    assert honest_line(record) is None
    assert record.nodes[-1].title == TEXTS[0].rstrip(".")
