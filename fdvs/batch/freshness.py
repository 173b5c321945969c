"""What a story was made from, as far as it can be told without reading a video: settings and subtitle files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fdvs.media.subtitles import find_sidecars
from fdvs.records import content_id
from fdvs.settings import Settings

# Raise it when a stage makes other records from the same input, so that libraries are brought up to date.
PIPELINE_VERSION = 1


def story_key(settings: Settings, paths: Iterable[str], imported_key: str = "") -> str:
    """Equal as long as the settings, the subtitle files beside the video's paths (name, size, date) and the captions
    added to it (`Store.imported_key`) are."""
    sidecars = set()
    for path in paths:
        for sidecar in find_sidecars(Path(path)):
            try:
                facts = sidecar.stat()
            except OSError:
                continue  # gone since it was listed: the same as not there
            sidecars.add((sidecar.name, facts.st_size, facts.st_mtime_ns))
    names = sorted((ascii(name), size, mtime_ns) for name, size, mtime_ns in sidecars)
    return content_id("story", PIPELINE_VERSION, settings.profile, settings.hash(), names, imported_key)
