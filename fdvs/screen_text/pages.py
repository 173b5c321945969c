"""All readings of one video become pages: what was written, when it came, what returns, what lies over everything."""

from __future__ import annotations

from collections.abc import Sequence

from fdvs.records import Caption, Clip, ShownPage
from fdvs.screen_text.captions import told
from fdvs.screen_text.drafts import drafts_of
from fdvs.screen_text.looks import looks_of
from fdvs.screen_text.readings import Reading
from fdvs.screen_text.sheets import sheet_of, with_repeats, worth_telling


def pages_of(
    readings: Sequence[tuple[Clip, tuple[Reading, ...]]], settings_hash: str
) -> tuple[dict[str, tuple[ShownPage, ...]], dict[str, tuple[Caption, ...]]]:
    """What is written in a video.

    Args:
        readings: of every clip, in time order.
        settings_hash: of what the readings were made with.

    Returns:
        Pages and captions by the id of the clip in which they begin; a page's steps may have captions in later clips.
        Clips without any are left out.
    """
    looks = looks_of(reading for _, several in readings for reading in several)
    sheets = [sheet_of(lines) for lines in drafts_of(looks) if worth_telling(lines)]
    return told(with_repeats(sheets), [clip for clip, _ in readings], settings_hash)
