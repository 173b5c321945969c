"""Settings: where they come from, what they accept, and which of them shape content."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from fdvs.errors import UsageError
from fdvs.settings import (
    PAPER,
    STAGES,
    CaptionSettings,
    Settings,
    StorySettings,
    coerce,
    load_settings,
    parse_assignment,
    settings_from_json,
    settings_to_json,
    stored_settings,
)

EVERY = [(stage, item.name) for stage, cls in STAGES.items() for item in dataclasses.fields(cls)]
# Another valid value for every setting: a new setting needs a line here, and one in the README.
OTHER: dict[str, Any] = {
    "clips.min_clip_s": 1.0,
    "clips.max_clip_s": 20.0,
    "clips.samples_per_clip": 4,
    "clips.frames": "keyframes",
    "clips.black_join_s": 0.5,
    "clips.shot_cuts": "on",
    "frames.image_embedder": "open_clip:ViT-B-32/laion2b_s34b_b79k",
    "frames.rule": "mean_similarity",
    "frames.threshold": 0.9,
    "frames.include_keyframe_in_mean": False,
    "frames.always_keep_keyframe": False,
    "captions.captioner": "auto",
    "captions.captioner_model": "a-model",
    "captions.captioner_url": "http://127.0.0.1:8000",
    "captions.screen_text": "off",
    "captions.subtitles": "off",
    "captions.frame_short_side": 224,
    "captions.frames_as": "images",
    "captions.max_tokens": 100,
    "captions.enrich": "objects",
    "captions.detector_model": "a-detector",
    "captions.action_model": "a-classifier",
    "captions.frame_caption_model": "a-describer",
    "captions.attention": "tca",
    "captions.attention_settings": "window=64,dense_below=0",
    "story.writer": "auto",
    "story.writer_model": "a-model",
    "story.writer_url": "http://127.0.0.1:8000",
    "story.writer_context_tokens": 4096,
    "story.writer_max_tokens": 300,
    "story.text_embedder": "sentence-transformers:all-mpnet-base-v2",
    "story.max_children": 12,
    "story.max_chapter_s": 120.0,
    "story.scene_sensitivity": 2.0,
    "story.levels": "paper",
    "story.sentences_per_scene": 2,
    "story.sentences_per_chapter": 2,
    "story.sentences_per_video": 2,
    "story.repeat_similarity": 0.9,
    "story.text_redundancy": "greedy",
    "story.text_threshold": 0.5,
    "story.text_memory": 5,
    "story.chapter_tokens": 64,
    "answers.reader": "openai",
    "answers.reader_model": "a-model",
    "answers.reader_url": "http://127.0.0.1:8000",
    "answers.evidence_tokens": 1000,
    "answers.max_tokens": 100,
    "limits.max_frames": 100,
    "limits.max_pixels": 100,
    "limits.max_duration_s": 100.0,
    "limits.video_timeout_s": 100.0,
    "limits.max_subtitle_chars": 100,
    "run.jobs": 3,
    "run.decoder": "decord",
    "run.rehash": True,
    "run.requests": 8,
    "run.request_timeout_s": 10.0,
    "run.request_retries": 2,
    "run.allow_hosted": True,
    "run.keep_frames": False,
    "run.price_in": 0.5,
    "run.price_out": 1.5,
}
# What says where or how work is done, not what comes out of it.
NOT_CONTENT = {name for name in OTHER if name.startswith(("limits.", "run.", "answers."))} | {
    "captions.captioner_url",
    "story.writer_url",
}


OF_MODELS = {
    *(f"captions.{key}" for key in ("frame_short_side", "frames_as", "max_tokens")),
    *(f"captions.{key}" for key in ("detector_model", "action_model", "frame_caption_model")),
    *(f"story.{key}" for key in ("writer_context_tokens", "writer_max_tokens", "chapter_tokens")),
}
WITH_MODELS = Settings(captions=CaptionSettings(captioner="openai"), story=StorySettings(writer="openai"))
HASH_BEFORE_MODELS = "818cddcaff76e77a"


def value_of(settings: Settings, name: str) -> Any:
    stage, _, key = name.partition(".")
    return getattr(getattr(settings, stage), key)


def test_the_table_of_this_test_has_every_setting() -> None:
    assert set(OTHER) == {f"{stage}.{key}" for stage, key in EVERY}
    for name, other in OTHER.items():
        assert value_of(Settings(), name) != other


@pytest.mark.parametrize("name", OTHER)
def test_every_setting_can_be_set_everywhere_and_comes_in_order(name: str, tmp_path: Path) -> None:
    stage, _, key = name.partition(".")
    default, other = value_of(Settings(), name), OTHER[name]
    variable = {f"FDVS_{stage}_{key}".upper(): str(other)}

    def load(**places: Any) -> Any:
        return value_of(load_settings(environ=places.pop("environ", {}), **places), name)

    assert load() == default
    assert load(environ=variable) == other
    assert load(assignments=[f"{name}={other}"]) == other
    assert load(flags={stage: {key: other}}) == other
    assert load(flags={stage: {key: None}}) == default
    literal = str(other).lower() if isinstance(other, bool) else repr(other)
    (tmp_path / "fdvs.toml").write_text(f"[{stage}]\n{key} = {literal}\n")
    assert load(library=tmp_path) == other
    back = {f"FDVS_{stage}_{key}".upper(): str(default)}
    assert load(library=tmp_path, environ=back) == default  # a variable wins over the file
    assert load(library=tmp_path, environ=variable, assignments=[f"{name}={default}"]) == default
    assert load(environ=variable, flags={stage: {key: default}}) == default


@pytest.mark.parametrize("name", OTHER)
def test_only_what_shapes_content_is_in_hashes(name: str) -> None:
    stage, _, key = name.partition(".")
    before = WITH_MODELS if name in OF_MODELS else Settings()
    after = dataclasses.replace(before, **{stage: dataclasses.replace(getattr(before, stage), **{key: OTHER[name]})})
    assert (before.hash() == after.hash()) == (name in NOT_CONTENT)
    assert (before.content() == after.content()) == (name in NOT_CONTENT)
    for one in {"clips", "frames", "captions", "story"} - {stage}:
        assert before.hash(one) == after.hash(one)


@pytest.mark.parametrize("name", sorted(OF_MODELS))
def test_what_only_models_read_shapes_nothing_without_one(name: str) -> None:
    stage, _, key = name.partition(".")
    before = Settings()
    after = dataclasses.replace(before, **{stage: dataclasses.replace(getattr(before, stage), **{key: OTHER[name]})})
    assert before.hash() == after.hash()
    assert key not in before.content()[stage]
    assert key in WITH_MODELS.content()[stage]


def test_a_build_without_models_has_the_hash_it_had_before_there_were_any() -> None:
    assert Settings().hash() == HASH_BEFORE_MODELS


def test_no_folder_of_this_machine_is_content() -> None:
    settings = dataclasses.replace(
        WITH_MODELS,
        captions=dataclasses.replace(
            WITH_MODELS.captions,
            detector_model="/models/detector/tiny",
            attention="tca",
            attention_settings="window=64,budgets=/models/of/mine.json",
        ),
    )
    assert settings.content()["captions"]["detector_model"] == "tiny"
    assert settings.content()["captions"]["attention_settings"] == "window=64,budgets=mine.json"


def test_hashes_are_equal_on_any_machine() -> None:
    assert Settings().hash("clips") == Settings().hash("clips")
    assert len(Settings().hash()) == 16
    assert Settings().hash("clips", "frames") != Settings().hash("frames")
    assert "http" not in str(Settings().content())


def test_the_profile_paper_is_a_layer_of_defaults(tmp_path: Path) -> None:
    paper = load_settings(profile="paper", environ={})
    for stage, table in PAPER.items():
        for key, value in table.items():
            assert value_of(paper, f"{stage}.{key}") == value
    (tmp_path / "fdvs.toml").write_text('profile = "paper"\n[clips]\nmax_clip_s = 7\n')
    from_file = load_settings(library=tmp_path, environ={})
    assert from_file.profile == "paper"
    assert from_file.clips.max_clip_s == 7.0
    assert from_file.frames.rule == "mean_similarity"
    assert load_settings(library=tmp_path, environ={"FDVS_PROFILE": "default"}).profile == "default"
    assert load_settings(library=tmp_path, environ={"FDVS_PROFILE": "default"}, profile="paper").profile == "paper"
    with pytest.raises(UsageError, match="unknown profile 'x'; known: default, paper"):
        load_settings(environ={"FDVS_PROFILE": "x"})


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("clips.samples_per_clip", "3", 3),
        ("clips.max_clip_s", "3", 3.0),
        ("clips.max_clip_s", 3, 3.0),
        ("run.rehash", "on", True),
        ("run.rehash", "0", False),
        ("run.rehash", True, True),
        ("captions.subtitles", "off", "off"),
        ("captions.captioner_model", 7, "7"),
    ],
)
def test_values_become_the_type_of_the_setting(name: str, value: object, wanted: object) -> None:
    stage, _, key = name.partition(".")
    got = coerce(stage, key, value)
    assert got == wanted
    assert type(got) is type(wanted)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("clips.samples_per_clip=2.5", "must be a number"),
        ("clips.samples_per_clip=many", "must be a number"),
        ("clips.samples_per_clip=0", "at least 1"),
        ("clips.max_clip_s=nan", "finite"),
        ("clips.max_clip_s=inf", "finite"),
        ("clips.max_clip_s=-1", "at least 0"),
        ("clips.max_clip_s=1", r"must not be below clips.min_clip_s \(2.0\)"),
        ("frames.threshold=0", r"\(0, 1\]"),
        ("frames.threshold=1.5", r"\(0, 1\]"),
        ("story.max_children=1", r"2..24"),
        ("story.max_children=25", r"2..24"),
        ("run.rehash=perhaps", "true or false"),
        ("captions.subtitles=loud", "one of on, off"),
        ("clips.lunch=1", "known: clips.min_clip_s"),
        ("lunch.time=1", "known: clips, frames, captions, story, answers, limits, run"),
        ("clips=1", "stage.key=value"),
        ("clips.=1", "stage.key=value"),
        ("clips.max_clip_s", "stage.key=value"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(assignment: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        load_settings(assignments=[assignment], environ={})
    assert caught.value.exit_code == 2


def test_no_bound_is_0() -> None:
    assert load_settings(assignments=["clips.max_clip_s=0"], environ={}).clips.max_clip_s == 0


def test_an_assignment_may_hold_spaces_and_equal_signs() -> None:
    assert parse_assignment("captions.captioner_url = http://x/?a=b ") == (
        "captions",
        "captioner_url",
        "http://x/?a=b",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [("clips = 3", "must be a table"), ("[clips", "not valid TOML"), ("[clips]\nmax_clip_s = [1]", "must be a number")],
)
def test_a_wrong_file_is_refused_in_words(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "fdvs.toml").write_text(text)
    with pytest.raises(UsageError, match=message):
        load_settings(library=tmp_path, environ={})


def test_settings_travel_to_another_process() -> None:
    one_way = {k: v for k, v in OTHER.items() if k != "clips.frames"}  # key frames alone are refused with shot cuts
    settings = load_settings(profile="paper", assignments=[f"{k}={v}" for k, v in one_way.items()], environ={})
    assert settings_from_json(settings_to_json(settings)) == settings


def test_stored_settings_take_content_from_the_story_and_the_rest_from_now() -> None:
    then = load_settings(profile="paper", assignments=["story.max_children=9", "run.jobs=7"], environ={})
    now = load_settings(assignments=["captions.captioner_url=http://here", "run.jobs=2"], environ={})
    stored = {"profile": "paper", **then.content()}
    stored["clips"] = {**stored["clips"], "of_another_version": 1}
    again = stored_settings(now, stored)
    assert again.content() == then.content()
    assert again.profile == "paper"
    assert again.run.jobs == 2
    assert again.captions.captioner_url == "http://here"
    assert again.hash() == then.hash()


def test_shot_cuts_among_key_frames_alone_are_refused() -> None:
    with pytest.raises(UsageError, match="pick one"):
        load_settings(assignments=["clips.shot_cuts=on", "clips.frames=keyframes"], environ={})
