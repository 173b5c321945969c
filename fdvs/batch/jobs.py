"""What is said between the process that runs a batch and the worker process that handles one video."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal

from fdvs.settings import Settings, settings_from_json, settings_to_json

Until = Literal["probe", "clips", "frames", "captions", "story"]
UNTIL: tuple[Until, ...] = ("probe", "clips", "frames", "captions", "story")


@dataclass(frozen=True, slots=True)
class Job:
    """One video file to bring up to a stage. With `dry_run` nothing is written: only probed and planned.

    With `retry_failed` captions that failed, were refused or were cut are asked for again. `models` is the socket of
    the process that holds the build's models, where there is one.
    """

    library: str
    path: str
    settings: Settings
    until: Until = "story"
    dry_run: bool = False
    retry_failed: bool = False
    models: str = ""

    def dumps(self) -> str:
        return json.dumps(
            {
                "library": self.library,
                "path": self.path,
                "settings": settings_to_json(self.settings),
                "until": self.until,
                "dry_run": self.dry_run,
                "retry_failed": self.retry_failed,
                "models": self.models,
            }
        )

    @staticmethod
    def loads(text: str) -> Job:
        data = json.loads(text)
        return Job(**{**data, "settings": settings_from_json(data["settings"])})


@dataclass(frozen=True, slots=True)
class Event:
    """One line a worker prints: `probed` and `progress` on the way, `done` or `failed` at the end. `decoded` says that
    from now on it mostly waits for a model; a `note` is a line for people that is no fault of the video."""

    kind: Literal["probed", "progress", "decoded", "note", "done", "failed"]
    video_id: str = ""
    duration_ms: int = 0
    clips_done: int = 0
    clips_total: int | None = 0  # None: shots have to be found first
    clips_decoded: int = 0
    clips_captioned: int = 0
    code: str = ""
    message: str = ""

    def dumps(self) -> str:
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @staticmethod
    def loads(text: str) -> Event:
        data: dict[str, Any] = json.loads(text)
        return Event(**data)
