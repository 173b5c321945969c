"""What was set aside as a repeat, and what stands for it: the data of `fdvs redundancy`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fdvs.records import Caption, Clip, DuplicateGroup, FrameSelection, Outcome, Span, StoryNode, content_id

# Rules of visual repeats inside one video: a whole clip, or a stretch of one, shows a picture that was shown before.
CLIP_RULE, STRETCH_RULE = "same_picture", "same_picture_in_part"
SHOWN_AGAIN = frozenset({CLIP_RULE, STRETCH_RULE})


@dataclass(frozen=True, slots=True)
class Removed:
    """One frame, clip, caption or chapter that was set aside. `kind` is `visual` or `textual`."""

    id: str
    video_id: str
    kind: str
    span: Span
    kept_id: str
    kept_video_id: str
    kept_span: Span
    similarity: float
    rule: str

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "video_id": self.video_id,
            "kind": self.kind,
            "start_s": self.span.start_s,
            "end_s": self.span.end_s,
            "kept_id": self.kept_id,
            "kept_video_id": self.kept_video_id,
            "kept_start_s": self.kept_span.start_s,
            "kept_end_s": self.kept_span.end_s,
            "similarity": self.similarity,
            "rule": self.rule,
        }


@dataclass(frozen=True, slots=True)
class RedundancyReport:
    """Totals over one video, or over all (`video` is None), and every removed item in time order."""

    video: str | None
    frames_sampled: int
    frames_kept: int
    captions_total: int
    captions_kept: int
    removed: tuple[Removed, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "video": self.video,
            "frames_sampled": self.frames_sampled,
            "frames_kept": self.frames_kept,
            "captions_total": self.captions_total,
            "captions_kept": self.captions_kept,
            "removed": [item.to_json() for item in self.removed],
        }


def frame_id(clip_id: str, time_ms: int) -> str:
    """Id of the frame sampled at a time."""
    return content_id("frame", clip_id, time_ms)


def removed_frames(clip: Clip, selection: FrameSelection) -> Iterator[Removed]:
    """The frames that a selection dropped. A frame stands for the time until the next sample."""
    ends = [*selection.sampled_ms[1:], clip.span.end_ms]
    spans = {start: Span(start, end) for start, end in zip(selection.sampled_ms, ends, strict=True) if start < end}
    kept = set(selection.kept_ms)
    for time_ms, reference_ms, similarity in zip(
        selection.sampled_ms, selection.reference_ms, selection.similarities, strict=True
    ):
        if time_ms not in kept:
            yield Removed(
                id=frame_id(clip.id, time_ms),
                video_id=clip.video_id,
                kind="visual",
                span=spans[time_ms],
                kept_id=frame_id(clip.id, reference_ms),
                kept_video_id=clip.video_id,
                kept_span=spans[reference_ms],
                similarity=similarity,
                rule=selection.rule,
            )


def removed_members(groups: Sequence[DuplicateGroup]) -> Iterator[Removed]:
    """The members of duplicate groups, each with its representative."""
    for group in groups:
        for member in group.members:
            yield Removed(
                id=member.id,
                video_id=member.video_id,
                kind=group.kind,
                span=member.span,
                kept_id=group.representative_id,
                kept_video_id=group.representative_video_id,
                kept_span=group.representative_span,
                similarity=member.similarity,
                rule=member.rule,
            )


def report_of(
    video: str | None,
    clips: Sequence[tuple[Clip, FrameSelection | None]],
    captions: Sequence[Caption],
    groups: Sequence[DuplicateGroup],
    nodes: Sequence[StoryNode] = (),
) -> RedundancyReport:
    """Count what was sampled, told and kept, and list what was not. Of a chapter (one of `nodes`) that was set aside,
    the captions of its clips are not kept either."""
    frames = [(clip, selection) for clip, selection in clips if selection is not None]
    removed = [item for clip, selection in frames for item in removed_frames(clip, selection)]
    removed += removed_members(groups)
    told = {caption.id for caption in captions if caption.outcome in (Outcome.OK, Outcome.TRUNCATED)}
    dropped = {item.id for item in removed if item.kind == "textual"}
    clips_dropped = {clip for node in nodes if node.id in dropped for clip in node.children}
    dropped |= {caption.id for caption in captions if caption.clip_id in clips_dropped}
    return RedundancyReport(
        video=video,
        frames_sampled=sum(len(selection.sampled_ms) for _, selection in frames),
        frames_kept=sum(len(selection.kept_ms) for _, selection in frames),
        captions_total=len(told),
        captions_kept=len(told - dropped),
        removed=tuple(removed),
    )


def joined(reports: Sequence[RedundancyReport]) -> RedundancyReport:
    """One report over several videos."""
    return RedundancyReport(
        video=None,
        frames_sampled=sum(report.frames_sampled for report in reports),
        frames_kept=sum(report.frames_kept for report in reports),
        captions_total=sum(report.captions_total for report in reports),
        captions_kept=sum(report.captions_kept for report in reports),
        removed=tuple(item for report in reports for item in report.removed),
    )
