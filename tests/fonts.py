"""A font of the system that has the letters of a text: Pillow's own knows ASCII alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from PIL import ImageFont

FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts", "/Library/Fonts")
ENDINGS = {".otf", ".ttc", ".ttf"}
# Outside of every script: what a font draws for it, it draws for all that it has not.
NO_LETTER = "\U0010fffd"


def font_for(text: str) -> Path:
    """The first font file, by path, that draws each letter of the text. Where there is none the test is skipped, but in
    CI, which installs one, it fails."""
    found = next((path for path in _fonts() if _draws(path, text)), None)
    if found is None:
        missing = f"no font in {', '.join(FOLDERS)} has the letters of {text!r} (on Debian: fonts-wqy-microhei)"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing)
    return found


@cache
def _fonts() -> tuple[Path, ...]:
    return tuple(sorted(_files()))


def _files() -> Iterator[Path]:
    for folder in FOLDERS:
        yield from (path for path in Path(folder).expanduser().rglob("*") if path.suffix.lower() in ENDINGS)


def _draws(path: Path, text: str) -> bool:
    try:
        font = ImageFont.truetype(str(path), 24)
        missing = bytes(font.getmask(NO_LETTER))
        return all(bytes(font.getmask(letter)) != missing for letter in set(text) if letter.isalpha())
    except OSError:  # no font, or one in a form that FreeType does not know
        return False
