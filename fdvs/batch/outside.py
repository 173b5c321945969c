"""Text outside what the sentence encoder knows: said in `status` and every report."""

from __future__ import annotations

from fdvs.encoders.text import trained_on
from fdvs.languages.spoken import language_warnings
from fdvs.store.library import Store


def text_warnings(store: Store) -> dict[str, list[str]]:
    """{video id: what a user should know of how its story can be searched}; only videos that need a warning."""
    found = {}
    for video_id, (languages, encoder) in store.told_languages().items():
        warnings = language_warnings(languages, trained_on(encoder), encoder)
        if warnings:
            found[video_id] = warnings
    return found
