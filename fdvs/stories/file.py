"""The story file: `fdvs-story/1`, one JSON object per video.

Equal records give equal bytes: keys stand in the contract's order, times are seconds with millisecond precision, and
nothing of the machine or the hour goes in: of folders, in settings as in reasons, only the last part. What the contract
does not export (a caption's back end, the writer of a node) is read back from the settings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fdvs.errors import InputError
from fdvs.records import (
    Caption,
    CaptionKind,
    DuplicateGroup,
    DuplicateMember,
    Level,
    Outcome,
    Sentence,
    Span,
    StoryNode,
    StoryRecord,
    Video,
    VideoLanguages,
)
from fdvs.stories.check import validate_sources, validate_tree
from fdvs.stories.evidence import IMPORTED, MEASURED, TAGGER
from fdvs.stories.schema import check_against_schema

SCHEMA_NAME = "fdvs-story/1"
_SIMILARITY_DIGITS = 6
_MODEL_FOLDER = re.compile(
    r"^([\w-]+:(?:[^/]*@)?)(?:~|\.{1,2})?/(?:.*/)?([^/]+)/*$"  # `transformers:/models/clip`, `open_clip:MODEL@/weights`
)
_ADDRESS = re.compile(r"\b(?:https?|wss?|ftp|file):/\S*")
_PATH = re.compile(r"(?<![\w.:/])(?:~|\.{1,2})?/(?:[^\s/'\"]+/)+([^\s/'\":,;)]*)")
_PAPER = "paper"
# Who wrote captions of a kind that the captioner itself does not write; an imported story has no other author.
_BACK_ENDS = {CaptionKind.SPEECH: "subtitles", CaptionKind.SCREEN_TEXT: "rapidocr"}
_PERCEPTION = {
    CaptionKind.OBJECTS: "grounding_dino",
    CaptionKind.ACTION: "video_classifier",
    CaptionKind.VISUAL: "blip2",
}


def dump_story(record: StoryRecord) -> str:
    """The story as JSON text with a final line break, byte-identical for equal records.

    Raises:
        ValueError: a number in the settings or a similarity is not finite.
    """
    text = json.dumps(story_to_json(record), ensure_ascii=False, indent=1, allow_nan=False)
    return text.encode("utf-8", "replace").decode("utf-8") + "\n"


def load_story(text: str) -> StoryRecord:
    """Read what `dump_story` wrote.

    Raises:
        InputError: not JSON, or not a valid `fdvs-story/1`; the message names the place in the document.
    """
    try:
        data = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"not a story file: {error}") from error
    return story_from_json(data)


def story_to_json(record: StoryRecord) -> dict[str, Any]:
    """The story as plain data, keys in the contract's order."""
    video = record.video
    return {
        "schema": SCHEMA_NAME,
        "video": {"name": video.name, "id": video.id, "duration_s": video.duration_ms / 1000, **_languages(record)},
        "settings": _plain(record.settings),
        "captions": [_caption_to_json(caption) for caption in record.captions],
        "nodes": [_node_to_json(node) for node in record.nodes],
        "duplicates": [_group_to_json(group) for group in record.duplicates],
    }


def _languages(record: StoryRecord) -> dict[str, Any]:
    """Nothing for a story without speech and screen text."""
    return {"languages": record.languages.to_json()} if record.languages.all else {}


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with sorted keys, so that the order in which they were put together does not show; of a model in a
    folder of this machine only the folder's name."""
    return {
        key: _plain(value) if isinstance(value, Mapping) else _without_folder(value)
        for key, value in sorted(settings.items(), key=lambda item: item[0])
    }


def _without_folder(value: Any) -> Any:
    return _MODEL_FOLDER.sub(r"\1\2", value) if isinstance(value, str) else value


def _without_places(reason: str) -> str:
    """What went wrong without where: errors of servers and libraries name addresses and folders of the machine."""
    return _PATH.sub(lambda found: found[1] or "a folder", _ADDRESS.sub("a server", reason))


def _caption_to_json(caption: Caption) -> dict[str, Any]:
    return {
        "id": caption.id,
        "clip_id": caption.clip_id,
        "kind": str(caption.kind),
        "start_s": caption.span.start_s,
        "end_s": caption.span.end_s,
        "outcome": str(caption.outcome),
        "reason": _without_places(caption.reason),
        "text": caption.text,
    }


def _node_to_json(node: StoryNode) -> dict[str, Any]:
    return {
        "id": node.id,
        "level": str(node.level),
        "parent": node.parent,
        "children": list(node.children),
        "start_s": node.span.start_s,
        "end_s": node.span.end_s,
        "title": node.title,
        "text": node.text,
        "sentences": [{"text": sentence.text, "sources": list(sentence.sources)} for sentence in node.sentences],
    }


