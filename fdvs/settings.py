"""Settings: one frozen dataclass per stage; flag > `FDVS_…` variable > `LIBRARY/fdvs.toml` > profile > default."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tomllib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fdvs.errors import UsageError

Scalar = str | int | float | bool | None
TextMode = Literal["none", "exact", "guard", "greedy", "adaptive_causal", "paper_literal", "fixed_threshold"]


@dataclass(frozen=True, slots=True)
class ClipSettings:
    """How a video is cut into clips and which times are sampled. 0 for a bound means: no bound.

    `frames="keyframes"` decodes nothing between key frames: `black_join_s` has no effect with it, and `shot_cuts="on"`,
    which looks at every frame, is refused.
    """

    min_clip_s: float = 2.0
    max_clip_s: float = 10.0
    samples_per_clip: int = 8
    frames: Literal["sampled", "keyframes"] = "sampled"
    black_join_s: float = 1.0
    shot_cuts: Literal["off", "on"] = "off"


@dataclass(frozen=True, slots=True)
class FrameSettings:
    """Visual redundancy inside a clip (papers: FDVS section 3) and the picture encoder it compares with."""

    image_embedder: str = "builtin"
    rule: Literal["greedy", "mean_similarity"] = "greedy"
    threshold: float = 0.97
    include_keyframe_in_mean: bool = True
    always_keep_keyframe: bool = True


@dataclass(frozen=True, slots=True)
class CaptionSettings:
    """Which back ends describe a clip.

    `captioner_url` is where the model is: the address of a server, or `file:` and a folder. `enrich` names the models
    of the paper's perception (`objects`, `action`, `frame_captions`, separated by commas) that add captions of their
    own to those of any captioner; the captioner `paper` uses all three. `attention` is a method of `fdvs.kernels` for
    the captioner's model, and `attention_settings` its settings, NAME=VALUE with commas; empty: the model's own.
    """

    captioner: str = "builtin"
    captioner_model: str = ""
    captioner_url: str = ""
    screen_text: Literal["on", "off"] = "on"
    subtitles: Literal["on", "off"] = "on"
    frame_short_side: int = 448
    frames_as: Literal["auto", "video", "images"] = "auto"
    max_tokens: int = 200
    enrich: str = ""
    detector_model: str = ""
    action_model: str = ""
    frame_caption_model: str = ""
    attention: str = ""
    attention_settings: str = ""


@dataclass(frozen=True, slots=True)
class StorySettings:
    """How captions become a tree and who writes it. `writer_url` is where its model is, as with `captioner_url`.

    `chapter_tokens` is the length of a chapter that a model writes of one clip (`levels="paper"`), as published.
    """

    writer: str = "builtin"
    writer_model: str = ""
    writer_url: str = ""
    writer_context_tokens: int = 8192
    writer_max_tokens: int = 600
    text_embedder: str = "minilm"
    max_children: int = 24
    max_chapter_s: float = 300.0
    scene_sensitivity: float = 1.0
    levels: Literal["four", "paper"] = "four"
    sentences_per_scene: int = 3
    sentences_per_chapter: int = 4
    sentences_per_video: int = 6
    repeat_similarity: float = 0.85
    text_redundancy: TextMode = "guard"
    text_threshold: float = 0.0
    text_memory: int = 35
    chapter_tokens: int = 100


@dataclass(frozen=True, slots=True)
class AnswerSettings:
    """Who answers questions, and with how much evidence."""

    reader: str = "builtin"
    reader_model: str = ""
    reader_url: str = ""
    evidence_tokens: int = 4000
    max_tokens: int = 400


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """Limits checked from the packet index before any picture is decoded, and on the worker."""

    max_frames: int = 20_000_000
    max_pixels: int = 8192 * 4608
    max_duration_s: float = 100 * 3600.0
    video_timeout_s: float = 0.0
    max_subtitle_chars: int = 2_000_000


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How work is run; never part of any id or hash.

    `requests` are in flight at once at a model's server, over all videos of a build. Prices are per million tokens.
    """

    jobs: int = 0
    decoder: str = "pyav"
    rehash: bool = False
    requests: int = 32
    request_timeout_s: float = 300.0
    request_retries: int = 6
    allow_hosted: bool = False
    keep_frames: bool = True
    price_in: float = 0.0
    price_out: float = 0.0


