"""Moved files, found again by their content."""

from __future__ import annotations

from pathlib import Path

from fdvs.media.discover import discover
from fdvs.pipeline import hash_file
from fdvs.store.library import Store


def relink(store: Store, folder: Path) -> tuple[list[tuple[str, str]], list[str]]:
    """Mend the paths of videos whose files moved into `folder`.

    Only files as large as a missing one are read.

    Returns:
        (old path, new path) of every mended path, and the paths that are still missing; both sorted.
    """
    missing = {path: video.id for video in store.videos() for path in video.paths if not Path(path).exists()}
    sizes = {video.size_bytes for video in store.videos() if video.id in set(missing.values())}
    found: dict[str, str] = {}
    for one in discover([folder]):
        if one.code is None and one.path.stat().st_size in sizes:
            found.setdefault(hash_file(one.path), str(one.path))
    store.relink(found)
    mended = sorted((path, found[video_id]) for path, video_id in missing.items() if video_id in found)
    return mended, sorted(path for path, video_id in missing.items() if video_id not in found)
