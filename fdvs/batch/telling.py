"""A story is built from clip evidence and stored as one: the last step of a build and of an import alike."""

from __future__ import annotations

from collections.abc import Sequence

from fdvs.chat.base import ChatModel
from fdvs.encoders.remembering import Remembering
from fdvs.encoders.text import TextEncoder
from fdvs.languages.spoken import languages_of
from fdvs.pipeline import story_settings
from fdvs.records import Video
from fdvs.redundancy.duplicates import ClipLayouts, find_repeats
from fdvs.settings import Settings
from fdvs.store.library import Store
from fdvs.stories.asking import Replies
from fdvs.stories.evidence import ClipEvidence
from fdvs.stories.repeats import text_repeats
from fdvs.stories.tree import build_story
from fdvs.stories.writing_report import WriterReport


def tell(
    store: Store,
    video: Video,
    evidence: Sequence[ClipEvidence],
    settings: Settings,
    encoder: TextEncoder,
    *,
    key: str,
    clips_hash: str,
    captions_hash: str,
    readings_hash: str = "",
    model: ChatModel | None = None,
    replies: Replies | None = None,
) -> WriterReport | None:
    """Find what recurs in pictures and in text, build the tree and put all of it in the place of the video's former
    ones, in one transaction.

    Args:
        key: what the story was made from (`freshness.story_key`); marked as done last.
        clips_hash, captions_hash, readings_hash: the stored clips, captions and readings behind `evidence`.
        model: writes the nodes above the clips; None: the built-in writer.
        replies: what that model has replied before.

    Returns:
        What came of having `model` write; None without one.

    Raises:
        ServerError: the model's server does not answer; the former story stays.
    """
    known = {one.clip: one.clip for one in evidence}  # the same records again would be kept twice
    layouts = store.each_clip_layouts(video.id, clips_hash)
    clips = (ClipLayouts(known.get(clip, clip), of_clip) for clip, of_clip in layouts)
    languages = languages_of(caption for one in evidence for caption in one.captions)
    encoder = Remembering(encoder)
    repeats = find_repeats(clips, settings.story.repeat_similarity)
    if model is None or settings.story.levels != "paper":  # the paper compares what the model makes of the captions
        repeats += text_repeats(video.id, evidence, settings.story, encoder)
    built = build_story(video, evidence, settings, encoder, duplicates=repeats, model=model, replies=replies)
    store.put_story(
        video.id,
        key,
        story_settings(settings),
        built.nodes,
        vectors=built.vectors,
        model=encoder.name,
        clips_hash=clips_hash,
        captions_hash=captions_hash,
        readings_hash=readings_hash,
        duplicates=(*repeats, *built.repeats),
        languages=languages,
    )
    return built.writing
