"""What a build or `status` says about every input path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fdvs.batch.costs import VideoCosts
from fdvs.records import State


@dataclass(frozen=True, slots=True)
class StatusRow:
    """State of one path (None: a video that came without its file).

    `code` is one of `records.ERROR_CODES` when the state is failed, else empty.
    """

    video: str
    path: str | None
    video_id: str | None
    state: State
    clips_done: int
    clips_total: int | None
    warnings: tuple[str, ...] = ()
    code: str = ""
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "video": self.video,
            "path": self.path,
            "video_id": self.video_id,
            "state": str(self.state),
            "clips_done": self.clips_done,
            "clips_total": self.clips_total,
            "warnings": list(self.warnings),
            "error": {"code": self.code, "message": self.message} if self.code else None,
        }


@dataclass(frozen=True, slots=True)
class BuildReport:
    """How a build or an import ended, one row per input path.

    `spent` and `usage` say what it asked of models, per video and in all; empty and None where it asked none.
    `attention` says in words which sparse attention its captions are made with; empty: the model's own.
    """

    rows: tuple[StatusRow, ...]
    skipped: int
    seconds: float
    spent: tuple[VideoCosts, ...] = ()
    usage: Mapping[str, Any] | None = None
    attention: str = ""

    @property
    def done(self) -> int:
        return sum(row.state is State.DONE for row in self.rows)

    @property
    def failed(self) -> int:
        return sum(row.state is State.FAILED for row in self.rows)

    @property
    def exit_code(self) -> int:
        """0 all fine, 3 some inputs failed, 1 nothing could be done."""
        if not self.failed:
            return 0 if self.rows else 1
        return 3 if self.failed < len(self.rows) else 1

    def to_json(self) -> dict[str, Any]:
        return {
            "videos": [row.to_json() for row in self.rows],
            "summary": {
                "done": self.done,
                "failed": self.failed,
                "skipped": self.skipped,
                "seconds": round(self.seconds, 3),
                **({"usage": dict(self.usage)} if self.usage is not None else {}),
                **({"attention": self.attention} if self.attention else {}),
            },
        }
