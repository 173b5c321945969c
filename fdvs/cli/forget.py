"""`fdvs forget`: remove a video from the library."""

from __future__ import annotations

from typing import Annotated

import typer

from fdvs.cli.common import DEFAULT_LIBRARY, LibraryOption, note, open_library


def forget(
    video: Annotated[str, typer.Argument(metavar="VIDEO", help="File name, path or the start of the id.")],
    library: LibraryOption = DEFAULT_LIBRARY,
) -> int:
    """Remove a video from the library.

    Its story, captions, vectors and thumbnails go; the video file itself is not touched.
    """
    with open_library(library) as opened:
        name = opened.forget(video)
    note(f"forgot {name}")
    return 0