# What the profile `paper` changes (papers: FDVS section 12).
PAPER: Mapping[str, Mapping[str, Scalar]] = {
    "clips": {"min_clip_s": 0.0, "max_clip_s": 0.0, "samples_per_clip": 8, "black_join_s": 0.0},
    "frames": {"rule": "mean_similarity"},
    "captions": {"screen_text": "off"},
    "story": {"levels": "paper", "text_redundancy": "adaptive_causal", "text_memory": 35},
}


_WHERE = frozenset({"captioner_url", "writer_url"})
# Only models read these: without one they shape nothing, and libraries that were built before they existed stay valid.
_OF_MODELS = {
    "captions": (
        "captioner",
        frozenset(
            {"frame_short_side", "frames_as", "max_tokens", "detector_model", "action_model", "frame_caption_model"}
        ),
    ),
    "story": ("writer", frozenset({"writer_context_tokens", "writer_max_tokens", "chapter_tokens"})),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of one build."""

    profile: Literal["default", "paper"] = "default"
    clips: ClipSettings = field(default_factory=ClipSettings)
    frames: FrameSettings = field(default_factory=FrameSettings)
    captions: CaptionSettings = field(default_factory=CaptionSettings)
    story: StorySettings = field(default_factory=StorySettings)
    answers: AnswerSettings = field(default_factory=AnswerSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    run: RunSettings = field(default_factory=RunSettings)

    def content(self, *stages: str) -> dict[str, Any]:
        """The settings that shape content, as plain data: what ids, hashes and exports are made of. Which server does
        the work is not content."""
        names = stages or ("clips", "frames", "captions", "story")
        return {name: _content(name, dataclasses.asdict(getattr(self, name))) for name in names}

    def hash(self, *stages: str) -> str:
        """16 hex digits over the content settings of the named stages (all content stages when none is named)."""
        canonical = json.dumps(self.content(*stages), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _content(stage: str, table: dict[str, Any]) -> dict[str, Any]:
    """What of one stage's settings shapes content."""
    left_out = set(_WHERE)
    if stage == "captions":
        # What is empty shapes nothing, and libraries that were built before it existed stay valid.
        left_out |= {key for key in ("enrich", "attention", "attention_settings") if not table[key]}
        table = {**table, "attention_settings": _without_folders(table["attention_settings"])}
    if stage in _OF_MODELS:
        backend, of_models = _OF_MODELS[stage]
        if table[backend] == "builtin" and not table.get("enrich"):
            left_out |= of_models
    return {key: _without_folder(value) for key, value in table.items() if key not in left_out}


def _without_folder(value: Any) -> Any:
    """Of a model in a folder of this machine, only the folder's name."""
    is_path = isinstance(value, str) and value.startswith(("/", "./", "../", "~"))
    return Path(value).name if is_path else value


def _without_folders(assignments: str) -> str:
    """Of files named in `NAME=VALUE,…`, only their names: where they lie shapes nothing."""
    pairs = [one.partition("=") for one in assignments.split(",")]
    return ",".join(f"{name}{sign}{_without_folder(value)}" for name, sign, value in pairs)


def settings_to_json(settings: Settings) -> dict[str, Any]:
    """All settings as plain data, for another process."""
    return dataclasses.asdict(settings)


def settings_from_json(data: Mapping[str, Any]) -> Settings:
    """Inverse of `settings_to_json`."""
    return Settings(profile=data["profile"], **{stage: cls(**data[stage]) for stage, cls in STAGES.items()})


def uses_model(settings: Settings) -> bool:
    """Whether a build asks any model to describe or to write: how long it takes is for the model to say."""
    return (
        settings.captions.captioner != "builtin" or bool(settings.captions.enrich) or settings.story.writer != "builtin"
    )


def stored_settings(now: Settings, stored: Mapping[str, Any]) -> Settings:
    """Settings `now` with the content settings of a stored story in their place (unknown names are left out)."""
    stages: dict[str, Any] = {}
    for stage in ("clips", "frames", "captions", "story"):
        known = {item.name for item in dataclasses.fields(STAGES[stage])}
        values = {key: value for key, value in dict(stored.get(stage, {})).items() if key in known}
        stages[stage] = dataclasses.replace(getattr(now, stage), **values)
    profile: Literal["default", "paper"] = "paper" if stored.get("profile") == "paper" else "default"
    return dataclasses.replace(now, profile=profile, **stages)


STAGES: dict[str, type[Any]] = {
    "clips": ClipSettings,
    "frames": FrameSettings,
    "captions": CaptionSettings,
    "story": StorySettings,
    "answers": AnswerSettings,
    "limits": LimitSettings,
    "run": RunSettings,
}


def parse_assignment(text: str) -> tuple[str, str, str]:
    """`stage.key=value` → (stage, key, value); a UsageError names what is wrong."""
    name, sep, value = text.partition("=")
    stage, dot, key = name.strip().partition(".")
    if not sep or not dot or not key:
        raise UsageError(f"--set wants stage.key=value, got {text!r}")
    _field_type(stage, key)
    return stage, key, value.strip()


def _field_type(stage: str, key: str) -> Any:
    cls = STAGES.get(stage)
    if cls is None:
        raise UsageError(f"unknown settings stage {stage!r}; known: {', '.join(STAGES)}")
    hints = typing.get_type_hints(cls)
    if key not in hints:
        raise UsageError(f"unknown setting {stage}.{key}; known: {', '.join(f'{stage}.{k}' for k in hints)}")
    return hints[key]


def coerce(stage: str, key: str, value: object) -> Scalar:
    """Turn a value from the command line, a variable or TOML into the field's type; a UsageError says what fits."""
    wanted = _field_type(stage, key)
    where = f"{stage}.{key}"
    if typing.get_origin(wanted) is Literal:
        choices = typing.get_args(wanted)
        text = str(value)
        if text not in choices:
            raise UsageError(f"{where} must be one of {', '.join(choices)}, got {text!r}")
        return text
    if wanted is bool:
        text = str(value).lower()
        if text not in {"true", "false", "1", "0", "on", "off", "yes", "no"}:
            raise UsageError(f"{where} must be true or false, got {value!r}")
        return text in {"true", "1", "on", "yes"}
    if wanted is str:
        return str(value)
    assert wanted in (int, float)
    try:
        number = wanted(str(value))
    except ValueError:
        raise UsageError(f"{where} must be a number, got {value!r}") from None
    if not 0 <= number < 1e15:  # also refuses nan and infinity
        raise UsageError(f"{where} must be a finite number of at least 0, got {value!r}")
    return typing.cast("int | float", number)


def _check_ranges(settings: Settings) -> None:
    clips = settings.clips
    if clips.samples_per_clip < 1:
        raise UsageError(f"clips.samples_per_clip must be at least 1, got {clips.samples_per_clip}")
    if clips.max_clip_s and clips.max_clip_s < clips.min_clip_s:
        raise UsageError(
            f"clips.max_clip_s ({clips.max_clip_s}) must not be below clips.min_clip_s ({clips.min_clip_s})"
        )
    if clips.shot_cuts == "on" and clips.frames == "keyframes":
        raise UsageError(
            "clips.shot_cuts=on looks at every frame and clips.frames=keyframes at key frames only: pick one"
        )
    for name, value, least in (
        ("captions.frame_short_side", settings.captions.frame_short_side, 16),
        ("captions.max_tokens", settings.captions.max_tokens, 8),
        ("story.writer_max_tokens", settings.story.writer_max_tokens, 32),
        ("story.chapter_tokens", settings.story.chapter_tokens, 32),
        ("answers.max_tokens", settings.answers.max_tokens, 8),
        ("run.requests", settings.run.requests, 1),
    ):
        if value < least:
            raise UsageError(f"{name} must be at least {least}, got {value}")
    if not 0 < settings.frames.threshold <= 1:
        raise UsageError(f"frames.threshold must lie in (0, 1], got {settings.frames.threshold}")
    if not 0 < settings.story.repeat_similarity <= 1:
        raise UsageError(f"story.repeat_similarity must lie in (0, 1], got {settings.story.repeat_similarity}")
    if not 2 <= settings.story.max_children <= 24:
        raise UsageError(f"story.max_children must lie in 2..24, got {settings.story.max_children}")
    if not 0 <= settings.story.text_threshold <= 1:
        raise UsageError(f"story.text_threshold must lie in 0..1, got {settings.story.text_threshold}")
    if settings.story.text_memory < 1:
        raise UsageError(f"story.text_memory must be at least 1, got {settings.story.text_memory}")


def _from_toml(path: Path) -> tuple[str | None, dict[str, dict[str, Scalar]]]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error
    profile = data.pop("profile", None)
    values: dict[str, dict[str, Scalar]] = {}
    for stage, table in data.items():
        if not isinstance(table, dict):
            raise UsageError(f"{path}: {stage!r} must be a table such as [{stage}]")
        for key, value in table.items():
            values.setdefault(stage, {})[key] = coerce(stage, key, value)
    return (None if profile is None else str(profile)), values


def _from_environment(environ: Mapping[str, str]) -> tuple[str | None, dict[str, dict[str, Scalar]]]:
    values: dict[str, dict[str, Scalar]] = {}
    for stage, cls in STAGES.items():
        for item in dataclasses.fields(cls):
            raw = environ.get(f"FDVS_{stage}_{item.name}".upper())
            if raw is not None:
                values.setdefault(stage, {})[item.name] = coerce(stage, item.name, raw)
    return environ.get("FDVS_PROFILE"), values


def load_settings(
    *,
    library: Path | None = None,
    flags: Mapping[str, Mapping[str, Scalar]] | None = None,
    assignments: Iterable[str] = (),
    profile: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Resolve all settings.

    Args:
        library: folder whose `fdvs.toml` is read when it exists.
        flags: values given by name on the command line or in Python, `{stage: {key: value}}`; None values are skipped.
        assignments: `stage.key=value` texts (`--set`); they win over `flags`.
        profile: `default` or `paper`.
        environ: the environment (default: the process's own).

    Raises:
        UsageError: an unknown stage, key, profile or a value out of range.
    """
    file_profile: str | None = None
    from_file: dict[str, dict[str, Scalar]] = {}
    if library is not None and (library / "fdvs.toml").is_file():
        file_profile, from_file = _from_toml(library / "fdvs.toml")
    env_profile, from_env = _from_environment(os.environ if environ is None else environ)
    chosen = profile or env_profile or file_profile or "default"
    if chosen not in ("default", "paper"):
        raise UsageError(f"unknown profile {chosen!r}; known: default, paper")

    given: dict[str, dict[str, Scalar]] = {}
    for stage, table in (flags or {}).items():
        for key, value in table.items():
            if value is not None:
                given.setdefault(stage, {})[key] = coerce(stage, key, value)
    for text in assignments:
        stage, key, raw = parse_assignment(text)
        given.setdefault(stage, {})[key] = coerce(stage, key, raw)

    merged: dict[str, dict[str, Scalar]] = {stage: {} for stage in STAGES}
    for layer in (PAPER if chosen == "paper" else {}, from_file, from_env, given):
        for stage, table in layer.items():
            merged[stage].update(table)
    stages = {stage: cls(**merged[stage]) for stage, cls in STAGES.items()}
    settings = Settings(profile=typing.cast("Literal['default', 'paper']", chosen), **stages)
    _check_ranges(settings)
    return settings
