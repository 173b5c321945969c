"""One video through its stages: probe → clips → frames → captions → story.

Each stage is a function from records to records. What it made is stored under a hash of the settings that shape it and
of what it was made from; a stage that is stored is not run again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fdvs.captioners.base import fingerprint
from fdvs.captioners.facts import PictureFacts
from fdvs.captioners.measures import measure_clip
from fdvs.captioners.speech import speech_captions
from fdvs.encoders.pictures import PictureEncoder
from fdvs.media.clips import ClipPlan
from fdvs.media.frame import Converters, Frame
from fdvs.media.index import PacketIndex
from fdvs.media.jpeg import JpegEncoder
from fdvs.media.reader import ClipFrames
from fdvs.records import Caption, CaptionKind, Clip, Span, TimedPicture, Video, content_id
from fdvs.redundancy.layout import layouts_of
from fdvs.redundancy.visual import select_frames
from fdvs.screen_text.readings import MODEL, READING_VERSION, Reading
from fdvs.settings import ClipSettings, Settings
from fdvs.store.clips import ClipRow
from fdvs.stories.evidence import ClipEvidence
from fdvs.stories.imported import ImportedCaption, attach_captions

if TYPE_CHECKING:
    from fdvs.media.subtitles import Cue
    from fdvs.screen_text.watch import Shown, TextWatch

HASH_BLOCK_BYTES = 1 << 20
THUMBNAIL_SHORT_SIDE = 144


@dataclass(frozen=True, slots=True)
class Measured:
    """What is kept of one sampled frame when its pixels are let go.

    Attributes:
        small: [64, 64, 3] full-range YUV.
        prepared: what the picture encoder needs of it.
        thumbnail: JPEG bytes, of a clip's first sample only.
        frame: the picture itself, only where the captioner wants pictures; let go of when these are made.
        shown: what reading on-screen text needs of it, None where it is not read.
    """

    small: NDArray[np.uint8]
    prepared: NDArray[np.uint8]
    thumbnail: bytes | None
    frame: Frame | None
    shown: Shown | None = None


@dataclass(frozen=True, slots=True)
class DescribedClip:
    """One clip after the frames stage, with what its captioner and the reader of on-screen text need."""

    row: ClipRow
    facts: PictureFacts
    thumbnail: bytes | None
    pictures: tuple[TimedPicture, ...] = ()
    shown: tuple[tuple[int, Shown], ...] = ()
    frames: tuple[Frame, ...] = ()


def hash_file(path: Path) -> str:
    """sha256 of a file's bytes, in hex: the id of the video."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def captions_hash(settings: Settings) -> str:
    """What a clip's captions are made with: settings, and the prompt or vocabulary of the captioner."""
    of_settings = settings.hash("clips", "frames", "captions")
    of_captioner = fingerprint(settings.captions)
    return content_id("made", of_settings, of_captioner)[-16:] if of_captioner else of_settings


def captions_key(settings: Settings, cues: Sequence[Cue], imported_key: str) -> str:
    """What captions are made from and with: settings, subtitles, added captions. Another key, other captions."""
    told = [(cue.span.start_ms, cue.span.end_ms, cue.text, cue.language, cue.track) for cue in cues]
    return content_id("captions", captions_hash(settings), told, imported_key)


def readings_key(settings: Settings) -> str:
    """What readings of the screen are made with, apart from the clips; empty where the screen is not read."""
    if settings.captions.screen_text != "on":
        return ""
    return content_id("readings", settings.hash("clips"), MODEL, READING_VERSION)


def clip_record(
    video_id: str, index: PacketIndex, plan: ClipPlan, sampled_ms: Iterable[int], settings: ClipSettings
) -> Clip:
    """The clip that a plan became; its id hashes video, span and clip settings, so it is equal on any machine."""
    span = Span(index.ms(plan.start_pts), index.ms(plan.end_pts))
    clip_id = content_id("clip", video_id, span.start_ms, span.end_ms, _clips_hash(settings))
    return Clip(clip_id, video_id, span, max(span.start_ms, index.ms(plan.key_pts)), tuple(sampled_ms))


