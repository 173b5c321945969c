"""What a story was made from, as far as it can be told without reading a video: settings and subtitle files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fdvs.captioners.base import fingerprint
from fdvs.records import State, content_id
from fdvs.settings import Settings
from fdvs.store.library import Store
from fdvs.store.paths import Fingerprint, PathRow

# Raise it when a stage makes other records from the same input, so that libraries are brought up to date.
PIPELINE_VERSION = 3


def story_key(settings: Settings, paths: Iterable[str], imported_key: str = "") -> str:
    """Equal as long as the settings, the prompts, the subtitle files beside the video's paths (name, size, date) and
    the captions added to it (`Store.imported_key`) are."""
    from fdvs.media.subtitles import find_sidecars  # here: it brings FFmpeg along, which a first build's parent spares

    sidecars = set()
    for path in paths:
        for sidecar in find_sidecars(Path(path)):
            try:
                facts = sidecar.stat()
            except OSError:
                continue  # gone since it was listed: the same as not there
            sidecars.add((sidecar.name, facts.st_size, facts.st_mtime_ns))
    names = sorted((ascii(name), size, mtime_ns) for name, size, mtime_ns in sidecars)
    made_of = (PIPELINE_VERSION, settings.profile, settings.hash(), names, imported_key)
    return content_id("story", *made_of, *prompts_of(settings))


def prompts_of(settings: Settings) -> list[str]:
    """The prompts and vocabularies behind captions and story; none where no model is used."""
    prompts = [fingerprint(settings.captions)]
    if settings.story.writer != "builtin":
        from fdvs.prompts.writer import fingerprint as of_writer

        prompts.append(of_writer())
    return [prompt for prompt in prompts if prompt]


def is_unchanged(row: PathRow) -> bool:
    """The file at this path is the one that was seen last."""
    try:
        return row.fingerprint == Fingerprint.of(row.path)
    except OSError:
        return False


def is_told(store: Store, row: PathRow, settings: Settings) -> bool:
    """Nothing is left to do for this path: file, settings and subtitle files are those of the stored story."""
    if row.state is not State.DONE or row.video_id is None or settings.run.rehash or not is_unchanged(row):
        return False
    key = story_key(settings, store.paths_of(row.video_id), store.imported_key(row.video_id))
    return store.stage_done(row.video_id, "story", key)