def _group_to_json(group: DuplicateGroup) -> dict[str, Any]:
    return {
        "kind": group.kind,
        "representative": {
            "id": group.representative_id,
            "video_id": group.representative_video_id,
            "start_s": group.representative_span.start_s,
            "end_s": group.representative_span.end_s,
        },
        "members": [
            {
                "id": member.id,
                "video_id": member.video_id,
                "start_s": member.span.start_s,
                "end_s": member.span.end_s,
                "similarity": round(member.similarity, _SIMILARITY_DIGITS),
                "rule": member.rule,
            }
            for member in group.members
        ],
    }


def story_from_json(data: object) -> StoryRecord:
    """The record of an exported story.

    Raises:
        InputError: the document breaks the schema (the message names the place, such as `nodes[3].start_s`), or its
            tree breaks a rule that no schema can say: tiling, unions, links, sources that exist.
    """
    check_against_schema(data)
    assert isinstance(data, Mapping)  # the schema says so
    duration_ms = _ms(data["video"]["duration_s"])
    video = Video(id=data["video"]["id"], name=data["video"]["name"], duration_ms=duration_ms)
    captioner = str(_setting(data["settings"], "captions", "captioner"))
    writer, pen = (str(_setting(data["settings"], "story", key)) for key in ("writer", "writer_model"))
    above = writer if writer in (MEASURED, "unknown") else f"{writer}:{pen}"
    captions = tuple(_caption_from_json(item, captioner, f"captions[{i}]") for i, item in enumerate(data["captions"]))
    nodes = tuple(
        _node_from_json(item, above if item["children"] else MEASURED, f"nodes[{i}]")
        for i, item in enumerate(data["nodes"])
    )
    groups = tuple(_group_from_json(item, f"duplicates[{i}]") for i, item in enumerate(data["duplicates"]))
    validate_tree(nodes, duration_ms)
    validate_sources(nodes, {caption.id for caption in captions})
    _check_captions(captions, nodes)
    languages = VideoLanguages.from_json(data["video"].get("languages", {}))  # older files have none
    return StoryRecord(video, dict(data["settings"]), captions, nodes, groups, languages)


def _setting(settings: Mapping[str, Any], stage: str, key: str) -> object:
    table = settings.get(stage)
    return table.get(key, "unknown") if isinstance(table, Mapping) else "unknown"


def _check_captions(captions: Sequence[Caption], nodes: Sequence[StoryNode]) -> None:
    clips = {node.id for node in nodes if node.level is Level.CLIP}
    seen: set[str] = set()
    for i, caption in enumerate(captions):
        if caption.clip_id not in clips:
            raise InputError(f"captions[{i}].clip_id: there is no clip {caption.clip_id}")
        if caption.id in seen:
            raise InputError(f"captions[{i}].id: {caption.id} is there twice")
        seen.add(caption.id)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _span(item: Mapping[str, Any], where: str) -> Span:
    start_ms, end_ms = _ms(item["start_s"]), _ms(item["end_s"])
    if start_ms >= end_ms:
        raise InputError(f"{where}.end_s: must lie after start_s, got {item['start_s']} and {item['end_s']}")
    return Span(start_ms, end_ms)


def _caption_from_json(item: Mapping[str, Any], captioner: str, where: str) -> Caption:
    outcome = Outcome(item["outcome"])
    if item["text"] and outcome in (Outcome.FAILED, Outcome.REFUSED):
        raise InputError(f"{where}.text: a {outcome} caption has no text")
    return Caption(
        id=item["id"],
        clip_id=item["clip_id"],
        span=_span(item, where),
        kind=CaptionKind(item["kind"]),
        text=item["text"],
        outcome=outcome,
        reason=item["reason"],
        backend=_backend(CaptionKind(item["kind"]), captioner),
        settings_hash="",
    )


def _backend(kind: CaptionKind, captioner: str) -> str:
    """The back end that most likely wrote a caption: the captioner writes what is seen; a tagger, and who imports,
    everything."""
    if kind in _BACK_ENDS or captioner in (IMPORTED, TAGGER):
        return _BACK_ENDS.get(kind, captioner)
    return captioner if kind is CaptionKind.VISUAL and captioner != _PAPER else _PERCEPTION[kind]


def _node_from_json(item: Mapping[str, Any], writer: str, where: str) -> StoryNode:
    sentences = tuple(Sentence(part["text"], tuple(part["sources"])) for part in item["sentences"])
    node = StoryNode(
        id=item["id"],
        level=Level(item["level"]),
        parent=item["parent"],
        children=tuple(item["children"]),
        span=_span(item, where),
        title=item["title"],
        sentences=sentences,
        writer=writer,
    )
    if node.text != item["text"]:
        raise InputError(f"{where}.text: is not its sentences joined by blanks")
    return node


def _group_from_json(item: Mapping[str, Any], where: str) -> DuplicateGroup:
    first = item["representative"]
    members = tuple(
        DuplicateMember(
            part["id"], part["video_id"], _span(part, f"{where}.members[{i}]"), float(part["similarity"]), part["rule"]
        )
        for i, part in enumerate(item["members"])
    )
    span = _span(first, f"{where}.representative")
    return DuplicateGroup(item["kind"], first["id"], first["video_id"], span, members)