@lru_cache(maxsize=8)
def _clips_hash(settings: ClipSettings) -> str:
    """Asked for every clip, and the same for all clips of a video."""
    return Settings(clips=settings).hash("clips")


def measurer(
    plans: Sequence[ClipPlan], encoder: PictureEncoder, short_side: int, watch: TextWatch | None = None
) -> Callable[[Frame], Measured]:
    """The function that is called on every sampled frame while it is alive.

    Args:
        short_side: of the pictures that the captioner gets; 0 where it wants none.
    """
    first_samples = {plan.sample_pts[0] for plan in plans}
    jpeg, apart = JpegEncoder(), Converters()

    def measure(frame: Frame) -> Measured:
        return Measured(
            small=frame.small(),
            prepared=encoder.prepare(frame),
            thumbnail=jpeg.encode_frame(frame, THUMBNAIL_SHORT_SIDE) if frame.pts in first_samples else None,
            frame=frame.apart(apart) if short_side else None,
            shown=watch.shown(frame, begins_clip=frame.pts in first_samples) if watch else None,
        )

    return measure


def small_jpeg(jpeg: JpegEncoder, frame: Frame, short_side: int) -> bytes:
    """A JPEG file whose shorter side is `short_side`, or the picture's own where that is smaller."""
    return jpeg.encode_frame(frame, min(short_side, frame.width, frame.height))


def describe_clips(
    video_id: str,
    index: PacketIndex,
    read: Iterable[ClipFrames[Measured]],
    settings: Settings,
    encoder: PictureEncoder,
    *,
    short_side: int = 0,
    all_pictures: bool = False,
) -> Iterator[DescribedClip]:
    """Frames of each clip → what is stored of it: selection, mean picture vector and measured facts.

    Args:
        short_side: of the pictures that the captioner gets; 0 where it wants none. They are made on a thread of their
            own while the next clip is read, which is why a clip comes one later then.
        all_pictures: whether the captioner also gets the frames that were set aside.
    """
    if not short_side:
        for clip in _described(video_id, index, read, settings, encoder):
            yield replace(clip, frames=())
        return
    jpeg = JpegEncoder()

    def picture(frame: Frame) -> TimedPicture:
        return TimedPicture(frame.time_ms, small_jpeg(jpeg, frame, short_side))

    with ThreadPoolExecutor(1, thread_name_prefix="fdvs-pictures") as thread:
        before: tuple[DescribedClip, list[Future[TimedPicture]]] | None = None
        for clip in _described(video_id, index, read, settings, encoder):
            assert clip.row.selection is not None
            kept = set(clip.row.clip.sampled_ms if all_pictures else clip.row.selection.kept_ms)
            begun = [thread.submit(picture, frame) for frame in clip.frames if frame.time_ms in kept]
            if before is not None:
                yield _with_pictures(*before)
            before = replace(clip, frames=()), begun
        if before is not None:
            yield _with_pictures(*before)


def _with_pictures(clip: DescribedClip, begun: Sequence[Future[TimedPicture]]) -> DescribedClip:
    return replace(clip, pictures=tuple(future.result() for future in begun))


def _described(
    video_id: str,
    index: PacketIndex,
    read: Iterable[ClipFrames[Measured]],
    settings: Settings,
    encoder: PictureEncoder,
) -> Iterator[DescribedClip]:
    """The clips without pictures, each with its frames where these were kept."""
    for item in read:
        times = [time_ms for time_ms, _, _ in item.frames]
        measured = [value for _, _, value in item.frames]
        clip = clip_record(video_id, index, item.plan, times, settings.clips)
        vectors = encoder.encode([one.prepared for one in measured])
        selection = select_frames(clip.id, times, vectors, settings.frames)
        small = np.stack([one.small for one in measured]) if measured else np.empty((0, 64, 64, 3), np.uint8)
        facts = measure_clip(small, times)
        yield DescribedClip(
            row=ClipRow(
                ordinal=item.plan_index,
                clip=clip,
                selection=selection,
                facts=facts.to_json(),
                picture=mean_vector(vectors),
                picture_model=encoder.name,
                warnings=item.warnings,
                layouts=layouts_of(small),
            ),
            facts=facts,
            frames=tuple(one.frame for one in measured if one.frame is not None),
            thumbnail=next((one.thumbnail for one in measured if one.thumbnail), None),
            shown=tuple((time, one.shown) for time, one in zip(times, measured, strict=True) if one.shown is not None),
        )


def mean_vector(vectors: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Unit mean of [N, D] unit rows; None of no rows (or of rows that cancel)."""
    if not len(vectors):
        return None
    mean = vectors.astype(np.float64).mean(axis=0)
    norm = float(np.linalg.norm(mean))
    return (mean / norm).astype(np.float32) if norm > 1e-9 else None


@dataclass(frozen=True, slots=True)
class SaidAndAdded:
    """Text with times of its own that is known before any clip is: subtitles, and captions made elsewhere. All of it
    ends at `end_ms`, the end of the video, at the latest."""

    cues: tuple[Cue, ...]
    imported: tuple[ImportedCaption, ...]
    end_ms: int
    settings_hash: str
    key: str

    def cues_in(self, clip: Clip) -> tuple[Cue, ...]:
        """The cues that start in a clip."""
        return tuple(cue for cue in self.cues if clip.span.contains(cue.span.start_ms))


def captions_with(own: Iterable[Caption], clip: Clip, texts: SaidAndAdded) -> tuple[Caption, ...]:
    """All captions of one clip: the captioner's `own`, what is said in it, what was added to it."""
    added = [item for item in texts.imported if clip.span.contains(item.span.start_ms)]
    return (
        *own,
        *speech_captions([clip], texts.cues_in(clip), texts.settings_hash, end_ms=texts.end_ms),
        *attach_captions([clip], added, end_ms=texts.end_ms),
    )


def clip_evidence(row: ClipRow) -> ClipEvidence:
    """What the tree needs of a stored clip."""
    facts = None if row.facts is None else PictureFacts.from_json(row.facts)
    if facts is not None and facts.times_ms == row.clip.sampled_ms:
        facts = replace(facts, times_ms=row.clip.sampled_ms)  # kept once: films of many hours have thousands of clips
    return ClipEvidence(row.clip, row.captions or (), row.picture, facts)


def with_screen_text(
    evidence: Sequence[ClipEvidence], readings: Mapping[str, tuple[Reading, ...]], key: str
) -> list[ClipEvidence]:
    """The evidence with the pages that `readings` (by clip id) become, and their captions in the place of earlier ones.

    Args:
        key: `readings_key` of the readings; empty: nothing is changed.
    """
    if not key:
        return list(evidence)
    from fdvs.screen_text.captions import BACKEND
    from fdvs.screen_text.pages import pages_of

    pages, captions = pages_of([(one.clip, readings.get(one.clip.id, ())) for one in evidence], key)
    told = []
    for one in evidence:
        other = [c for c in one.captions if (c.kind, c.backend) != (CaptionKind.SCREEN_TEXT, BACKEND)]
        own = captions.get(one.clip.id, ())
        told.append(replace(one, captions=(*other, *own), pages=pages.get(one.clip.id, ())))
    return told


def story_settings(settings: Settings) -> dict[str, object]:
    """The content settings as exported with a story: the profile and every stage."""
    return {"profile": settings.profile, **settings.content()}


def video_named(video: Video, paths: Sequence[str]) -> Video:
    """The video under the name of the first of its paths: equal however many paths lead to it, in any order."""
    return replace(video, name=Path(min(paths)).name) if paths else video
